"""The worker: takes one order at a time from the queue and paints it."""

from __future__ import annotations

from orders import DYNO, huey, put_back

if __name__ == "__main__":
    # A dyno never runs twice at once: what still bears its name was left by a crash.
    left = put_back(DYNO)
    print(f"worker is up, {left} orders left by a crash queued again", flush=True)
    # Half a second at most between two looks at an empty queue.
    huey.create_consumer(workers=1, periodic=False, max_delay=0.5).run()
    print(f"worker stops, {put_back(DYNO)} orders put back", flush=True)
