"""Starts an app in a session of its own, and tells the caller when it is up, or that it is not.

One fork, before the lock, the guardian and the first thread. Until the app is up the child keeps
the caller's standard error, where its errors are read as if it were not detached; its other word
is one line through a pipe, once all dynos are up. Then it lets go of the terminal.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from procman.core.dyno import Want
from procman.core.exits import describe_exit, shell_status
from procman.core.fleet import BROKEN_AFTER, Fleet
from procman.core.smoke import SHOWN_LINES
from procman.core.status import PATIENCE, STEADY, is_hopeless, unsettled
from procman.core.style import Look, for_screen
from procman.runtime.last_lines import LastLines

if TYPE_CHECKING:
    from procman.runtime.blueprint import App
    from procman.runtime.loghub import Sink, Source
    from procman.runtime.supervisor import Supervisor


_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ASKED_TO = {128 + number for number in _PASSED_ON}  # statuses of an app that was told to end


@dataclass(frozen=True, slots=True)
class Launched:
    """An app that is up: procman's pid, the dynos, where it is reached, why it keeps no history."""

    pid: int
    dynos: Sequence[str]
    url: str | None
    no_history: str | None


def start_detached(app: App) -> Launched | int:
    """Start the app and return once it is up; else its exit status, after it has said on standard
    error why, and has ended. Signals reach it while it comes up.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if not child:
        sys.exit(_run_as_child(app, writing))
    os.close(writing)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    with open(reading, "rb") as pipe:
        line = pipe.read()
    if line:
        told = json.loads(line)
        return Launched(child, told["dynos"], told["url"], told["no_history"])
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # once waited for, it is nobody's pid
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:  # it could not say why itself
        print(f"procman: the app did not come up: {describe_exit(status)}", file=sys.stderr)
    return shell_status(status)


def _run_as_child(app: App, pipe: int) -> int:
    from procman.runtime.app import start

    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(pipe, 3)
    _close_all_but(0, 1, 2, 3)
    os.set_inheritable(3, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    launch = Launch(3, app.root)
    status = start(app, launch)
    return status if launch.is_up or status in _ASKED_TO else launch.explain(status)


def _close_all_but(*kept: int) -> None:
    """What the caller's shell left open is not ours. Not by a range: its end may be 2**30."""
    for name in os.listdir("/dev/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that listed


class Launch:
    """The way up of one app, as the process that waits for it is told."""

    def __init__(self, pipe: int, root: str) -> None:
        self.is_up = False
        self._pipe = pipe
        self._root = root
        self._reasons: Mapping[str, str] = {}
        self._no_history: str | None = None
        self._last_lines = LastLines()

    @property
    def sinks(self) -> Sequence[Sink]:
        """The last lines of each dyno, for the case that it does not come up."""
        return (self,)

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Remember them until the app is up: then nobody is left to be told."""
        if not self.is_up:
            self._last_lines.write(source, lines, now)

    def close(self) -> None:
        """Nothing is held back."""

    def hurry(self) -> None:
        """Nobody reads a detached app's standard output, so none is stuck."""

    async def watch(
        self, supervisor: Supervisor, describe: Callable[[], Mapping[str, object]]
    ) -> None:
        """Wait until the app is up, and tell; or end it."""
        from procman.runtime.history import why_none

        self._no_history = why_none(self._root)
        self._reasons = await come_up(supervisor)
        if supervisor.fleet.is_ending:
            pass  # it ends already, and the reasons are told at the end
        elif self._reasons:
            supervisor.end(1, "did not come up, stopping", kill=False)
        else:
            told = {
                "dynos": _wanted(supervisor.fleet),
                "url": describe().get("url"),
                "no_history": self._no_history,
            }
            os.dup2(0, 2)
            self.is_up = True
            try:
                os.write(self._pipe, json.dumps(told).encode())
            except BrokenPipeError:
                pass  # whoever waited was killed: the app is up nevertheless
            os.close(self._pipe)

    def explain(self, status: int) -> int:
        """Say on standard error why the app is not up; the status for it."""
        told: set[str] = set()
        for name, reason in self._reasons.items():
            print(f"procman: {name} is not up: {reason}", file=sys.stderr)
            of_type = name.rpartition(".")[0]
            if of_type not in told:  # a hundred of a type mostly fail alike
                self._show_last_lines(name)
                told.add(of_type)
        if not self._reasons and not status:
            print("procman: the app has finished already", file=sys.stderr)
            return 0
        print("procman: the app did not come up", file=sys.stderr)
        if self._no_history is None:
            print("  hint: `procman logs` shows what it said", file=sys.stderr)
        else:
            print(f"procman: {self._no_history}", file=sys.stderr)
        return 1

    def _show_last_lines(self, dyno: str) -> None:
        lines = b"".join(line + b"\n" for line in self._last_lines.of(dyno)[-SHOWN_LINES:])
        if lines:
            shown = for_screen(lines, b"     | ", Look(tame=True))
            print(
                f"     its last lines:\n{shown.decode(errors='replace')}", end="", file=sys.stderr
            )


async def come_up(supervisor: Supervisor) -> Mapping[str, str]:
    """Wait until all dynos are up and stay so for STEADY seconds; else who is not, and why.

    It ends early when one never will be up, or when the app ends.
    """
    fleet = supervisor.fleet
    policies = [of_type.policy for of_type in fleet.types.values()]
    in_a_row = sum(policy.boot_timeout or 0.0 for policy in policies)

    def is_up() -> bool:
        return not _reasons(fleet)

    def is_decided() -> bool:
        return is_up() or fleet.is_ending or _is_in_vain(fleet)

    def is_disturbed() -> bool:
        return not is_up() or fleet.is_ending

    try:
        async with asyncio.timeout(max(PATIENCE, in_a_row)):
            while True:
                await supervisor.until(is_decided)
                if fleet.is_ending or _is_in_vain(fleet):
                    break
                try:
                    async with asyncio.timeout(STEADY):
                        await supervisor.until(is_disturbed)
                except TimeoutError:
                    return {}
    except TimeoutError:
        pass
    return _failures(fleet) if fleet.is_ending else _reasons(fleet)


def _wanted(fleet: Fleet) -> list[str]:
    return [name for name, dyno in fleet.dynos.items() if dyno.want is not Want.DOWN]


def _reasons(fleet: Fleet) -> Mapping[str, str]:
    """Who is not up, and why; a dyno that keeps crashing is not, whatever it is just now."""
    crashing = {
        name: f"keeps crashing, {describe_exit(dyno.status or 0)}"
        for name, dyno in fleet.dynos.items()
        if dyno.crashes >= BROKEN_AFTER
    }
    return {**unsettled(fleet, _wanted(fleet)), **crashing}


def _is_in_vain(fleet: Fleet) -> bool:
    return any(is_hopeless(d) or d.crashes >= BROKEN_AFTER for d in fleet.dynos.values())


def _failures(fleet: Fleet) -> Mapping[str, str]:
    """Of an app that has ended by itself: what failed."""
    failed = {
        n: d.status for n, d in fleet.dynos.items() if d.status and (d.status > 0 or d.crashes)
    }
    return {name: f"crashed, {describe_exit(status)}" for name, status in failed.items()}
