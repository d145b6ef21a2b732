"""The only writer of the Fleet: performs effects, reports facts, arms one timer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import assert_never

from procman.core.dyno import (
    Drain,
    Drained,
    Effect,
    Effects,
    Exited,
    Fact,
    Freeze,
    Kill,
    Ready,
    Say,
    Signal,
    Spawn,
    State,
    Thaw,
)
from procman.core.fleet import Fleet, ProcessType
from procman.core.readiness import Http, Port, Spawned
from procman.runtime.boots import CANNOT_EXECUTE, Boots
from procman.runtime.front import Front
from procman.runtime.intake import Intake
from procman.runtime.loghub import LogHub
from procman.runtime.process import Process
from procman.runtime.readiness import find_address, wait_until_ready
from procman.runtime.sleepers import Sleepers


class Supervisor:
    """Runs a fleet on an event loop. Lives inside `async with`: nothing outlives it."""

    def __init__(self, fleet: Fleet, boots: Boots, hub: LogHub) -> None:
        self.fleet = fleet
        self.over = asyncio.Event()
        self.front: Front | None = None
        self.intake = Intake(boots, hub)
        self._boots = boots
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sleepers = Sleepers(boots)
        self._effects: list[Effect] = []
        self._facts: list[Fact] = []
        self._performing = False
        self._checks = asyncio.TaskGroup()
        self._checking: dict[int, asyncio.Task[None]] = {}
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def __aenter__(self) -> Supervisor:
        await self._checks.__aenter__()
        # uvloop keeps SIGCHLD for its own subprocesses, of which there are none; a handler of
        # Python's runs on both loops, by the descriptor that wakes them for a signal.
        signal.signal(signal.SIGCHLD, self._child_ended)
        for process in self._boots.by_pid.values():
            self._adopt(process)
        self.reap()  # those that ended before anybody listened
        self.perform(())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not the default: Python writes an error to stderr for a signal whose handler is taken away
        # in the moment that it comes.
        signal.signal(signal.SIGCHLD, _nobody_asks)
        if self._timer is not None:
            self._timer.cancel()
        self._sleepers.close()
        self.intake.close()
        for task in self._checking.values():
            task.cancel()
        if isinstance(error, asyncio.CancelledError):  # it may be a check that failed
            await self._checks.__aexit__(kind, error, trace)
        else:  # the group would wrap what the block raised
            await self._checks.__aexit__(None, None, None)

    @property
    def boots(self) -> Boots:
        """The live processes."""
        return self._boots

    @property
    def now(self) -> float:
        """The loop's clock, which is the fleet's."""
        return self._loop.time()

    def report(self, fact: Fact) -> None:
        """Tell the fleet what happened, and do what it says. May be called while performing."""
        self._facts.append(fact)
        if not self._performing:
            self.perform(())

    def perform(self, effects: Effects) -> None:
        """Do what the fleet says, and what it says to the facts that come of it.

        Called while it performs already, by a router that wakes a dyno, it adds to what is to do.
        """
        self._effects += effects
        if self._performing:
            return
        self._performing = True
        try:
            self._perform_all()
            if self.front is not None:
                self.front.changed()
                self._perform_all()
        finally:
            self._performing = False
        self.arm()
        for holds, future in self._waiters:
            if not future.done() and holds():
                future.set_result(None)
        if self.fleet.is_over:
            self.over.set()

    def arm(self) -> None:
        """Set the one timer to the fleet's next deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.fleet.deadline
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick)

    def meet(self, front: Front) -> None:
        """Lease by this front from now on; it learns of the boots that are up already."""
        self.front = front
        for dyno in self.fleet.dynos.values():
            process = self._boots.find(dyno.name, dyno.boot)
            if dyno.state is State.UP and process is not None:
                front.up(process)

    # A request begins and ends many thousand times a second, so these two touch no timer that is
    # set: one that comes too early sees the true deadline and is set again.

    def requests_began(self) -> None:
        """The first lease of all began: nobody falls asleep."""
        self.fleet.quiet_since = None

    def requests_ended(self) -> None:
        """The last lease of all ended: the time until sleep begins."""
        self.fleet.quiet_since = self.now
        if self._timer is None:
            self.arm()

    def drained(self, dyno: str, boot: int) -> None:
        """The last lease of a draining boot has ended."""
        self.report(Drained(dyno, boot))

    def wake(self) -> None:
        """Somebody asks for what may be asleep."""
        if self.fleet.asleep:
            self.perform(self.fleet.wake(self.now))

    def keeps_awake(self, name: str, *, lately: bool = False) -> str | None:
        """Why a dyno may not sleep, as far as the fleet does not know (see `Front`)."""
        process = self._boots.find(name, self.fleet.dynos[name].boot)
        if self.front is None:
            return "nobody would wake it"
        if process is None:
            return None
        return self.front.keeps_awake(process, lately=lately)

    def send(self, name: str, number: int) -> None:
        """Send a signal by hand. It lets the whole group run, so who is held is released first, and
        heartbeats are renewed: gunicorn's arbiter would kill workers that were only asleep.
        """
        self._sleepers.release(self._boots.by_dyno[name])
        self._boots.send(name, number)

    def end(self, status: int, why: str, *, kill: bool) -> None:
        """End the app."""
        self._hub.say(why)
        self.perform(self.fleet.end(status, self.now, kill=kill))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of the fleet; it is asked after every event."""
        if holds():
            return
        waiter = (holds, self._loop.create_future())
        self._waiters.append(waiter)
        try:
            await waiter[1]
        finally:
            self._waiters.remove(waiter)

    def reap(self) -> None:
        """Take the exits of all processes that have ended."""
        for process, status in self._boots.reap():
            self.intake.end(process.output)
            self._sleepers.release(process)
            task = self._checking.pop(process.pid, None)
            if task is not None:
                task.cancel()
            self._boots.bury(process)
            self._facts.append(Exited(process.dyno, process.boot, status))
        if self._facts and not self._performing:
            self.perform(())

    def _child_ended(self, _number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self.reap)

    def _perform_all(self) -> None:
        while self._effects or self._facts:
            effects, self._effects = self._effects, []
            for effect in effects:
                self._perform(effect)
            facts, self._facts = self._facts, []
            for fact in facts:
                self._effects += self.fleet.observe(fact, self.now)
                self._tell_front(fact)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn(dyno, boot):
                self._spawn(dyno, boot)
            case Signal(dyno, boot, number):
                self._boots.signal(dyno, boot, number)
                self._let_run(dyno, boot)
            case Kill(dyno, boot):
                self._boots.kill(dyno, boot)
                self._let_run(dyno, boot)
                self._loop.call_soon(self.reap)  # its leader may be gone: no SIGCHLD would tell
            case Drain(dyno, boot):
                if self.front is None:
                    self._facts.append(Drained(dyno, boot))
                else:
                    self.front.drain(dyno, boot)
            case Freeze(dyno, boot):
                process = self._boots.find(dyno, boot)
                if process is not None:
                    self._sleepers.freeze(process)
                    self._hub.say("State changed from up to suspended", dyno)
                    if self.front is not None:
                        self.front.asleep(process)
            case Thaw(dyno, boot):
                process = self._boots.find(dyno, boot)
                if process is not None:
                    self._sleepers.thaw(process)
                    self._tell_awake(process)
                    self._effects.append(Say(dyno, "State changed from suspended to up"))
            case Say(dyno, text):
                self._hub.say(text, dyno)
            case _:
                assert_never(effect)

    def _let_run(self, dyno: str, boot: int) -> None:
        """A stopped process keeps its signals pending: whoever is signalled is thawed."""
        process = self._boots.find(dyno, boot)
        if process is not None:
            self._sleepers.release(process)
            self._tell_awake(process)

    def _tell_awake(self, process: Process) -> None:
        if self.front is not None:
            self.front.awake(process)

    def _tell_front(self, fact: Fact) -> None:
        dyno = self.fleet.dynos.get(fact.dyno)
        if self.front is None:
            return
        match fact:
            case Ready():
                process = self._boots.find(fact.dyno, fact.boot)
                if process is not None and dyno is not None and dyno.state is State.UP:
                    self.front.up(process)
            case Exited():
                self.front.gone(fact.dyno, fact.boot)
            case Drained():
                pass  # the front said so itself

    def _spawn(self, dyno: str, boot: int) -> None:
        process = self._boots.spawn(dyno, boot)
        if process is None:
            self._facts.append(Exited(dyno, boot, CANNOT_EXECUTE))
        else:
            self._boots.announce(process)
            self._adopt(process)

    def _adopt(self, process: Process) -> None:
        self.intake.begin(process)
        of_type = self.fleet.types[process.dyno.rpartition(".")[0]]
        if isinstance(of_type.ready, Spawned):
            self._facts.append(Ready(process.dyno, process.boot))
        if of_type.policy.routed or not isinstance(of_type.ready, Spawned):
            self._checking[process.pid] = self._checks.create_task(self._check(of_type, process))

    async def _check(self, of_type: ProcessType, process: Process) -> None:
        is_routed = of_type.policy.routed
        await wait_until_ready(of_type.ready, process, self._boots, is_routed=is_routed)
        if not isinstance(of_type.ready, Spawned):
            self.report(Ready(process.dyno, process.boot))
        if is_routed and not isinstance(of_type.ready, Port | Http) and process.address is None:
            taken_for = process.reached_at
            await find_address(process, self._boots)
            if process.reached_at != taken_for:  # or whom it serves there would be cut off
                self._tell_where(process)
        self._checking.pop(process.pid, None)

    def _tell_where(self, process: Process) -> None:
        """It was ready by another sign before it listened, and may do so elsewhere."""
        dyno = self.fleet.dynos.get(process.dyno)
        if dyno is None or dyno.boot != process.boot or self.front is None:
            return
        if dyno.state in (State.UP, State.SUSPENDED):
            self.front.up(process)

    def _tick(self) -> None:
        self._timer = None
        bedtime = self.fleet.bedtime
        is_due = bedtime is not None and bedtime[0] <= self.now
        if is_due and bedtime and self.keeps_awake(bedtime[1], lately=True) is not None:
            self.fleet.quiet_since = self.now
        self.perform(self.fleet.tick(self.now))


def _nobody_asks(_number: int, _frame: FrameType | None) -> None:
    """What ends now is no dyno's."""
