"""Where all lines meet: bytes of every dyno go in, whole lines go out to every sink.

Reads are large and lines are never touched one by one. A sink that is full makes the hub stop
reading, which blocks the writers as a full pipe would: nothing is lost, nothing piles up.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from procman.core.lines import Cutter
from procman.core.style import SYSTEM

READ_SIZE = 256 * 1024

# A pipe holds 64 KiB, and is made to hold a whole read when it is found to be half full: fewer,
# larger reads of those who write much, and 0.07 ms less of a boot for all others.
HALF_FULL = 32 * 1024

# After a leader's exit at most this much is read: a grandchild that writes without end must not
# hold us. More than a pipe of ours can hold, so nothing that the dyno wrote is missed.
DRAIN_LIMIT = 4 * READ_SIZE

# What a terminal is shown when it attaches: a screen of 24 lines. Kept for ptys only, where a read
# gives 4 KiB at most and the copy costs a microsecond.
RECENT = 2048


class Sink(Protocol):
    """Somewhere that lines go."""

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Take whole lines; `now` is the wall clock."""

    def close(self) -> None:
        """Write what is held."""


@dataclass(slots=True, eq=False)
class Source:
    """One stream of lines: a dyno's output, or procman's own words.

    `onlookers` get its bytes as they were written; `recent` are the last of them, on a pty.
    """

    name: str
    colour: str = ""
    quiet: bool = False
    cutter: Cutter = field(default_factory=Cutter)
    onlookers: list[Callable[[bytes], None]] = field(default_factory=list)
    is_pty: bool = False
    recent: bytes = b""


class LogHub:
    """Cuts bytes into lines and hands them on. `clock` is the wall clock, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sinks: list[Sink] = []
        self._own = Source(SYSTEM)

    def add(self, sink: Sink) -> None:
        """Send lines there too, from now on."""
        self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        """Send no more lines there."""
        self._sinks.remove(sink)

    def say(self, text: str, dyno: str | None = None) -> None:
        """A line of our own, about a dyno or the app."""
        line = text if dyno is None else f"{dyno} {text}"
        self._emit(self._own, line.encode("utf-8", "surrogateescape") + b"\n")

    def take(self, source: Source, descriptor: int) -> bool:
        """Read once what a dyno wrote. False at its end."""
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno == errno.EIO:  # a pty without a process on its other side
                return False
            raise
        if not data:
            return False
        if len(data) > HALF_FULL:
            _give_room(descriptor)
        self._cut(source, data)
        return True

    def drain(self, source: Source, descriptor: int) -> None:
        """Read all that is there now, up to DRAIN_LIMIT."""
        taken = 0
        while taken < DRAIN_LIMIT:
            try:
                data = os.read(descriptor, READ_SIZE)
            except (BlockingIOError, OSError):
                return
            if not data:
                return
            taken += len(data)
            self._cut(source, data)

    def flush(self, source: Source) -> None:
        """Show an unfinished line as one."""
        lines = source.cutter.flush()
        if lines:
            self._emit(source, lines)

    def close(self) -> None:
        """Close every sink, the last one first."""
        while self._sinks:
            self._sinks.pop().close()

    def _cut(self, source: Source, data: bytes) -> None:
        if source.is_pty:
            source.recent = (source.recent + data)[-RECENT:]
        for look in source.onlookers:
            look(data)
        lines = source.cutter.cut(data)
        if lines:
            self._emit(source, lines)

    def _emit(self, source: Source, lines: bytes) -> None:
        now = self._clock()
        for sink in self._sinks:
            sink.write(source, lines, now)


def _give_room(pipe: int) -> None:
    if sys.platform != "linux":
        return
    import fcntl

    try:
        if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < READ_SIZE:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, READ_SIZE)
    except OSError:
        pass  # a terminal, or the user's share of pipe pages is used up: as it is it works as well
