"""One run of an app, from the lock to the exit status.

Start-up is counted in imports: the dynos are spawned first, and asyncio is imported while they
start, their first lines being shown between one import and the next.
"""

from __future__ import annotations

import importlib
import os
import resource
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from procman.core.dyno import Exited, Spawn
from procman.core.environment import COOKIE
from procman.core.fleet import Ends, Fleet
from procman.errors import ProcmanError
from procman.runtime import orphans
from procman.runtime.blueprint import App, Blueprint
from procman.runtime.boots import CANNOT_EXECUTE, Boots
from procman.runtime.guardian import Guardian
from procman.runtime.home import Home, usable
from procman.runtime.last_lines import LastLines
from procman.runtime.loghub import LogHub, Sink
from procman.runtime.process import keep_descriptors
from procman.runtime.screen import Screen
from procman.runtime.taken_ports import taken_ports

if TYPE_CHECKING:
    import socket
    from asyncio import AbstractEventLoop

    from procman.core.wire import Request
    from procman.runtime.control import Stream
    from procman.runtime.history import History
    from procman.runtime.releases.move import Mover
    from procman.runtime.supervisor import Supervisor
    from procman.runtime.web import Web

# The heavy imports, in pieces, so that output can be shown between them.
_HEAVY = (
    "socket",
    "concurrent.futures",
    "asyncio",
    "procman.runtime.supervisor",
    "procman.runtime.desk",
    "procman.runtime.control",
)

# Asked to end, we wait this long for a reader that takes nothing: one that lags is not
# cut short, one that is stuck does not hold us until somebody kills us. Seconds.
READER_PATIENCE = 5.0

# Measured: 25 for an app that nobody asks anything. Each dyno takes one more, and a second one
# where its port is drawn.
DESCRIPTORS, OF_A_DYNO = 31, 2

ENDING = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Companion(Protocol):
    """Somebody who goes with a run: a launcher that tells when it is up, a smoke test."""

    @property
    def sinks(self) -> Sequence[Sink]:
        """Where lines go besides."""

    async def watch(
        self, supervisor: Supervisor, describe: Callable[[], Mapping[str, object]]
    ) -> None:
        """Begins when everything is spawned and the router listens; the run goes on after it."""

    def hurry(self) -> None:
        """Somebody wants an end: a reader that is stuck holds up nothing of ours any more."""


def start(app: App, companion: Companion | None = None) -> int:
    """Run the app until it ends; its exit status. Raises ProcmanError when it already runs.

    A `companion` goes with it while it runs.
    """
    keep_descriptors()
    _require_descriptors(sum(app.formation.values()))
    os.chdir(app.root)
    home = Home(app.root, f".{os.getpid()}" if app.is_aside else "")
    holder = home.acquire(f"{os.getpid()} {time.strftime('%Y-%m-%d %H:%M:%S')}")
    if holder is not None:
        pid, _, since = holder.partition(" ")
        raise ProcmanError(
            f"this app is running already, since {since} under pid {pid}",
            hint="`procman ps` shows it, `procman stop` stops it",
        )
    try:
        with taken_ports(app) as sockets:
            return _Run(app, home, companion, sockets).run()
    finally:
        home.remove() if app.is_aside else home.release()


