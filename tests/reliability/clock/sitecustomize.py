"""Gives the Python it is started in a wall clock that a test can set, by a shared piece of memory.

What Python's `time.time` tells is shifted by the eight bytes (a C double, in seconds) of the file
that TEST_CLOCK names. The monotonic clock is not: no setting of a machine's clock moves it.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

_SHIFT = struct.Struct("d")


def _set_up(path: str) -> None:
    real = time.time
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), _SHIFT.size, access=mmap.ACCESS_READ)

    def shifted() -> float:
        return real() + float(_SHIFT.unpack_from(memory)[0])

    time.time = shifted


if "TEST_CLOCK" in os.environ:
    _set_up(os.environ["TEST_CLOCK"])
