"""Performs effects on processes: spawns boots, signals them, and learns of their exits.

It decides nothing and needs no event loop, so that the first dynos run before asyncio is imported.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from procman.core.lines import Cutter
from procman.core.readiness import Log
from procman.errors import ProcmanError
from procman.runtime import orphans
from procman.runtime.guardian import Guardian
from procman.runtime.loghub import LogHub, Source
from procman.runtime.process import Command, Process, group_lives, kill_group, send, spawn

if TYPE_CHECKING:
    from procman.core.fleet import ProcessType
    from procman.runtime.taps import Taps

CANNOT_EXECUTE = 126  # what a shell reports for a command that is there and cannot be run

# A shell's background jobs ignore these two from their birth (POSIX, Shell 2.11): to wait for them
# would be to wait for the kill.
IGNORED_BY_JOBS = (signal.SIGINT, signal.SIGQUIT)


@dataclass(slots=True)
class Boots:
    """The live processes of an app, by pid and by dyno.

    `plan(dyno, boot)` gives the command of a boot; `source(dyno)` where its lines go;
    `port_of(dyno)` its port, also while it is down. `probes` are children that somebody else waits
    for; `taps` look through the lines of each boot.
    """

    plan: Callable[[str, int], Command]
    source: Callable[[str], Source]
    port_of: Callable[[str], int | None]
    hub: LogHub
    guardian: Guardian
    cookie: str
    by_pid: dict[int, Process] = field(default_factory=dict)
    by_dyno: dict[str, Process] = field(default_factory=dict)
    probes: set[int] = field(default_factory=set)
    taps: Taps | None = None

    def listen_for(self, types: Mapping[str, ProcessType]) -> None:
        """Look for the lines that make boots of these types ready. At the start, and when types or
        settings are others."""
        patterns = {n: t.ready.argument for n, t in types.items() if type(t.ready) is Log}
        if self.taps is not None:
            self.taps.look_for(patterns)
        elif patterns:
            from procman.runtime.taps import Taps

            self.taps = Taps(patterns)
            self.hub.add(self.taps)

    def spawn(self, dyno: str, boot: int) -> Process | None:
        """Start a boot; None, and a line that says why, when the system would not."""
        if self.taps is not None:
            self.taps.begin(self.source(dyno))
        try:
            command = self.plan(dyno, boot)
        except (OSError, ProcmanError) as error:
            self._say_why_not(dyno, error)
            return None
        try:
            process = spawn(dyno, boot, command, self.guardian)
        except (OSError, ValueError) as error:  # what no exec takes, a NUL say, is a ValueError
            self._say_why_not(dyno, error)
            if command.copy is not None:
                command.copy.close()
            return None
        process.release, process.copy = command.release, command.copy
        process.is_followed = orphans.can_adopt()
        process.source = self.source(dyno)
        before = self.by_dyno.get(dyno)
        if before is not None:  # it runs on beside this one: it keeps its unfinished line
            before.source = replace(process.source, onlookers=[])
            process.source.cutter = Cutter()
        self.by_pid[process.pid] = process
        self.by_dyno[dyno] = process
        return process

    def follow(self) -> None:
        """Look once for what left the first boots before orphans came to us. When there is nothing,
        as nearly always, no exit has to search all of /proc for it.
        """
        if orphans.can_adopt():
            from procman.runtime.tree import tree

            escaped = set(orphans.marked(f"{self.cookie}.")) - set(tree(os.getpid()))
            for process in self.by_pid.values():
                process.is_followed = not escaped

    def _say_why_not(self, dyno: str, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        self.hub.say(f"cannot be started: {reason}", dyno)

    def announce(self, process: Process) -> None:
        """Say that a boot has started."""
        port = "" if process.port is None else f" on port {process.port}"
        self.hub.say(f"started with pid {process.pid}{port}", process.dyno)

    def find(self, dyno: str, boot: int) -> Process | None:
        """The process of a boot, if it lives."""
        process = self.by_dyno.get(dyno)
        if process is not None and process.boot == boot:
            return process
        others = (p for p in self.by_pid.values() if p.dyno == dyno and p.boot == boot)
        return next(others, None)

    def signal(self, dyno: str, boot: int, number: int) -> None:
        """Send a signal to a boot's group, if it is still that boot."""
        process = self.find(dyno, boot)
        if process is not None:
            process.asked = number
            send(process, number)

    def send(self, dyno: str, number: int) -> None:
        """Send a signal by hand: it asks nothing to stop."""
        send(self.by_dyno[dyno], number)

    def kill(self, dyno: str, boot: int) -> None:
        """SIGKILL to the group, whose grace is over; what left the group falls at the exit."""
        self.signal(dyno, boot, signal.SIGKILL)
        process = self.find(dyno, boot)
        if process is not None:
            process.asked = None

    def reap(self) -> list[tuple[Process, int]]:
        """The boots that have ended since, with their status as in `Exited`.

        The exit is the leader's. When the group was asked to stop, the others in it have the same
        grace as the leader: a shell dies of a SIGTERM at once, the server it started finishes its
        requests first. So the end of an asked boot is the end of its group, or the kill. What is
        left then is killed, and waited for: a lock or a port is its own until it has died, and the
        next boot wants it.
        """
        ended_now = []
        for process in self.by_pid.values():
            if process.status is None:
                try:
                    pid, status = os.waitpid(process.pid, os.WNOHANG)
                except ChildProcessError:
                    pid, status = process.pid, 0  # reaped by somebody else: its status is lost
                if pid:
                    process.status = os.waitstatus_to_exitcode(status)
                    ended_now.append(process)
        self._end_vain_graces(ended_now)
        orphans.reap_adopted(self._known)
        ended = [(p, p.status) for p in self.by_pid.values() if p.status is not None]
        return [(p, status) for p, status in ended if not self._lingers(p) and self._is_gone(p)]

    @staticmethod
    def _end_vain_graces(ended: list[Process]) -> None:
        """Where only a shell's background jobs are left, and nobody heeds the signal."""
        graces = {p.pid: p.asked for p in ended if p.asked in IGNORED_BY_JOBS and group_lives(p)}
        if graces:
            heeding = orphans.heeding(graces)
            for process in ended:
                if process.pid in graces and process.pid not in heeding:
                    process.asked = None

    @staticmethod
    def _lingers(process: Process) -> bool:
        """Whether others in an asked group still live, and we shall hear of their end."""
        return process.asked is not None and orphans.can_adopt() and group_lives(process)

    def _is_gone(self, process: Process) -> bool:
        """Whether nobody is left. The first time it is asked, it kills."""
        if process.killed is None:
            kill_group(process)
            process.killed = orphans.kill_escaped(
                self.mark(process), self._known, is_followed=process.is_followed
            )
        return not orphans.are_dying(process.killed, process.pid, self._known)

    @property
    def _known(self) -> set[int]:
        """Our children that are nobody's orphans."""
        return {self.guardian.pid, *self.by_pid, *self.probes}

    def bury(self, process: Process) -> None:
        """Show the last that a boot wrote that is gone, and forget it."""
        source = process.source
        del self.by_pid[process.pid]
        if self.by_dyno[process.dyno] is process:
            del self.by_dyno[process.dyno]
        self.hub.drain(source, process.output)
        self.hub.flush(source)
        os.close(process.output)
        if process.dyno not in self.by_dyno:
            self._go_back(process)
        self.guardian.forget(process.pid)
        if process.copy is not None:
            process.copy.close()

    def _go_back(self, gone: Process) -> None:
        """Where a predecessor stays, it is the dyno again, and the lines are its own. One that is
        older still, and about to end, keeps what it has.
        """
        others = [process for process in self.by_pid.values() if process.dyno == gone.dyno]
        if others:
            other = max(others, key=lambda process: process.boot)
            self.by_dyno[gone.dyno] = other
            gone.source.cutter, gone.source.recent = other.source.cutter, other.source.recent
            other.source = gone.source

    def is_running(self, process: Process) -> bool:
        """Whether it does something just now, as far as the platform tells."""
        from procman.runtime.tree import is_running

        return is_running(process.pid)

    def strays(self, process: Process) -> list[int]:
        """Processes of a live boot that lost their parent, and so left its tree."""
        adopted = orphans.adopted(self._known)
        if not adopted:
            return []
        ours = set(orphans.marked(self.mark(process)))
        return [pid for pid in adopted if pid in ours]

    def mark(self, process: Process) -> str:
        """What the environment of everything that stems from a boot contains."""
        return cookie_of(self.cookie, process.dyno, process.boot)


def cookie_of(cookie: str, dyno: str, boot: int) -> str:
    """The cookie of one boot: the app's, then the dyno's name and the boot's number."""
    return f"{cookie}.{dyno}.{boot}."
