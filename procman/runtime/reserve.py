"""A descriptor held back: processes are still found and ended when all others are used up.

A crowd of connections may use up what we may have open. Then new ones are refused and no dyno can
be started, which passes; an exit that is not seen, or a process that is not found, would not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_held: int | None = None


def hold_one_back() -> None:
    """From now on."""
    global _held
    if _held is None:
        _held = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def list_directory(path: str) -> list[str]:
    """The names in it. Raises OSError."""
    return _look(lambda: os.listdir(path))


def read_file(path: str) -> bytes:
    """All that is in it. Raises OSError."""
    return _look(lambda: _read(path))


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # `open` asks five questions more
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _look(look: Callable[[], Found]) -> Found:
    global _held
    try:
        return look()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE) or _held is None:
            raise
    os.close(_held)
    _held = None
    try:
        return look()
    finally:
        try:
            hold_one_back()
        except OSError:
            pass  # somebody was quicker: the next look does without
