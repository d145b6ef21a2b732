"""Serves the control socket: one task a connection, none of which can hurt the app."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from procman.core.wire import LONGEST, Request, encode, error_answer, parse_request
from procman.errors import ProcmanError, ProtocolError
from procman.runtime.door import close_door
from procman.runtime.reserve import Spare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from procman.runtime.desk import Desk

REQUEST_TIME = 10.0  # seconds for a request to arrive: a connection that says nothing is closed

# What takes the connection over after its answer: `follow`, `attach`.
Stream = Callable[[Request, socket.socket], Awaitable[None]]


class Control:
    """The listening end. `streams` serve the requests that go on after their answer."""

    def __init__(self, desk: Desk, streams: Mapping[str, Stream]) -> None:
        self._desk = desk
        self._streams = streams
        self._tasks: set[asyncio.Task[None]] = set()
        self._spare = Spare()  # for who asks when all other descriptors are used up

    @asynccontextmanager
    async def serving(self, door: socket.socket, path: str) -> AsyncIterator[Callable[[], None]]:
        """Serve who comes through the door, from the call of what this gives until the block ends;
        then every connection is closed, and the door. Who comes before the call waits for it.
        """

        def begin() -> None:
            task = asyncio.create_task(self._accept(door))
            self._tasks.add(task)

        with door:
            self._hold_spare()
            try:
                yield begin
            finally:
                close_door(path)
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                self._spare.release()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection: socket.socket | None
                connection, _ = await loop.sock_accept(listener)
            except OSError:
                connection = self._accept_in_need(listener)
                if connection is None:
                    await asyncio.sleep(0.1)
                    continue
            connection.setblocking(False)
            task = asyncio.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _accept_in_need(self, listener: socket.socket) -> socket.socket | None:
        """Out of descriptors: `stop` and `ps` are what one needs then. One at a time is served."""
        if not self._spare.release():
            return None
        try:
            return listener.accept()[0]
        except OSError:
            self._hold_spare()
            return None

    def _hold_spare(self) -> None:
        with suppress(OSError):  # none is left: tried again when the next one has been served
            self._spare.hold()

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            await self._converse(connection)
        # At once, before the crowd that has taken all others takes this one.
        self._hold_spare()

    async def _converse(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            try:
                _require_same_user(connection)
                request = parse_request(await _read_line(connection))
                stream = self._streams.get(request.do)
                if stream is not None:
                    await stream(request, connection)
                    return
                answer = encode({"ok": True, **await self._desk.answer(request)})
            except ProcmanError as error:
                answer = error_answer(error)
            await loop.sock_sendall(connection, answer)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the asker went away


async def _read_line(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    line = bytearray()
    try:
        async with asyncio.timeout(REQUEST_TIME):
            while b"\n" not in line:
                data = await loop.sock_recv(connection, 65536)
                if not data:
                    raise ProtocolError("the request ends in its middle")
                line += data
                if len(line) > LONGEST:
                    raise ProtocolError(f"a request of more than {LONGEST} bytes")
    except TimeoutError:
        raise ProtocolError(f"no request within {REQUEST_TIME:g} s") from None
    return bytes(line)


def _require_same_user(connection: socket.socket) -> None:
    """The directory is 0700 already; where the kernel tells who is there, it is asked as well."""
    if sys.platform == "linux":
        size = struct.calcsize("3i")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        user = struct.unpack("3i", credentials)[1]
        if user not in (0, os.getuid()):
            raise ProtocolError("this app is another user's")


class Followers:
    """Rings a bell in every following terminal when lines were written; they read the history.

    A bell is one byte. A follower that lags has one waiting already, so that nobody slows the app.
    """

    def __init__(self) -> None:
        self._connections: set[socket.socket] = set()

    def ring(self) -> None:
        """Something was written."""
        for connection in self._connections:
            try:
                connection.send(b"\n")
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass  # it lags, and will see what its bells told of; or it went away

    async def follow(self, request: Request, connection: socket.socket) -> None:
        """Serve a follower until it goes away, or the app ends."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, encode({"ok": True}))
        self._connections.add(connection)
        try:
            while await loop.sock_recv(connection, 4096):
                pass  # it has nothing to say; its end is what we wait for
        finally:
            self._connections.discard(connection)
