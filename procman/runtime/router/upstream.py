"""Connections to one boot of a web dyno: fresh ones, and the idle ones that may be used again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from procman.core.routing import Entry
    from procman.runtime.router.exchange import Exchange
    from procman.runtime.router.router import Router

CONNECT_TIMEOUT = 5.0  # Heroku's
IDLE_SECONDS = 4.0  # below the 5 s after which uvicorn and node close: they should not race us


class DynoConnection(asyncio.Protocol):
    """One connection to a dyno: hands what comes to the exchange that holds it."""

    __slots__ = ("exchange", "idle_since", "transport", "upstream")

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream, exchange: Exchange) -> None:
        self.upstream = upstream
        self.exchange: Exchange | None = exchange
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.upstream.connections.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # bytes that nobody asked for: the next answer could not be trusted
            self._leave_pool()
            self.transport.abort()
        else:
            exchange.dyno_sent(data)

    def connection_lost(self, error: Exception | None) -> None:
        upstream = self.upstream
        upstream.connections.discard(self)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.dyno_lost(error)
        else:
            self._leave_pool()

    def eof_received(self) -> None:
        """It will not answer again."""
        if self.exchange is None:
            self._leave_pool()

    def _leave_pool(self) -> None:
        if self in self.upstream.idle:
            self.upstream.idle.remove(self)

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.client.hold_reading(True)

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.client.hold_reading(False)

    def abort(self) -> None:
        """Closed at once; nobody hears of it."""
        self.exchange = None
        self.transport.abort()


class Upstream:
    """The way to one boot of a dyno."""

    __slots__ = ("connections", "entry", "idle", "router")

    def __init__(self, router: Router, entry: Entry) -> None:
        self.router = router
        self.entry = entry
        self.connections: set[DynoConnection] = set()
        self.idle: list[DynoConnection] = []  # the last used is the first used again

    def give_back(self, connection: DynoConnection, held: bool, now: float) -> None:
        """A connection whose answer has ended in order; `held` when its reading is paused."""
        connection.exchange = None
        connection.idle_since = now
        if held:
            connection.transport.resume_reading()
        self.idle.append(connection)
        if self.router.sweeper is None:
            self.router.sweep_later()

    def sweep(self, now: float) -> bool:
        """Closes what has been idle for long; is something left?"""
        while self.idle and self.idle[0].idle_since + IDLE_SECONDS <= now:
            self.idle.pop(0).transport.close()
        return bool(self.idle)

    def open(self, exchange: Exchange) -> asyncio.Task[None]:
        """A fresh connection; the exchange is told how it went."""
        return self.router.spawn(self._open(exchange))

    async def _open(self, exchange: Exchange) -> None:
        backend = self.entry.backend
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await self.router.loop.create_connection(
                    lambda: DynoConnection(self, exchange), backend.host, backend.port
                )
        except (OSError, TimeoutError) as error:
            exchange.unreachable(timed_out=isinstance(error, TimeoutError))
        else:
            exchange.connected(connection)

    def close(self) -> None:
        """Every connection is closed now, whatever is on it."""
        self.idle.clear()
        for connection in list(self.connections):
            connection.transport.abort()

    def close_idle(self) -> None:
        for connection in self.idle:
            connection.transport.abort()
        self.idle.clear()
