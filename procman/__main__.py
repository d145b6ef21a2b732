"""The console script, which `python -m procman` is as well."""

from __future__ import annotations

import gc
import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


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
    _take_any_output()
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
        pass  # nobody hears of it
    os._exit(status)


class _Output(FileIO):
    """What nobody reads any more is dropped, and the command goes on to the status that it would
    have anyhow: whoever runs it with `| head` has seen enough, and is told of no failure. (click
    would make it one; a status of 0 for every lost reader would hide the failures that there are.)
    One that lags is waited for.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        """As a file does, but for a broken pipe."""
        from procman.runtime.writing import write_some

        try:
            return write_some(self.fileno(), data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _take_any_output() -> None:
    """Names of files and commands, which may be no UTF-8, are printed as they were read; Python
    does so by itself in the locales C and POSIX only.
    """
    sys.stdout = _output(1, sys.stdout.encoding, "surrogateescape")
    sys.stderr = _output(2, sys.stderr.encoding, "backslashreplace")


def _output(descriptor: int, encoding: str, errors: str) -> TextIOWrapper:
    raw = BufferedWriter(_Output(descriptor, "w", closefd=False))
    return TextIOWrapper(raw, encoding=encoding, errors=errors, line_buffering=True)


def _speak_utf8() -> None:
    """Begin anew in Python's UTF-8 mode where the locale has another encoding (PEP 540): a Procfile
    is UTF-8 wherever it is read, and its bytes reach a command as they are written there.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    console()
