"""The only writer of the Fleet: performs effects, reports facts, arms one timer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
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
    Thaw,
)
from procman.core.fleet import Fleet
from procman.core.readiness import Readiness, Spawned
from procman.runtime.boots import CANNOT_EXECUTE, Boots
from procman.runtime.loghub import LogHub
from procman.runtime.process import Process
from procman.runtime.readiness import wait_until_ready

# A pty's unfinished line is a prompt when nothing follows it for this long; a program that is
# writing fills its line within a millisecond.
SILENCE = 0.1


class Supervisor:
    """Runs a fleet on an event loop. Lives inside `async with`: nothing outlives it."""

    def __init__(self, fleet: Fleet, boots: Boots, hub: LogHub) -> None:
        self.fleet = fleet
        self.over = asyncio.Event()
        self._boots = boots
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._facts: list[Fact] = []
        self._performing = False
        self._silences: dict[int, asyncio.TimerHandle] = {}
        self._reading: set[int] = set()
        self._paused = False
        self._checks = asyncio.TaskGroup()
        self._checking: dict[int, asyncio.Task[None]] = {}
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def __aenter__(self) -> Supervisor:
        await self._checks.__aenter__()
        self._loop.add_signal_handler(signal.SIGCHLD, self.reap)
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
        self._loop.remove_signal_handler(signal.SIGCHLD)
        if self._timer is not None:
            self._timer.cancel()
        for handle in self._silences.values():
            handle.cancel()
        for descriptor in self._reading:
            self._loop.remove_reader(descriptor)
        for task in self._checking.values():
            task.cancel()
        await self._checks.__aexit__(kind, error, trace)

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
        """Do what the fleet says, and what it says to the facts that come of it."""
        self._performing = True
        try:
            self._perform_all(effects)
        finally:
            self._performing = False
        self._arm()
        for holds, future in self._waiters:
            if not future.done() and holds():
                future.set_result(None)
        if self.fleet.is_over:
            self.over.set()

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
            self._forget(process.output)
            task = self._checking.pop(process.pid, None)
            if task is not None:
                task.cancel()
            self._boots.bury(process)
            self._facts.append(Exited(process.dyno, process.boot, status))
        if self._facts and not self._performing:
            self.perform(())

    def pause(self) -> None:
        """Read nothing: a sink is full."""
        self._paused = True
        for descriptor in self._reading:
            self._loop.remove_reader(descriptor)
        self._reading.clear()

    def resume(self) -> None:
        """The sink has room again."""
        if self._paused:
            self._paused = False
            for process in self._boots.by_pid.values():
                self._read(process)

    def _perform_all(self, effects: Effects) -> None:
        pending = list(effects)
        while pending or self._facts:
            for effect in pending:
                self._perform(effect)
            facts, self._facts = self._facts, []
            pending = []
            for fact in facts:
                pending += self.fleet.observe(fact, self.now)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn(dyno, boot):
                self._spawn(dyno, boot)
            case Signal(dyno, boot, number):
                self._boots.signal(dyno, boot, number)
            case Kill(dyno, boot):
                self._boots.kill(dyno, boot)
                self._loop.call_soon(self.reap)  # its leader may be gone: no SIGCHLD would tell
            case Drain(dyno, boot):
                self._facts.append(Drained(dyno, boot))  # nobody leases dynos yet
            case Freeze() | Thaw():
                pass  # nothing falls asleep yet
            case Say(dyno, text):
                self._hub.say(text, dyno)
            case _:
                assert_never(effect)

    def _spawn(self, dyno: str, boot: int) -> None:
        process = self._boots.spawn(dyno, boot)
        if process is None:
            self._facts.append(Exited(dyno, boot, CANNOT_EXECUTE))
        else:
            self._boots.announce(process)
            self._adopt(process)

    def _adopt(self, process: Process) -> None:
        self._read(process)
        check = self.fleet.types[process.dyno.rpartition(".")[0]].ready
        if isinstance(check, Spawned):
            self._facts.append(Ready(process.dyno, process.boot))
        else:
            self._checking[process.pid] = self._checks.create_task(self._check(check, process))

    async def _check(self, check: Readiness, process: Process) -> None:
        await wait_until_ready(check, process, self._boots)
        self._checking.pop(process.pid, None)
        self.report(Ready(process.dyno, process.boot))

    def _read(self, process: Process) -> None:
        if not self._paused and process.output not in self._reading:
            self._reading.add(process.output)
            self._loop.add_reader(process.output, self._take, process)

    def _take(self, process: Process) -> None:
        source = self._boots.source(process.dyno)
        if not self._hub.take(source, process.output):
            self._forget(process.output)  # all writers are gone; the exit is on the way
        elif process.is_pty:
            self._expect_silence(process)

    def _expect_silence(self, process: Process) -> None:
        source = self._boots.source(process.dyno)
        handle = self._silences.pop(process.output, None)
        if handle is not None:
            handle.cancel()
        if source.cutter.rest:
            flush = self._loop.call_later(SILENCE, self._hub.flush, source)
            self._silences[process.output] = flush

    def _forget(self, descriptor: int) -> None:
        handle = self._silences.pop(descriptor, None)
        if handle is not None:
            handle.cancel()
        if descriptor in self._reading:
            self._reading.discard(descriptor)
            self._loop.remove_reader(descriptor)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.fleet.deadline
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.perform(self.fleet.tick(self.now))
