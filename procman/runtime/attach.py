"""Hands a dyno's pty to another terminal, and shows it there what the dyno writes.

The descriptor goes over the socket (SCM_RIGHTS), so that keys and window sizes reach the dyno
without us. What the dyno writes we read in any case, for the log, and pass on. A terminal that does
not keep up loses bytes and is told how many: it never slows the app.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from procman.core.attach import Began, Ended, Frame, Left, Missed, Output, encode_frame
from procman.core.dyno import State, Want
from procman.core.fleet import Fleet
from procman.core.formation import match_targets
from procman.core.status import why_not_up
from procman.core.wire import Request, encode
from procman.errors import InputError, ProcmanError
from procman.runtime.boots import Boots
from procman.runtime.process import Process, notify
from procman.runtime.supervisor import Supervisor
from procman.runtime.terminal import resize

_OF_TERMINALS = frozenset((signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH))
LIMIT = 1 << 20  # bytes that wait for a slow terminal; a screen full of colours has some 20 KB


class Terminals:
    """Those that are attached to each dyno, in the order in which they came.

    A dyno's window is that of the terminal that came or changed last. When one leaves, it is that
    of the last of the others; when none is left, what `window` tells.
    """

    def __init__(self, boots: Boots, window: Callable[[], tuple[int, int]]) -> None:
        self._boots = boots
        self._window = window
        self._lines: dict[str, list[_Line]] = {}

    def resize_others(self) -> None:
        """Give every dyno's terminal that nobody is attached to the window that is told now."""
        window = self._window()
        for process in self._boots.by_pid.values():
            if process.is_pty and process.dyno not in self._lines:
                _fit(process, window)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Heed the window's changes, and those before. asyncio's loop, which has a handler now,
        wakes for every signal, as uvloop's does.

        The handler goes before the loop does: asyncio's would close the descriptor that signals are
        written to, and Python complain of the next one.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self.resize_others)
        self.resize_others()
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)

    @contextmanager
    def joined(self, dyno: str, line: _Line) -> Iterator[None]:
        """One more terminal at a dyno, until the block ends."""
        lines = self._lines.setdefault(dyno, [])
        lines.append(line)
        try:
            yield
        finally:
            lines.remove(line)
            process = self._boots.by_dyno.get(dyno)
            if not lines:
                del self._lines[dyno]
                if process is not None:
                    _fit(process, self._window())
            elif process is not None:
                lines[-1].tell(Left(process.boot))


def _fit(process: Process, window: tuple[int, int]) -> None:
    if resize(process.output, window):
        notify(process, signal.SIGWINCH)


async def attach(
    supervisor: Supervisor,
    boots: Boots,
    terminals: Terminals,
    request: Request,
    connection: socket.socket,
) -> None:
    """Serve one attached terminal until it goes away or the dyno rests. It stays attached from one
    boot to the next. Raises ProcmanError when there is no such dyno, or none on a pty.
    """
    fleet = supervisor.fleet
    name = _only_dyno(fleet, request.text("dyno"))
    process = _on_pty(fleet, boots, name)
    source = boots.source(name)
    line = _Line(asyncio.get_running_loop(), connection)
    asleep = fleet.dynos[name].state is State.SUSPENDED
    line.greet(encode({"ok": True, "dyno": name, "pid": process.pid, "asleep": asleep}))
    line.tell(Began(process.boot), process.output)
    if source.recent:
        line.show(source.recent)
    source.onlookers.append(line.show)
    leaving = asyncio.ensure_future(_until_gone(connection, boots, name))
    following = asyncio.ensure_future(_follow(supervisor, boots, process, line))
    try:
        with terminals.joined(name, line):
            await asyncio.wait((leaving, following), return_when=asyncio.FIRST_COMPLETED)
    finally:
        source.onlookers.remove(line.show)
        leaving.cancel()
        following.cancel()
        await asyncio.gather(leaving, following, return_exceptions=True)
        line.close()


async def _follow(supervisor: Supervisor, boots: Boots, process: Process, line: _Line) -> None:
    """Tell of each end and each beginning, until the dyno rests."""
    name = process.dyno
    while True:
        await supervisor.until(partial(_has_ended, boots, process))
        again = _boots_again(supervisor.fleet, name)
        if process.pid not in boots.by_pid:  # else it runs on beside its successor
            line.tell(Ended(process.boot, process.status or 0, again))
        await supervisor.until(
            lambda: name in boots.by_dyno or not _boots_again(supervisor.fleet, name)
        )
        successor = boots.by_dyno.get(name)
        if successor is None:
            if again:  # it was told that another boot would come
                line.tell(Ended(process.boot, process.status or 0, False))
            await line.drained()
            return
        process = successor
        line.tell(Began(process.boot), process.output)


