"""Web dynos that the requests reach without a router: they can sleep all the same.

Nobody tells how many requests there are, so the kernel is asked, when the time has come to sleep.
A guess that is wrong costs the next request a millisecond. While the dyno sleeps, a copy of its
listening socket is watched, or the socket that procman holds for it.
"""

from __future__ import annotations

import asyncio
import socket

from procman.core.bedtime import is_deserted
from procman.core.dyno import Idle, State
from procman.core.fleet import WEB
from procman.core.routing import Stats
from procman.runtime.boots import Boots
from procman.runtime.listening import (
    CannotDuplicate,
    Listening,
    duplicate_socket,
    established_count,
    listening_sockets,
)
from procman.runtime.loghub import LogHub
from procman.runtime.process import Process
from procman.runtime.shared_socket import SharedSocket
from procman.runtime.sock_diag import Endings
from procman.runtime.supervisor import Supervisor
from procman.runtime.tree import IS_LINUX, tree
from procman.runtime.vigil import Vigil

LONE = f"{WEB}.1"  # what may sleep
NOWHERE = "it listens nowhere"


class Direct:
    """A Front that leases nothing. `held` is the socket that procman shares with all web dynos, if
    it does; else each has its own.
    """

    def __init__(
        self, supervisor: Supervisor, boots: Boots, hub: LogHub, held: SharedSocket | None = None
    ) -> None:
        self._supervisor = supervisor
        self._boots = boots
        self._hub = hub
        self._held = held
        self._vigil = Vigil(supervisor.wake)
        self._watched: tuple[str, int] | None = None  # the frozen boot
        self._endings: Endings | None = None  # of the connections to the last boot that came up
        self._has_complained = False

    def close(self) -> None:
        """Hold nothing."""
        self._vigil.end()
        self._forget_endings()
        if self._held is not None:
            self._held.close()

    # from the supervisor

    def up(self, process: Process) -> None:
        """From now on connections to the one that may sleep count also when they have gone."""
        idle = self._supervisor.fleet.types[WEB].policy.idle
        at = process.reached_at
        if process.dyno != LONE or at is None or idle is Idle.OFF or not IS_LINUX:
            return
        self._forget_endings()
        try:
            self._endings = Endings(at[1])
        except OSError:
            pass  # no netlink in this sandbox: what is seen at the time to sleep must do

    def drain(self, dyno: str, boot: int) -> None:
        """There are no leases."""
        self._supervisor.drained(dyno, boot)

    def gone(self, dyno: str, boot: int) -> None:
        """Its port is to be free at once."""
        if self._watched == (dyno, boot):
            self._rest()

    def changed(self) -> None:
        """A dyno that was stopped to sleep is watched for by the socket that it shares; who would
        wait there in vain is refused.
        """
        if self._held is None:
            return
        if is_deserted(self._supervisor.fleet):
            self._held.close()
        dyno = self._supervisor.fleet.dynos.get(LONE)
        is_idle = dyno is not None and dyno.state is State.IDLE
        if is_idle and not self._vigil:
            self._vigil.begin([self._held.copy()])
        elif not is_idle and self._watched is None:
            self._vigil.end()

    def keeps_awake(self, process: Process, *, lately: bool) -> str | None:
        """Why it may not sleep now; with `lately`, also because somebody was there since."""
        was_visited = self._endings is not None and self._endings.seen()
        doors = self._doors(process)
        if self._held is None:
            if not doors:
                return NOWHERE
            copies = _copies(doors)
            if isinstance(copies, CannotDuplicate):
                self._complain(copies)
                return f"its socket cannot be watched: {copies.reason}"
            _close(copies)
        count = sum(established_count(port) for port in {door.port for door in doors})
        if count:
            return "a connection is open" if count == 1 else f"{count} connections are open"
        return "somebody was there" if lately and was_visited else None

    def asleep(self, process: Process) -> None:
        """Watch in its place. Whom it had accepted when it was frozen would wait for ever."""
        doors = self._doors(process)
        copies = _copies(doors) if self._held is None else [self._held.copy()]
        if isinstance(copies, CannotDuplicate):
            asyncio.get_running_loop().call_soon(self._supervisor.wake)
            return
        self._watched = process.dyno, process.boot
        self._vigil.begin(copies)
        if any(established_count(port) for port in {door.port for door in doors}):
            asyncio.get_running_loop().call_soon(self._supervisor.wake)

    def awake(self, process: Process) -> None:
        """It runs, or is to end: it needs no watch."""
        if self._watched == (process.dyno, process.boot):
            self._rest()

    def stats(self) -> dict[str, Stats]:
        """Nobody counts."""
        return {}

    # inside

    def _complain(self, why: CannotDuplicate) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._hub.say(f"web dynos do not sleep without a router here: {why.reason}")

    def _rest(self) -> None:
        self._watched = None
        self._vigil.end()

    def _forget_endings(self) -> None:
        if self._endings is not None:
            self._endings.close()
            self._endings = None

    def _doors(self, process: Process) -> list[Listening]:
        """All that the boot listens on, each socket once."""
        pids = tree(process.pid, *self._boots.strays(process))
        return list({door.inode: door for door in listening_sockets(pids)}.values())


def _copies(doors: list[Listening]) -> list[socket.socket] | CannotDuplicate:
    copies: list[socket.socket] = []
    for door in doors:
        copy = duplicate_socket(door.pid, door.fd)
        if isinstance(copy, CannotDuplicate):
            _close(copies)
            return copy
        copies.append(copy)
    return copies


def _close(copies: list[socket.socket]) -> None:
    for copy in copies:
        copy.close()
