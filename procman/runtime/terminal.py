"""The user's own terminal: keys as they are pressed, its size, and always as it was afterwards."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterable, Iterator, Mapping
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


def resize(pty: int, window: tuple[int, int]) -> bool:
    """Tell a pty its size. Its programs get a SIGWINCH when it is another one; or they are still to
    get it, if it controls nobody.
    """
    try:
        if termios.tcgetwinsize(pty) == window:
            return False
        termios.tcsetwinsize(pty, window)
    except termios.error:
        return False  # its programs have ended
    return _controls_nobody(pty)


def _controls_nobody(pty: int) -> bool:
    try:
        return os.tcgetpgrp(pty) == 0
    except OSError:
        return False  # macOS does not tell


def signal_keys(pty: int) -> Mapping[int, int]:
    """The keys that are to signal, each with its signal, where the terminal itself signals nobody,
    since it controls nobody; none where a program reads every key.
    """
    if not _controls_nobody(pty):
        return {}
    try:
        attributes = termios.tcgetattr(pty)
    except termios.error:
        return {}  # its programs have ended
    if not attributes[3] & termios.ISIG:
        return {}
    keys = attributes[6]
    pairs = ((termios.VINTR, signal.SIGINT), (termios.VQUIT, signal.SIGQUIT))
    return {keys[place][0]: number for place, number in pairs if keys[place] != b"\0"}


def _note(number: int, _frame: object) -> None:
    """The byte in the pipe is all we want; the default action would end us."""
