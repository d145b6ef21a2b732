"""Writes to what others share: a terminal, a pipe of the caller's."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def write_some(descriptor: int, data: ReadableBuffer) -> int:
    """As `os.write`, but it waits for the reader whatever the flags are: O_NONBLOCK belongs to all
    who share what is open there, and any of them may have set it. Raises OSError.
    """
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            select.select((), (descriptor,), ())


def write_all(descriptor: int, data: bytes) -> None:
    """Write it to its end. Raises OSError, BrokenPipeError when nobody reads."""
    view = memoryview(data)
    while view:
        view = view[write_some(descriptor, view) :]
