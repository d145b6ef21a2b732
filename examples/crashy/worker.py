"""A worker that goes wrong in the way that CRASHY_WORKER names; `exit` by default."""

import os
import signal
import sys
import threading

MODES = {
    "exit": "exits 3 after CRASHY_AFTER seconds",
    "raise": "fails with a traceback after CRASHY_AFTER seconds",
    "fatal": "fails at once",
    "segv": "dies by SIGSEGV after CRASHY_AFTER seconds",
    "finish": "exits 0 after CRASHY_AFTER seconds",
    "stubborn": "runs, and ignores SIGTERM",
    "ok": "runs",
}
MODE = os.environ.get("CRASHY_WORKER", "exit")
AFTER = float(os.environ.get("CRASHY_AFTER", "3"))


def main():
    if MODE not in MODES:
        return f"CRASHY_WORKER={MODE} is none of: {', '.join(MODES)}"
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"worker: {MODES[MODE]}", flush=True)
    while MODE in ("stubborn", "ok"):
        signal.pause()
    if MODE != "fatal":
        threading.Event().wait(AFTER)
    if MODE in ("raise", "fatal"):
        raise RuntimeError("cannot go on, as asked for")
    if MODE == "segv":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    return 3 if MODE == "exit" else 0


if __name__ == "__main__":
    sys.exit(main())
