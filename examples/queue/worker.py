"""The worker: takes one order at a time from the queue and paints it."""

from __future__ import annotations

import signal
import sys

from orders import DYNO, huey, put_back

if __name__ == "__main__":
    # huey sets its own handler, but only once its threads are at work already.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A dyno never runs twice at once: what still bears its name was left by a crash.
    print(f"worker is up; queued again after a crash: {put_back(DYNO)}", flush=True)
    try:
        # Half a second at most between two looks at an empty queue.
        huey.create_consumer(workers=1, periodic=False, max_delay=0.5).run()
    finally:
        print(f"worker stops; put back into the queue: {put_back(DYNO)}", flush=True)
