"""Watches an app come up, asks it, lets a command try it, and ends it: the smoke test's course."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from procman.core.dyno import Dyno, State
from procman.core.environment import COOKIE
from procman.core.exits import describe_exit, shell_status
from procman.core.fleet import WEB, Fleet, Phase
from procman.core.smoke import ENDED, SIGNALLED, AnswerResult, DynoResult, Report, why_wrong
from procman.core.status import unsettled, why_not_up
from procman.runtime.asking import Heard, NoAnswer, ask
from procman.runtime.boots import CANNOT_EXECUTE, cookie_of
from procman.runtime.last_lines import LastLines
from procman.runtime.loghub import Sink
from procman.runtime.probe import wait_for
from procman.runtime.process import pwd_here
from procman.runtime.program import NOT_FOUND, find_program, spawn_program
from procman.runtime.supervisor import Supervisor

# Statuses of an app that a signal told to end.
_OF_SIGNALS = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be seen. Durations in seconds; `expect` are the statuses that are right, `output`
    is the descriptor for what the command says.
    """

    timeout: float
    paths: Sequence[str]
    expect: frozenset[int]
    steady: float
    stop_timeout: float
    argv: Sequence[str]
    environment: Mapping[str, str]
    output: int


class Smoke:
    """A companion of one run of the app; its report is what was found when it ended."""

    def __init__(self, plan: Plan, app: str) -> None:
        self.report = Report(app)
        self.is_hurried = False
        self.last_lines = LastLines()
        self._plan = plan
        self._began = time.monotonic()
        self._failed: dict[str, str] = {}
        self._came_up: set[str] = set()

    @property
    def sinks(self) -> Sequence[Sink]:
        """The last lines of each dyno, for the report."""
        return (self.last_lines,)

    async def watch(
        self, supervisor: Supervisor, describe: Callable[[], Mapping[str, object]]
    ) -> None:
        """Take the course until something fails, or all is done; then end the app."""
        try:
            async with asyncio.timeout(self._plan.timeout):
                await self._come_up(supervisor)
                if self._is_lost(supervisor.fleet):
                    self._note_unasked(
                        "a dyno had failed" if self._failed else "the app was ending"
                    )
                else:
                    await self._ask(str(describe().get("url") or ""))
        except TimeoutError:
            self._note_late()
        if self._is_sound(supervisor.fleet):
            await self._stay_steady(supervisor)
        if self._is_sound(supervisor.fleet) and self._plan.argv:
            await self._run_command(supervisor, describe())
        self._note_dynos(supervisor.fleet)
        self.report.seconds = time.monotonic() - self._began
        if not supervisor.fleet.is_ending:
            supervisor.end(self.report.status, "the smoke test is done, stopping", kill=False)

    def hurry(self) -> None:
        """Who writes the report is to know."""
        self.is_hurried = True

    async def _come_up(self, supervisor: Supervisor) -> None:
        fleet = supervisor.fleet
        await supervisor.until(lambda: self._is_lost(fleet) or self._are_all_up(fleet))

    async def _ask(self, url: str) -> None:
        for path in self._plan.paths:
            began = time.monotonic()
            heard = Heard()
            trouble: str | None = "out of time"
            try:
                await ask(url, path, heard)
                trouble = None
            except NoAnswer as error:
                trouble = str(error)
            finally:  # also when time runs out
                self._note_answer(path, heard, time.monotonic() - began, trouble)

    async def _stay_steady(self, supervisor: Supervisor) -> None:
        try:
            async with asyncio.timeout(self._plan.steady):
                await supervisor.until(lambda: self._is_lost(supervisor.fleet))
        except TimeoutError:
            pass

    async def _run_command(self, supervisor: Supervisor, app: Mapping[str, object]) -> None:
        """Run the user's command with our own streams; a crash meanwhile fails the test.

        In a session of its own: one that asks the terminal from the background would be stopped.
        """
        url = str(app.get("url") or "")
        boots = supervisor.boots
        cookie = cookie_of(boots.cookie, "smoke", 1)
        environment = {**self._plan.environment, "PROCMAN_URL": url, COOKIE: cookie}
        environment["PWD"] = pwd_here(environment)
        if url:
            environment["PORT"] = url.rpartition(":")[2]
        argv = list(self._plan.argv)
        program = find_program(argv[0], environment.get("PATH", os.defpath))
        if isinstance(program, int):
            missing = errno.ENOENT if program == NOT_FOUND else errno.EACCES
            self._note_unrun(program, os.strerror(missing))
            return
        try:
            pid = spawn_program(partial(self._spawn, environment), program, argv)
        except OSError as error:  # a script whose interpreter is gone, a binary of another machine
            self._note_unrun(CANNOT_EXECUTE, error.strerror or "")
            return
        boots.probes.add(pid)
        boots.guardian.watch(pid)
        command = asyncio.create_task(wait_for(pid))
        lost = asyncio.create_task(supervisor.until(lambda: self._is_lost(supervisor.fleet)))
        try:
            await asyncio.wait({command, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not command.done():
                os.killpg(pid, signal.SIGTERM)
                await self._grace(command, supervisor)
                _kill(pid)
            self.report.command_status = shell_status(await command)
        finally:
            lost.cancel()
            command.cancel()
            _kill(pid)
            boots.probes.discard(pid)
            boots.guardian.forget(pid)

    def _spawn(self, environment: Mapping[str, str], program: str, argv: list[str]) -> int:
        return os.posix_spawn(
            program,
            argv,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, self._plan.output, 1),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )

    def _note_unrun(self, status: int, why: str) -> None:
        self.report.command_status = status
        self.report.command_reason = f"{self._plan.argv[0]}: {why}"

    async def _grace(self, command: asyncio.Task[int], supervisor: Supervisor) -> None:
        """Wait for a command that was asked to stop; then it is killed, and at once if all are."""
        killed = asyncio.create_task(
            supervisor.until(lambda: supervisor.fleet.phase is Phase.KILLED)
        )
        try:
            await asyncio.wait(
                {command, killed},
                timeout=self._plan.stop_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            killed.cancel()

    def _are_all_up(self, fleet: Fleet) -> bool:
        """Whether nobody is waited for; who came up is kept, for the app's end hides it.

        What may finish has done its work with status 0; web may not.
        """
        waiting = unsettled(fleet, fleet.dynos)
        self._came_up.update(name for name in fleet.dynos if name not in waiting)
        return not waiting

    def _is_lost(self, fleet: Fleet) -> bool:
        """Whether it failed already, or ends."""
        for dyno in fleet.dynos.values():
            reason = _failure(dyno)
            if reason is not None:
                self._failed.setdefault(dyno.name, reason)
        return bool(self._failed) or fleet.is_ending

    def _is_sound(self, fleet: Fleet) -> bool:
        answered = all(answer.reason is None for answer in self.report.answers)
        return self.report.reason is None and answered and not self._is_lost(fleet)

    def _note_answer(self, path: str, heard: Heard, seconds: float, trouble: str | None) -> None:
        reason = trouble
        if heard.status is not None:
            wrong = why_wrong(
                heard.status, self._plan.expect, code=heard.code, location=heard.location
            )
            reason = wrong or (trouble and f"the body did not come to its end, {trouble}")
        self.report.answers.append(AnswerResult(path, heard.status, seconds, reason))

    def _note_late(self) -> None:
        """Time ran out: the answer waited for says so, if there is one, else the report does."""
        answers = self.report.answers
        if not answers or answers[-1].reason is None:
            self.report.reason = f"ran out of time after {self._plan.timeout:g} s"
        self._note_unasked("the time had run out")

    def _note_unasked(self, why: str) -> None:
        """The paths that nobody came to ask: a report without them would look like a shorter test.

        They count as failed, as what is not known to be right does.
        """
        answers = self.report.answers
        left = self._plan.paths[len(answers) :]
        answers.extend(AnswerResult(path, None, 0.0, f"not asked, {why}") for path in left)

    def _note_dynos(self, fleet: Fleet) -> None:
        for dyno in fleet.dynos.values():
            reason = self._failed.get(dyno.name) or _failure(dyno) or self._why_not_up(fleet, dyno)
            ready = None if dyno.ready_at is None else dyno.ready_at - dyno.booted_at
            lines = [line.decode(errors="replace") for line in self.last_lines.of(dyno.name)]
            self.report.dynos.append(
                DynoResult(dyno.name, dyno.type, dyno.state.value, ready, reason, lines)
            )
        if fleet.is_ending and self.report.reason is None:
            self.report.reason = self._why_ended(fleet)

    def _why_ended(self, fleet: Fleet) -> str | None:
        """Of an app that ends before we end it: a signal, a dyno that failed, or what else?

        Its status tells, which --fail-fast alone takes from a dyno.
        """
        by_dyno = fleet.fail_fast and self._failed
        if fleet.status in _OF_SIGNALS and not by_dyno:
            return SIGNALLED
        return None if self._failed else ENDED

    def _why_not_up(self, fleet: Fleet, dyno: Dyno) -> str | None:
        """Of an app that ends: why it never was, since no dyno is up any more."""
        if not fleet.is_ending:
            return why_not_up(fleet, dyno)
        came_up = dyno.ready_at is not None or dyno.name in self._came_up
        return None if came_up else "not ready yet"


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing is left of it


def _failure(dyno: Dyno) -> str | None:
    """Why a dyno has failed the test, whatever else it does: it crashed, or web finished."""
    if dyno.state is State.CRASHED or dyno.crashes:
        return f"crashed, {describe_exit(dyno.status or 0)}"
    if dyno.state is State.FINISHED and (dyno.type == WEB or dyno.status != 0):
        return f"ended, {describe_exit(dyno.status or 0)}"
    return None
