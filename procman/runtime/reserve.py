"""Descriptors held back: what matters most still works when all others are used up.

A crowd of connections may use up what we may have open. Then new ones are refused and no dyno can
be started, which passes; an exit that is not seen, or a process that is not found, would not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Found = TypeVar("Found")


class Spare:
    """A descriptor that is open for nothing but its place."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Hold one, unless one is held. Raises OSError when none is left."""
        if self._descriptor is None:
            self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def release(self) -> bool:
        """Whether there is a place now that there was not before."""
        if self._descriptor is None:
            return False
        os.close(self._descriptor)
        self._descriptor = None
        return True


_spare = Spare()


def hold_one_back() -> None:
    """From now on."""
    _spare.hold()


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
    try:
        return look()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE) or not _spare.release():
            raise
    try:
        return look()
    finally:
        with suppress(OSError):  # somebody was quicker: the next look does without
            _spare.hold()
