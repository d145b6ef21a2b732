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
    _speak_utf8()
    from procman.runtime.standard_streams import take_standard_streams

    take_standard_streams()
    from procman.cli import main

    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BrokenPipeError:
        pass  # the reader has seen enough
    os._exit(status)


def _speak_utf8() -> None:
    """Begin anew in Python's UTF-8 mode where the locale has another encoding (PEP 540): a Procfile
    is UTF-8 wherever it is read, and its bytes reach a command as they are written there.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    console()
