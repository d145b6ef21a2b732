"""Connections to one boot of a web dyno: fresh ones, and the idle ones that may be used again."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

from procman.core.routing import Standing
from procman.runtime.router.connection import DynoConnection
from procman.runtime.router.gate import Gate

if TYPE_CHECKING:
    from procman.core.routing import Entry
    from procman.runtime.router.exchange import Exchange
    from procman.runtime.router.router import Router

CONNECT_TIMEOUT = 5.0  # Heroku's
FULL = 0.1  # seconds; on one machine a connection is made at once, or the backlog is full
LATE = 0.1  # seconds without an answer after which a server may be held up by idle connections
AT_ONCE = 0.05  # seconds after their end in which it then answers
IDLE_SECONDS = 4.0  # below the 5 s after which uvicorn and node close: they should not race us


# In CPython 3.11 a member of an enum takes 70 ns to look up, and a global 8.
_SERVING = Standing.SERVING


class Upstream:
    """The way to one boot of a dyno.

    A server that serves one connection at a time (Python's `http.server` with HTTP/1.1, say) never
    looks at a fresh connection while an idle one is kept open. So an answer that is late on a fresh
    connection costs the idle ones their place, and when it comes as soon as they are closed, none
    is kept for this boot any more. One that is passed by a younger connection is slow by itself.
    """

    __slots__ = (
        "_freed",
        "_gate",
        "_keeps",
        "_suspects",
        "_unheard",
        "_watch",
        "connections",
        "entry",
        "idle",
        "router",
    )

    def __init__(self, router: Router, entry: Entry) -> None:
        self.router = router
        self.entry = entry
        self.connections: set[DynoConnection] = set()
        self.idle: list[DynoConnection] = []  # the last used is the first used again
        self._gate = Gate(router.loop)
        self._keeps = True
        self._unheard: set[DynoConnection] = set()  # fresh ones that wait for an answer …
        self._suspects: dict[DynoConnection, float] = {}  # … perhaps for idle ones; since when
        self._watch: asyncio.TimerHandle | None = None
        self._freed: float | None = None  # when idle ones were last closed for a fresh one

    def give_back(self, connection: DynoConnection, held: bool, now: float) -> None:
        """A connection whose answer has ended in order; `held` when its reading is paused."""
        connection.exchange = None
        connection.idle_since = now
        if connection.transport.is_closing():
            return  # what it had said before it was lost
        if held:
            connection.transport.resume_reading()
        if not self._keeps or self.entry.standing is not _SERVING:
            connection.transport.close()
            return
        if self._suspects and self._is_late(now):
            self._freed = now
            connection.transport.close()
            return
        self.idle.append(connection)
        if self._suspects:
            self._watch_suspects()
        if self.router.sweeper is None:
            self.router.sweep_later()

    def heard_on(self, connection: DynoConnection, now: float) -> None:
        """A fresh connection is answered."""
        since = self._suspects.get(connection)
        self.unwatch(connection)
        if since is None:
            return
        if self._freed is not None and since + LATE <= self._freed and now < self._freed + AT_ONCE:
            self._keeps = False
        while self._suspects and next(iter(self._suspects.values())) <= since:
            del self._suspects[next(iter(self._suspects))]  # it has been passed

    def unwatch(self, connection: DynoConnection) -> None:
        """No answer is waited for any more on a connection, if it was."""
        if connection in self._unheard:
            self._unheard.discard(connection)
            self._suspects.pop(connection, None)
            self._gate.leave()

    def _is_late(self, now: float) -> bool:
        return next(iter(self._suspects.values())) + LATE <= now

    def _watch_suspects(self) -> None:
        if self._watch is None:
            self._watch = self.router.loop.call_later(LATE, self._look)

    def _look(self) -> None:
        self._watch = None
        if not self._suspects or not self.idle:
            return
        now = self.router.loop.time()
        if self._is_late(now):
            self._freed = now
            self.close_idle()
        else:
            self._watch_suspects()

    def sweep(self, now: float) -> bool:
        """Closes what has been idle for long; is something left?"""
        while self.idle and self.idle[0].idle_since + IDLE_SECONDS <= now:
            self.idle.pop(0).transport.close()
        return bool(self.idle)

    def open(self, exchange: Exchange) -> asyncio.Task[None]:
        """A fresh connection; the exchange is told how it went."""
        return self.router.spawn(self._open(exchange))

    async def _open(self, exchange: Exchange) -> None:
        started = self.router.loop.time()
        patience = FULL
        while True:
            await self._gate.enter()
            try:
                connection = await self._connect(patience)
            except TimeoutError:
                self._gate.found_full()
                self._gate.leave()
                patience = min(2 * patience, 1.0)
                if self.router.loop.time() > started + CONNECT_TIMEOUT and not self._unheard:
                    exchange.unreachable(timed_out=True)
                    return
            except OSError:
                self._gate.leave()
                exchange.unreachable(timed_out=False)
                return
            except asyncio.CancelledError:
                self._gate.leave()
                raise
            else:
                self._gate.found_room()
                connection.exchange = exchange
                self._unheard.add(connection)
                self._suspects[connection] = self.router.loop.time()
                if self.idle:
                    self._watch_suspects()
                exchange.connected(connection)
                return

    async def _connect(self, patience: float) -> DynoConnection:
        connection = DynoConnection(self)
        raw = await self._reach(patience)
        try:
            await self.router.loop.create_connection(lambda: connection, sock=raw)
        except BaseException:
            raw.close()
            if connection.made:  # in the same moment in which it was given up
                connection.transport.abort()
            raise
        if connection.transport.is_closing():  # killed meanwhile: nobody would tell us any more
            raise ConnectionResetError
        return connection

    async def _reach(self, patience: float) -> socket.socket:
        """A socket that is connected to the dyno; OSError, TimeoutError.

        The socket itself is asked: a loop that was held up sees its deadlines before its sockets,
        and would give up a connection that was made long ago.
        """
        backend = self.entry.backend
        family = socket.AF_INET6 if ":" in backend.host else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            error = raw.connect_ex((backend.host, backend.port))
            if error == errno.EINPROGRESS:
                error = 0
                if not _is_connected(raw):
                    await self._wait_until_writable(raw, patience)
                    error = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if error == 0 and not _is_connected(raw):
                        raise TimeoutError
            if error:
                raise OSError(error, os.strerror(error))
        except BaseException:
            raw.close()
            raise
        return raw

    async def _wait_until_writable(self, raw: socket.socket, patience: float) -> None:
        loop = self.router.loop
        settled = asyncio.Event()
        loop.add_writer(raw, settled.set)
        try:
            async with asyncio.timeout(patience):
                await settled.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_writer(raw)

    def close(self) -> None:
        """Every connection is closed now, whatever is on it."""
        self.idle.clear()
        if self._watch is not None:
            self._watch.cancel()
        for connection in list(self.connections):
            connection.transport.abort()

    def close_idle(self) -> None:
        for connection in self.idle:
            connection.transport.abort()
        self.idle.clear()


def _is_connected(raw: socket.socket) -> bool:
    try:
        raw.getpeername()
    except OSError:
        return False
    return True
