"""The console script, which `python -m procman` is as well."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn


def console() -> NoReturn:
    """The console script: `main`, and out.

    Python takes itself apart for 5 ms, and for more with an event loop loaded, which the next
    command in a script would wait for. Everything is closed by then; only what is printed is left.
    """
    # A start makes 30,000 objects that stay: looking among them for garbage, after every 700 as is
    # the default, takes a twentieth of the time to the first dyno. So before anything is imported.
    gc.set_threshold(50_000)
    from procman.cli import main

    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it was closed by who called us
                stream.flush()
    except BrokenPipeError:
        pass  # the reader has seen enough
    os._exit(status)


if __name__ == "__main__":
    console()
