"""Listens on the app's port and leases web dynos; asks the supervisor when there is none."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Coroutine, Sequence

from procman.core.codes import Access, Code, log_line
from procman.core.routing import (
    PATIENCE,
    Backend,
    Entry,
    Outage,
    Parking,
    Stats,
    Supervision,
    Table,
)
from procman.runtime.bind import BACKLOG
from procman.runtime.router.client import Client
from procman.runtime.router.exchange import Exchange
from procman.runtime.router.log import RouterLog
from procman.runtime.router.upstream import IDLE_SECONDS, Upstream

SECOND_TRY = 0.02  # seconds; a killed process is gone in less
LAST_READ = 1.0  # seconds in which what a dyno wrote before it died can still be read


class Router:
    """The HTTP router in front of the web dynos; everything happens on the running loop.

    It accepts from `sockets`, which listen already, and closes them in the end.
    """

    def __init__(
        self,
        supervision: Supervision,
        sockets: Sequence[socket.socket],
        *,
        request_timeout: float | None = None,
        router_log: RouterLog = RouterLog.ERRORS,
        grace: float = 10.0,
    ) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self.request_timeout = request_timeout
        self.tells_of = None if router_log is RouterLog.OFF else router_log
        self.sweeper: asyncio.TimerHandle | None = None
        # An X-Request-Id is 32 digits: the first half tells routers apart, the second requests.
        self.id = secrets.token_hex(8).encode()
        self.requests = 0
        self.stamped = -1.0  # on the loop's clock, which stands still while it is busy …
        self.stamp = b""  # … the time of day: what ends the head of a request
        self.closing = False
        # Whether requests are to wait, though a dyno could answer them: it may be out of date.
        self.holds: Callable[[], bool] | None = None
        self.clients: set[Client] = set()
        self.loop: asyncio.AbstractEventLoop
        self._supervision = supervision
        self._sockets = sockets
        self._grace = grace
        self._table = Table()
        self._upstreams: dict[Entry, Upstream] = {}
        self._parking: Parking[Exchange] = Parking()
        self._alarm: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._empty: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Accepts from now on."""
        self.loop = asyncio.get_running_loop()
        for listening in self._sockets:  # and no name: a loop resolves it in four threads
            self._servers.append(
                await self.loop.create_server(lambda: Client(self), sock=listening, backlog=BACKLOG)
            )

    async def close(self) -> None:
        """No more connections; what is in flight may end within the grace, then it is cut off."""
        self.closing = True
        for server in self._servers:
            server.close()
        for exchange in self._parking.take_all():
            exchange.fail(Code.H24)
        for client in list(self.clients):
            client.close_when_idle()
        if self.clients:
            self._empty = self.loop.create_future()
            await asyncio.wait([self._empty], timeout=self._grace)
        for client in list(self.clients):
            client.cut()
        for timer in (self._alarm, self.sweeper):
            if timer is not None:
                timer.cancel()
        self._alarm = self.sweeper = None
        for upstream in self._upstreams.values():
            upstream.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    # from the supervisor

    def add(self, backend: Backend) -> None:
        """A boot of a web dyno is ready: it may be leased from now on."""
        self.remove(backend.dyno, backend.boot)  # it was found to listen elsewhere
        entry = self._table.add(backend)
        self._upstreams[entry] = Upstream(self, entry)
        self._serve_parked()

    def drain(self, dyno: str, boot: int) -> None:
        """No more leases for it; `supervision.drained` when the last one has ended."""
        for entry, upstream in self._upstreams.items():
            if (entry.backend.dyno, entry.backend.boot) == (dyno, boot):
                upstream.close_idle()  # some servers, told to stop, wait for them to end
        if self._table.drain(dyno, boot):
            self._supervision.drained(dyno, boot)
        self._serve_parked()

    def remove(self, dyno: str, boot: int) -> None:
        """It is gone. What it wrote before can still be read for a moment."""
        entry = self._table.remove(dyno, boot)
        if entry is not None:
            upstream = self._upstreams.pop(entry)
            upstream.close_idle()
            if upstream.connections:
                self.loop.call_later(LAST_READ, upstream.close)
        self._serve_parked()

    def refresh(self) -> None:
        """The outlook has changed: parked requests may have to be answered."""
        self._serve_parked()

    def stats(self) -> dict[str, Stats]:
        """By dyno; of two boots of one dyno, the newer."""
        now = self.loop.time()
        return {
            entry.backend.dyno: entry.stats(now)
            for entry in sorted(self._table, key=lambda entry: entry.backend.boot)
        }

    @property
    def has_parked(self) -> bool:
        """Whether requests wait for a dyno."""
        return len(self._parking) > 0

    # from clients and exchanges

    def first_byte(self) -> None:
        """A request begins to arrive."""
        if not self._table.in_flight:
            self._supervision.wake()

    def dispatch(self, exchange: Exchange, now: float) -> None:
        """A dyno for the request: now, or when there is one."""
        table = self._table
        if not table.in_flight:
            self._supervision.wake()
        if self.holds is not None and self.holds():
            self._park(exchange, now, is_held=True)
            return
        entry = table.lease(now, exchange.avoid)
        if entry is None:
            self._park(exchange, now)
            return
        if table.in_flight == 1:
            self._supervision.busy()
        exchange.leased(entry, self._upstreams[entry], now)

    def _park(self, exchange: Exchange, now: float, *, is_held: bool = False) -> None:
        if exchange.arrived + PATIENCE <= now:
            exchange.fail(exchange.failure or Code.H20)
            return
        if not is_held and self._table.released_at() is None:
            outlook = self._supervision.outlook()
            if isinstance(outlook, Outage):
                exchange.fail(outlook.code, outlook)
                return
        if not self._parking.park(exchange, exchange.arrived):
            exchange.fail(Code.H11)
            return
        self._set_alarm(is_held=is_held)

    def unpark(self, exchange: Exchange) -> None:
        self._parking.forget(exchange)

    def _serve_parked(self) -> None:
        if self._parking and self.holds is not None and self.holds():
            self._set_alarm(is_held=True)
            return
        if self._parking and not self._table.in_flight:
            self._supervision.wake()  # it may have fallen asleep since they asked
        now = self.loop.time()
        while (exchange := self._parking.first()) is not None:
            entry = self._table.lease(now, exchange.avoid)
            if entry is None:
                break
            self._parking.take()
            if self._table.in_flight == 1:
                self._supervision.busy()
            exchange.leased(entry, self._upstreams[entry], now)
        if self._parking and self._table.released_at() is None:
            outlook = self._supervision.outlook()
            if isinstance(outlook, Outage):
                for exchange in self._parking.take_all():
                    exchange.fail(outlook.code, outlook)
        self._set_alarm()

    def _set_alarm(self, *, is_held: bool = False) -> None:
        """One timer: for the end of the first one's patience, or of a quarantine."""
        due = self._parking.deadline()
        if due is not None and not is_held:
            released = self._table.released_at()
            if released is not None:
                due = min(due, released)
        alarm = self._alarm
        if alarm is not None:
            if due is not None and alarm.when() <= due:
                return
            alarm.cancel()
            self._alarm = None
        if due is not None:
            self._alarm = self.loop.call_at(due, self._look_again)

    def _look_again(self) -> None:
        self._alarm = None
        for exchange in self._parking.expired(self.loop.time()):
            exchange.fail(exchange.failure or Code.H20)
        self._serve_parked()

    def became_endless(self, entry: Entry) -> None:
        """A lease has become a tunnel, or a stream of events: no drain waits for it."""
        if self._table.became_endless(entry):
            self._supervision.drained(entry.backend.dyno, entry.backend.boot)

    def ended(self, entry: Entry, served: float | None, *, endless: bool = False) -> None:
        """A lease is over, and `served` when the request was not to be tried again."""
        if self._table.end(entry, served, endless=endless):
            self._supervision.drained(entry.backend.dyno, entry.backend.boot)
        if not self._table.in_flight:
            self._supervision.quiet()

    def try_again(self, exchange: Exchange) -> asyncio.TimerHandle | None:
        """A second try: elsewhere at once; at the same dyno in a moment, for it may be dying.

        Its connections are closed before its listening socket is, and the supervisor hears of the
        death after both: at once, the second try would be lost as the first.
        """
        now = self.loop.time()
        if self._table.can_avoid(exchange.avoid, now):
            self.dispatch(exchange, now)
            return None
        return self.loop.call_later(SECOND_TRY, lambda: self.dispatch(exchange, self.loop.time()))

    def refused(self, entry: Entry) -> None:
        self._table.refused(entry, self.loop.time())

    def accepted(self, entry: Entry) -> None:
        self._table.accepted(entry)

    def forget(self, client: Client) -> None:
        self.clients.discard(client)
        if self._empty is not None and not self.clients and not self._empty.done():
            self._empty.set_result(None)

    def report(self, access: Access, code: Code | None, detail: str = "") -> None:
        """A line of the log, in Heroku's form."""
        said = f"{code.description}: {detail}" if code is not None and detail else None
        self._supervision.log(log_line(access, code, said))

    # housekeeping

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task that ends with the router at the latest: `close` waits for it."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def sweep_later(self) -> None:
        self.sweeper = self.loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self.sweeper = None
        now = self.loop.time()
        left = [upstream.sweep(now) for upstream in self._upstreams.values()]
        if any(left):
            self.sweep_later()