def _has_ended(boots: Boots, process: Process) -> bool:
    return boots.by_dyno.get(process.dyno) is not process


async def _until_gone(connection: socket.socket, boots: Boots, name: str) -> None:
    """Until the other end closes. Each byte from there is a signal for the dyno, from a terminal
    that gives none itself.
    """
    loop = asyncio.get_running_loop()
    try:
        while numbers := await loop.sock_recv(connection, 4096):
            process = boots.by_dyno.get(name)
            for number in _OF_TERMINALS.intersection(numbers):
                if process is not None:
                    notify(process, number)
    except ConnectionResetError:
        pass


def _only_dyno(fleet: Fleet, target: str) -> str:
    names = match_targets([target], list(fleet.dynos), fleet.types)
    if len(names) != 1:
        hint = f"choose one of {', '.join(names[:5])}"
        raise InputError(f"{target!r} is {len(names)} dynos", hint=hint)
    return names[0]


def _on_pty(fleet: Fleet, boots: Boots, name: str) -> Process:
    process = boots.by_dyno.get(name)
    if process is None:
        why = why_not_up(fleet, fleet.dynos[name]) or "asleep"
        raise ProcmanError(f"{name} is not running: {why}", hint=f"`procman restart {name}`")
    if not process.is_pty:
        raise ProcmanError(
            f"{name} has no terminal to attach to",
            hint="start the app with `procman start --pty`, or detached with `procman start -D`",
        )
    return process


def _boots_again(fleet: Fleet, name: str) -> bool:
    """Whether a dyno runs, or will by itself."""
    dyno = fleet.dynos.get(name)
    if dyno is None or fleet.is_ending or dyno.want is Want.DOWN:
        return False
    return not dyno.has_given_up and dyno.state is not State.FINISHED


class _Line:
    """The sending end of one connection: frames in order, bounded, without waiting.

    When too much waits, the output that waits is dropped: a terminal is about what came last.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        self._loop = loop
        self._connection = connection
        self._waiting: deque[tuple[Frame, int | None]] = deque()
        self._size = 0  # bytes of output that wait
        self._half_sent = b""
        self._is_writing = False
        self._drained: asyncio.Future[None] | None = None

    def greet(self, answer: bytes) -> None:
        """Send the answer that comes before all frames."""
        self._half_sent = answer
        self._send()

    def show(self, data: bytes) -> None:
        """Pass on what the dyno wrote."""
        self._size += len(data)
        self.tell(Output(data))
        if self._size > LIMIT:
            self._drop_output()

    def tell(self, frame: Frame, descriptor: int | None = None) -> None:
        """Send a frame; the descriptor goes with it, and is the caller's as before."""
        own = None if descriptor is None else os.dup(descriptor)
        self._waiting.append((frame, own))
        if not self._is_writing:
            self._send()

    async def drained(self) -> None:
        """Until all is sent."""
        if self._is_writing:
            self._drained = self._loop.create_future()
            await self._drained

    def close(self) -> None:
        """Drop what waits."""
        self._await_room(False)
        for _, descriptor in self._waiting:
            if descriptor is not None:
                os.close(descriptor)
        self._waiting.clear()

    def _drop_output(self) -> None:
        missed = 0
        kept: list[tuple[Frame, int | None]] = []
        for frame, descriptor in self._waiting:
            match frame:
                case Output(data):
                    missed += len(data)
                case Missed(count):
                    missed += count
                case _:
                    kept.append((frame, descriptor))
        self._waiting = deque([(Missed(missed), None), *kept])
        self._size = 0

    def _send(self) -> None:
        try:
            while self._half_sent or self._waiting:
                if not self._half_sent:
                    self._send_next()
                else:
                    self._half_sent = self._half_sent[self._connection.send(self._half_sent) :]
        except BlockingIOError:
            self._await_room(True)
        except OSError:
            self.close()  # it went away, which `_until_gone` learns as well
        else:
            self._await_room(False)

    def _send_next(self) -> None:
        """Begin a frame. Its descriptor goes with the first byte."""
        frame, descriptor = self._waiting[0]
        data = encode_frame(frame)
        if descriptor is None:
            sent = self._connection.send(data)
        else:
            sent = socket.send_fds(self._connection, [data], [descriptor])
            os.close(descriptor)
        self._waiting.popleft()
        self._half_sent = data[sent:]
        if isinstance(frame, Output):
            self._size -= len(frame.data)

    def _await_room(self, wanted: bool) -> None:
        if wanted and not self._is_writing:
            self._loop.add_writer(self._connection, self._send)
        elif not wanted and self._is_writing:
            self._loop.remove_writer(self._connection)
        self._is_writing = wanted
        if not wanted and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)


__all__ = ["attach"]
