"""The user's own terminal: keys as they are pressed, its size, and always as it was afterwards."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def raw_keys(descriptor: int) -> Iterator[None]:
    """Let every key come at once and none act here; what is written is treated as before.

    Unlike `tty.setraw` it leaves the output alone: lines still begin at the left.
    """
    before = termios.tcgetattr(descriptor)
    raw = termios.tcgetattr(descriptor)
    raw[0] &= ~(
        termios.BRKINT | termios.ICRNL | termios.INLCR | termios.IGNCR | termios.ISTRIP
        | termios.IXON
    )  # fmt: skip
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
    try:
        yield
    finally:
        try:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        except termios.error:
            pass  # the terminal is gone


@contextmanager
def noted_signals(numbers: Iterable[signal.Signals]) -> Iterator[int]:
    """A descriptor from which each of these signals is read as one byte, its number."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = {number: signal.signal(number, _note) for number in numbers}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def read_signals(descriptor: int) -> bytes:
    """The numbers that came."""
    try:
        return os.read(descriptor, 256)
    except BlockingIOError:
        return b""


def window_of(*descriptors: int) -> tuple[int, int] | None:
    """Rows and columns of the first that is a terminal and knows them."""
    for descriptor in descriptors:
        try:
            rows, columns = termios.tcgetwinsize(descriptor)
        except termios.error:
            continue
        if rows and columns:
            return rows, columns
    return None


def resize(descriptor: int, window: tuple[int, int]) -> None:
    """Tell a terminal its size; its programs get a SIGWINCH when it is another one."""
    try:
        termios.tcsetwinsize(descriptor, window)
    except termios.error:
        pass  # its programs have ended


def _note(number: int, _frame: object) -> None:
    """The byte in the pipe is all we want; the default action would end us."""
