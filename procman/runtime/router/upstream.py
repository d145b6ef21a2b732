"""Connections to one boot of a web dyno: fresh ones, and the idle ones that may be used again."""

from __future__ import annotations

import asyncio
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
    is kept for this boot any more.
    """

    __slots__ = (
        "_freed",
        "_gate",
        "_keeps",
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
        self._unheard: dict[DynoConnection, float] = {}  # fresh ones that wait, and since when
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
        if self._unheard and self._is_late(now):
            self._freed = now
            connection.transport.close()
            return
        self.idle.append(connection)
        if self._unheard:
            self._watch_unheard()
        if self.router.sweeper is None:
            self.router.sweep_later()

    def heard_on(self, connection: DynoConnection, now: float) -> None:
        """A fresh connection is answered, or given up."""
        if self._unheard.pop(connection, None) is None:
            return
        self._gate.leave()
        if self._freed is not None:
            if now < self._freed + AT_ONCE:
                self._keeps = False
            self._freed = None

    def _is_late(self, now: float) -> bool:
        return next(iter(self._unheard.values())) + LATE <= now

    def _watch_unheard(self) -> None:
        if self._watch is None:
            self._watch = self.router.loop.call_later(LATE, self._look)

    def _look(self) -> None:
        self._watch = None
        if not self._unheard or not self.idle:
            return
        now = self.router.loop.time()
        if self._is_late(now):
            self._freed = now
            self.close_idle()
        else:
            self._watch_unheard()

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
                self._unheard[connection] = self.router.loop.time()
                if self.idle:
                    self._watch_unheard()
                exchange.connected(connection)
                return

    async def _connect(self, patience: float) -> DynoConnection:
        backend = self.entry.backend
        connection = DynoConnection(self)
        try:
            async with asyncio.timeout(patience):
                await self.router.loop.create_connection(
                    lambda: connection, backend.host, backend.port
                )
        except BaseException:
            if connection.made:  # in the same moment in which it was given up
                connection.transport.abort()
            raise
        if connection.transport.is_closing():  # killed meanwhile: nobody would tell us any more
            raise ConnectionResetError
        return connection

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
