"""The router's side of the supervisor: which web dynos there are, and what may be hoped of them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from procman.core.fleet import WEB
from procman.core.outlook import outlook
from procman.core.routing import Backend, Outlook, Stats
from procman.runtime.blueprint import Front
from procman.runtime.last_lines import LastLines
from procman.runtime.loghub import LogHub
from procman.runtime.process import Process
from procman.runtime.router import Router, RouterLog
from procman.runtime.supervisor import Supervisor

ROUTER = "router"  # the source of its lines, as Heroku names it
GRACE = 1.0  # seconds that answers in flight have left when the dynos have ended already


class Web:
    """A router and the fleet behind it: a Front to the one, a Supervision to the other."""

    def __init__(
        self,
        supervisor: Supervisor,
        hub: LogHub,
        last_lines: LastLines,
        front: Front,
        sockets: Sequence[socket.socket],
    ) -> None:
        self._supervisor = supervisor
        self._hub = hub
        self._last_lines = last_lines
        self.router = Router(
            self,
            sockets,
            request_timeout=front.request_timeout,
            router_log=RouterLog(front.router_log),
            grace=GRACE,
        )

    # from the supervisor

    def up(self, process: Process) -> None:
        """A boot may be leased, where it listens."""
        if process.dyno.rpartition(".")[0] == WEB and process.reached_at is not None:
            self.router.add(Backend(process.dyno, process.boot, *process.reached_at))

    def drain(self, dyno: str, boot: int) -> None:
        """No more leases for it."""
        self.router.drain(dyno, boot)

    def gone(self, dyno: str, boot: int) -> None:
        """It has ended."""
        self.router.remove(dyno, boot)

    def changed(self) -> None:
        """Parked requests may have to be answered."""
        self.router.refresh()

    def keeps_awake(self, process: Process, *, lately: bool) -> str | None:
        """The router tells the fleet when the first lease begins and the last one ends; who is
        parked has no lease yet.
        """
        return "requests wait" if self.router.has_parked else None

    def asleep(self, process: Process) -> None:
        """Requests come here first."""

    def awake(self, process: Process) -> None:
        """It is leased as before."""

    def stats(self) -> dict[str, Stats]:
        """Requests of each web dyno."""
        return self.router.stats()

    # from the router

    def outlook(self) -> Outlook:
        """What a request can hope for while no dyno is ready."""
        return outlook(self._supervisor.fleet, self._supervisor.now, self._last_lines.of)

    def wake(self) -> None:
        """Somebody asks."""
        self._supervisor.wake()

    def busy(self) -> None:
        """The first lease began."""
        self._supervisor.requests_began()

    def quiet(self) -> None:
        """The last lease ended."""
        self._supervisor.requests_ended()

    def drained(self, dyno: str, boot: int) -> None:
        """The last lease of a dyno that stops has ended."""
        self._supervisor.drained(dyno, boot)

    def log(self, line: str) -> None:
        """A line of the router's."""
        self._hub.say(line, ROUTER)
