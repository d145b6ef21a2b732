"""How the files of the history are named, and how large they grow."""

from __future__ import annotations

ROTATE_AT = 4 << 20  # bytes of a file; with KEPT some 300,000 lines: a day of a chatty app
KEPT = 8

_SUFFIX = ".log"
_DIGITS = 12


def file_name(first: int) -> str:
    """The name of the file whose first line has this number, counted from 0 over all times.

    Whoever reads knows from it how many lines were rotated away.
    """
    return f"{first:0{_DIGITS}d}{_SUFFIX}"


def first_line_of(name: str) -> int | None:
    """The number in the name of a file; None for a file that is none of ours."""
    digits = name.removesuffix(_SUFFIX)
    ours = name != digits and len(digits) >= _DIGITS and digits.isascii() and digits.isdigit()
    return int(digits) if ours else None
