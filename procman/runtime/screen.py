"""The sink that people see: standard output, as a terminal, a pipe or a file."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from procman.core.style import Look, for_json, for_screen, prefix_of
from procman.runtime.loghub import Source
from procman.runtime.writing import write_some

if TYPE_CHECKING:
    from queue import SimpleQueue
    from threading import Thread

# How much may wait for a slow reader before the dynos are made to wait, and when they go on.
HIGH_WATER = 1 << 20
LOW_WATER = 1 << 18

# One write of the thread. A write into a full pipe returns when all of it is taken, so shorter ones
# tell a slow reader from one that does not read.
WRITE_SIZE = 16 * 1024


class Screen:
    """Standard output. A file is written to at once. A pipe or a terminal may block: what it takes
    without blocking is written at once as well, by a descriptor of our own, since O_NONBLOCK on the
    one we were given would be set for all who share it; for the rest there is a thread. Who reads
    the dynos learns by `listen` when to pause.
    """

    def __init__(self, descriptor: int, look: Look, *, json: bool = False) -> None:
        self._descriptor = descriptor
        self._look = look
        self._json = json
        self._blocks = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._direct = _open_again(descriptor) if self._blocks else None
        self._second = -1
        self._clock = ""
        self._prefixes: dict[str, bytes] = {}
        self._queue: SimpleQueue[bytes | None] | None = None
        self._thread: Thread | None = None
        self._taken = 0  # bytes, counted by the loop's thread
        self._put_out = 0  # bytes, counted by the writing thread: no lock is needed
        self._written = 0  # bytes of which the thread knows that they were taken
        self.is_full = False
        self.patience: float | None = (
            None  # seconds that `close` waits for a reader; None: for ever
        )
        self.gone: OSError | None = None
        self._on_full: Callable[[], None] = _nothing
        self._on_room: Callable[[], None] = _nothing
        self._on_gone: Callable[[OSError], None] = _ignore

    def listen(
        self,
        on_full: Callable[[], None],
        on_room: Callable[[], None],
        on_gone: Callable[[OSError], None],
    ) -> None:
        """Be told from now on when to pause reading and when to go on, and that the reader went
        away (EPIPE) or the disk is full. What is so already is told at once. All but `on_full` may
        be called in the writing thread.
        """
        self._on_full, self._on_room, self._on_gone = on_full, on_room, on_gone
        if self.gone is not None:
            on_gone(self.gone)
        if self.is_full:
            on_full()
        if not self.is_full:  # the thread made room meanwhile, perhaps, and told nobody
            on_room()

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Show whole lines, unless the source is quiet."""
        if source.quiet or self.gone is not None:
            return
        if self._json:
            shown = for_json(lines, source.name, now)
        else:
            shown = for_screen(lines, self._prefix(source, now), self._look)
        if self._blocks:
            self._enqueue(shown)
        else:
            self._put(shown)

    def close(self) -> None:
        """Wait until all is written. A reader that never reads holds this up: see `patience` and
        `abandon`.
        """
        if self._queue is None or self._thread is None:
            return
        self._queue.put(None)
        while self._thread.is_alive():
            before = self._written
            self._thread.join(self.patience)
            if self._written == before and self._thread.is_alive():
                self.abandon()
                return

    def abandon(self) -> None:
        """Give up on what still waits: the reader does not read, and the user wants out."""
        self.gone = BrokenPipeError()
        self._thread = None  # a daemon: blocked in its write, it ends with the process

    def _prefix(self, source: Source, now: float) -> bytes:
        second = int(now)
        if second != self._second:
            self._second = second
            self._clock = time.strftime("%H:%M:%S", time.localtime(second))
            self._prefixes.clear()
        prefix = self._prefixes.get(source.name)
        if prefix is None:
            prefix = prefix_of(source.name, source.colour, self._look, self._clock)
            self._prefixes[source.name] = prefix
        return prefix

    def _enqueue(self, data: bytes) -> None:
        if self._direct is not None and self._taken == self._put_out:
            try:
                data = data[os.write(self._direct, data) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self._lose(error)
                return
            if not data:
                return
        if self._queue is None:
            from queue import SimpleQueue
            from threading import Thread

            queue: SimpleQueue[bytes | None] = SimpleQueue()
            thread = Thread(target=self._run, args=(queue,), name="screen", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # `ulimit -u` allows no more: a reader that lags holds us up
                self._put(data)
                return
            self._queue, self._thread = queue, thread
        self._taken += len(data)
        self._queue.put(data)
        if self._taken - self._put_out > HIGH_WATER and not self.is_full:
            self.is_full = True
            # The thread may have caught up before it could see the flag: look again.
            if self._taken - self._put_out > LOW_WATER:
                self._on_full()
            else:
                self.is_full = False

    def _run(self, queue: SimpleQueue[bytes | None]) -> None:
        while (data := queue.get()) is not None:
            if self.gone is None:
                self._put(data)
            self._put_out += len(data)
            if self.is_full and self._taken - self._put_out <= LOW_WATER:
                self.is_full = False
                self._on_room()

    def _put(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                size = write_some(self._descriptor, view[:WRITE_SIZE])
                self._written += size
                view = view[size:]
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if self.gone is None:
            self.gone = error
            self._on_gone(error)


def _open_again(descriptor: int) -> int | None:
    """The same pipe or terminal with O_NONBLOCK of its own; None where it cannot be had (macOS, a
    socket, a terminal that belongs to another user).
    """
    if sys.platform != "linux":
        return None
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        return None


def _nothing() -> None:
    """Nobody listens yet."""


def _ignore(_error: OSError) -> None:
    """Nobody listens yet."""