def _require_descriptors(dynos: int) -> None:
    """Without enough of them a start fails half-way, in the event loop's middle or a dyno's."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = DESCRIPTORS + OF_A_DYNO * dynos
    if limit < needed:
        raise ProcmanError(
            f"only {limit} files may be open at once, and this app needs {needed}",
            hint=f"start it where more are allowed: `ulimit -n {max(1024, needed)}`",
        )


class _Run:
    """The parts of one run, put together."""

    def __init__(
        self,
        app: App,
        home: Home,
        companion: Companion | None,
        sockets: Sequence[socket.socket],
    ) -> None:
        self._app = app
        self._home = home
        self._companion = companion
        self._sockets = sockets
        self._cookie = os.urandom(16).hex()
        self._hub = LogHub(time.time)
        self._screen = Screen(app.screen, app.look, json=app.json)
        self._hub.add(self._screen)
        self._last_lines = LastLines()
        if app.front is not None:  # from the first line on: a dyno may crash before it listens
            self._hub.add(self._last_lines)
        for sink in () if companion is None else companion.sinks:
            self._hub.add(sink)
        self._fleet = Fleet(
            dict(app.types),
            fail_fast=app.fail_fast,
            ends=_ends(app),
            idle_timeout=app.idle_timeout,
        )
        self._blueprint = Blueprint(app, self._cookie)
        self._history: History | None = None
        self._mover: Mover | None = None
        self._signals: list[int] = []
        self._on_signal: Callable[[], None] = _nothing
        self._is_closing = False

    def run(self) -> int:
        """Spawn, then import what supervises, then supervise until it is over."""
        for number in ENDING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._note_signal)
        guardian = Guardian(f"{COOKIE}={self._cookie}.")
        boots = self._make_boots(guardian)
        try:
            refused = self._spawn_first(boots)
            door = self._open_door()
            self._begin_log(boots)
            self._prepare_while_showing(boots)
            boots.follow()
            status = self._supervise(boots, refused, door)
        finally:
            for process in tuple(boots.by_pid.values()):  # only after an error of our own
                boots.kill(process.dyno, process.boot)
            orphans.kill_marked(f"{COOKIE}={self._cookie}.")
            orphans.kill_adopted({guardian.pid})
            for process in tuple(boots.by_pid.values()):
                boots.bury(process)
            guardian.dismiss()
            self._close_screen()
            if self._blueprint.copies is not None:
                self._blueprint.copies.close()
        return status

    def _spawn_first(self, boots: Boots) -> list[Exited]:
        """Boot all that may boot at once; the facts of those that the system refused."""
        effects = self._fleet.scale(self._app.formation, time.monotonic())
        refused = []
        with boots.guardian.told_at_once():
            for effect in effects:
                match effect:
                    case Spawn(dyno, boot):
                        if boots.spawn(dyno, boot) is None:
                            refused.append(Exited(dyno, boot, CANNOT_EXECUTE))
                    case _:
                        raise AssertionError(effect)  # nothing runs yet that could be signalled
        return refused

    def _open_door(self) -> socket.socket:
        """Before the first line: who reads it may ask."""
        from procman.runtime.door import open_door

        with usable(self._home.socket_path):
            return open_door(self._home.socket_path)

    def _begin_log(self, boots: Boots) -> None:
        """Say what runs."""
        self._remember()
        for process in boots.by_pid.values():
            boots.announce(process)

    def _remember(self) -> None:
        """Begin the history when the first dynos run already: start-up does not wait for a disk."""
        if self._app.is_aside:
            return
        from procman.runtime.history import History

        self._history = History(self._app.root, self._hub.say)
        self._hub.add(self._history)

    def _prepare_while_showing(self, boots: Boots) -> None:
        """What takes milliseconds, in pieces, the first lines being shown between them."""
        poll = select.poll()
        processes = {process.output: process for process in boots.by_pid.values()}
        for descriptor in processes:
            poll.register(descriptor, select.POLLIN)

        def show() -> None:
            for descriptor, event in poll.poll(0):
                if event & select.POLLIN and not self._screen.is_full:
                    self._hub.take(self._blueprint.source(processes[descriptor].dyno), descriptor)

        show()
        orphans.become_subreaper()
        show()
        with _without_tls():
            for name in _HEAVY:
                importlib.import_module(name)
                show()

    def _supervise(self, boots: Boots, refused: list[Exited], door: socket.socket) -> int:
        import asyncio

        if self._app.front is None:
            return asyncio.run(self._main(boots, refused, door))
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._main(boots, refused, door))

    async def _main(self, boots: Boots, refused: list[Exited], door: socket.socket) -> int:
        import asyncio

        from procman.runtime.attach import Terminals, attach
        from procman.runtime.control import Control, Followers
        from procman.runtime.desk import Desk
        from procman.runtime.fronts import fronted
        from procman.runtime.supervisor import Supervisor

        loop = asyncio.get_running_loop()
        terminals = Terminals(boots, self._blueprint.measure_window)
        async with terminals.following(), Supervisor(self._fleet, boots, self._hub) as supervisor:
            for fact in refused:
                supervisor.report(fact)
            self._screen.listen(
                supervisor.intake.pause,
                lambda: _call(loop, supervisor.intake.resume),
                lambda error: _call(loop, lambda: self._end_gone(supervisor, error)),
            )
            self._on_signal = lambda: _call(loop, lambda: self._heed_signals(supervisor))
            self._heed_signals(supervisor)
            followers = Followers()
            if self._history is not None:
                self._history.on_write = followers.ring
            streams: dict[str, Stream] = {
                "follow": followers.follow,
                "attach": partial(attach, supervisor, boots, terminals),
                "release": partial(self._move, supervisor),
            }
            desk = Desk(
                supervisor,
                boots,
                self._describe,
                partial(self._end_asked, supervisor),
                require_room=self._require_room,
                preboot=self._app.preboot,
            )
            control = Control(desk, streams)
            async with (
                control.serving(door, self._home.socket_path) as answer,
                fronted(
                    supervisor, self._blueprint, self._hub, self._last_lines, self._sockets
                ) as web,
                self._following(supervisor, web),
            ):
                answer()  # who is told that web is up may ask the router, which listens now
                async with self._caught_up(supervisor):
                    if self._companion is not None:
                        await self._companion.watch(supervisor, self._describe)
                    await supervisor.over.wait()
        self._on_signal = _nothing
        return self._fleet.status or 0

    @asynccontextmanager
    async def _following(self, supervisor: Supervisor, web: Web | None) -> AsyncIterator[None]:
        """The app's files, where they are watched."""
        if self._app.watch is None:
            yield
            return
        from procman.runtime.watch.redeployer import Redeployer

        async with Redeployer(supervisor, self._blueprint, self._hub, web).following():
            yield

    @asynccontextmanager
    async def _caught_up(self, supervisor: Supervisor) -> AsyncIterator[None]:
        """With the release that is current now, where it is the current one that runs."""
        if not self._app.follows_current:
            yield
            return
        async with self._the_mover(supervisor).caught_up():
            yield

    async def _move(
        self, supervisor: Supervisor, request: Request, connection: socket.socket
    ) -> None:
        """To another release."""
        await self._the_mover(supervisor).serve(request, connection)

    def _the_mover(self, supervisor: Supervisor) -> Mover:
        """Needed rarely enough to be imported for."""
        from procman.runtime.releases.move import Mover

        if self._mover is None:
            self._mover = Mover(supervisor, self._blueprint, self._hub)
        return self._mover

    def _heed_signals(self, supervisor: Supervisor) -> None:
        """End for each signal that was noted."""
        while self._signals:
            self._end(supervisor, self._signals.pop(0))

    def _end(self, supervisor: Supervisor, number: int) -> None:
        """The first signal asks everything to stop, the second kills."""
        again = self._fleet.is_ending
        if again and number == signal.SIGHUP:
            return  # of a window that was closed: the kernel sends one, and the shell another
        name = signal.Signals(number).name
        what = "again: killing everything now" if again else "received, stopping"
        self._limit_patience(kill=again)
        supervisor.end(ENDING[signal.Signals(number)], f"{name} {what}", kill=again)

    def _end_asked(self, supervisor: Supervisor, kill: bool) -> None:
        """`procman stop`."""
        self._limit_patience(kill=kill)
        supervisor.end(0, "asked to stop by another terminal", kill=kill)

    def _limit_patience(self, *, kill: bool) -> None:
        """Somebody wants an end: a reader that is stuck does not hold it up."""
        self._screen.patience = READER_PATIENCE / 25 if kill else READER_PATIENCE
        self._hurry()

    def _hurry(self) -> None:
        if self._companion is not None:
            self._companion.hurry()

    def _end_gone(self, supervisor: Supervisor, error: OSError) -> None:
        """Nobody reads us any more (EPIPE): a clean stop, unless a dyno has failed for good before.
        Any other error is one.
        """
        broken = isinstance(error, BrokenPipeError)
        if not broken:
            _complain(f"procman: standard output: {error.strerror}\n")
        status = self._fleet.failed_status if broken else 1
        supervisor.end(status, "standard output is gone, stopping", kill=False)

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        """Remember it for the loop, if one runs; while the screen is emptied: give up.

        A handler of Python's, which runs once for a signal: uvloop (0.23) calls its own a second
        time when a SIGCHLD came just before, and the second signal kills.
        """
        self._signals.append(number)
        self._on_signal()
        if self._is_closing:
            raise KeyboardInterrupt

    def _make_boots(self, guardian: Guardian) -> Boots:
        plan = self._blueprint
        boots = Boots(plan.command, plan.source, plan.port_of, self._hub, guardian, self._cookie)
        plan.ports_in_use = lambda name: [
            p.port for p in boots.by_pid.values() if p.dyno == name and p.port is not None
        ]
        boots.listen_for(self._app.types)
        return boots

    @staticmethod
    def _require_room(formation: Mapping[str, int]) -> None:
        _require_descriptors(sum(formation.values()))

    def _describe(self) -> Mapping[str, object]:
        return self._blueprint.describe(self._fleet.formation)

    def _close_screen(self) -> None:
        try:
            self._is_closing = True
            if self._signals:  # one came since the last dyno ended
                raise KeyboardInterrupt
            self._hub.close()
        except KeyboardInterrupt:
            self._screen.abandon()
            self._hurry()
        finally:
            self._is_closing = False


@contextmanager
def _without_tls() -> Iterator[None]:
    """Let asyncio do without ssl, as it does where Python has none: 2 MB and 3 ms for what nobody
    here speaks. Whoever imports ssl itself still gets it (uvloop does).
    """
    if "ssl" in sys.modules:
        yield
        return
    sys.modules["ssl"] = cast(ModuleType, None)  # the import system's own sign for "not to be had"
    try:
        yield
    finally:
        del sys.modules["ssl"]


def _nothing() -> None:
    """Nobody listens."""


def _ends(app: App) -> Ends:
    if app.watch is not None or app.is_aside:
        return Ends.ASKED
    return Ends.BROKEN if app.front is None else Ends.DONE


def _complain(text: str) -> None:
    """To standard error, which may be gone with standard output: both are one terminal."""
    try:
        os.write(2, text.encode())
    except OSError:
        pass


def _call(loop: AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call on the loop from another thread; a loop that has ended needs no call."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass
