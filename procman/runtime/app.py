"""One run of an app, from the lock to the exit status.

Start-up is counted in imports: the dynos are spawned first, and asyncio is imported while they
start, their first lines being shown between one import and the next.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from procman.core.dyno import Exited, Spawn
from procman.core.environment import COOKIE, dyno_environment
from procman.core.fleet import Fleet, Phase, ProcessType
from procman.core.ports import dyno_port
from procman.core.style import SYSTEM, Look, colour_of
from procman.errors import ProcmanError
from procman.runtime import orphans
from procman.runtime.boots import CANNOT_EXECUTE, Boots, cookie_of
from procman.runtime.guardian import Guardian
from procman.runtime.home import Home
from procman.runtime.loghub import LogHub, Source
from procman.runtime.process import Command, open_standard_streams, shell_argv
from procman.runtime.screen import Screen

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from procman.runtime.history import History
    from procman.runtime.supervisor import Supervisor

# The heavy imports, in pieces, so that output can be shown between them.
_HEAVY = (
    "socket",
    "ssl",
    "concurrent.futures",
    "asyncio",
    "procman.runtime.supervisor",
    "procman.runtime.desk",
    "procman.runtime.control",
)

WEB = "web"  # the process type that listens on its port
_ENDING = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@dataclass(frozen=True, slots=True)
class App:
    """What `start` runs. `ports` is foreman's base, or the free port of each dyno by a function."""

    root: str
    types: Mapping[str, ProcessType]
    extra: Mapping[str, Mapping[str, str]]
    formation: Mapping[str, int]
    config_vars: Mapping[str, str]
    port_of: Callable[[str, int], int]
    look: Look
    json: bool = False
    pty: bool = False
    quiet: frozenset[str] = frozenset()
    fail_fast: bool = False


def base_ports(base: int, types: Mapping[str, ProcessType]) -> Callable[[str, int], int]:
    """foreman's rule as a function of type and number."""
    names = list(types)
    return lambda of_type, number: dyno_port(base, names, of_type, number)


def free_ports() -> Callable[[str, int], int]:
    """Free ports, drawn when first asked for, and then kept: no two dynos get the same."""
    import socket

    drawn: dict[tuple[str, int], int] = {}

    def port_of(of_type: str, number: int) -> int:
        while (of_type, number) not in drawn:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in drawn.values():
                drawn[of_type, number] = port
        return drawn[of_type, number]

    return port_of


def start(app: App) -> int:
    """Run the app until it ends; its exit status. Raises ProcmanError when it already runs."""
    open_standard_streams()
    os.chdir(app.root)
    home = Home(app.root)
    holder = home.acquire(f"{os.getpid()} {time.strftime('%Y-%m-%d %H:%M:%S')}")
    if holder is not None:
        pid, _, since = holder.partition(" ")
        raise ProcmanError(
            f"this app is running already, since {since} under pid {pid}",
            hint="`procman ps` shows it, `procman stop` stops it",
        )
    try:
        if app.formation.get(WEB):
            _require_free_ports(app)
        return _Run(app, home).run()
    finally:
        home.release()


def _require_free_ports(app: App) -> None:
    """Only web dynos are sure to listen; for the others a taken port may be of no account."""
    from procman.runtime.busy import require_free_port

    for number in range(1, app.formation[WEB] + 1):
        require_free_port(app.port_of(WEB, number), f"{WEB}.{number}")


class _Run:
    """The parts of one run, put together."""

    def __init__(self, app: App, home: Home) -> None:
        self._app = app
        self._home = home
        self._cookie = os.urandom(16).hex()
        self._hub = LogHub(time.time)
        self._screen = Screen(1, app.look, json=app.json)
        self._hub.add(self._screen)
        self._fleet = Fleet(dict(app.types), fail_fast=app.fail_fast)
        self._sources: dict[str, Source] = {}
        self._window = _terminal_size(app.look) if app.pty else None
        self._history: History | None = None
        self._signals: list[int] = []
        self._is_closing = False

    def run(self) -> int:
        """Spawn, then import what supervises, then supervise until it is over."""
        for number in _ENDING:
            signal.signal(number, self._note_signal)
        guardian = Guardian(f"{COOKIE}={self._cookie}.")
        boots = Boots(self._plan, self._source, self._port_of, self._hub, guardian, self._cookie)
        try:
            refused = self._spawn_first(boots)
            self._import_while_showing(boots)
            status = self._supervise(boots, refused)
        finally:
            for process in tuple(boots.by_pid.values()):  # only after an error of our own
                boots.kill(process.dyno, process.boot)
                os.waitpid(process.pid, 0)
                boots.bury(process)
            orphans.kill_marked(f"{COOKIE}={self._cookie}.")
            orphans.reap_adopted({guardian.pid})
            guardian.dismiss()
            self._close_screen()
        return status

    def _spawn_first(self, boots: Boots) -> list[Exited]:
        """Boot all that may boot at once; the facts of those that the system refused."""
        effects = self._fleet.scale(self._app.formation, time.monotonic())
        refused = []
        for effect in effects:
            match effect:
                case Spawn(dyno, boot):
                    if boots.spawn(dyno, boot) is None:
                        refused.append(Exited(dyno, boot, CANNOT_EXECUTE))
                case _:
                    raise AssertionError(effect)  # nothing runs yet that could be signalled
        self._remember()
        for process in boots.by_pid.values():
            boots.announce(process)
        return refused

    def _remember(self) -> None:
        """Begin the history when the first dynos run already: start-up does not wait for a disk."""
        from procman.runtime.history import History

        self._history = History(self._app.root, self._hub.say)
        self._hub.add(self._history)

    def _import_while_showing(self, boots: Boots) -> None:
        poll = select.poll()
        processes = {process.output: process for process in boots.by_pid.values()}
        for descriptor in processes:
            poll.register(descriptor, select.POLLIN)
        for name in _HEAVY:
            importlib.import_module(name)
            for descriptor, event in poll.poll(0):
                if event & select.POLLIN and not self._screen.is_full:
                    self._hub.take(self._source(processes[descriptor].dyno), descriptor)
        orphans.become_subreaper()

    def _supervise(self, boots: Boots, refused: list[Exited]) -> int:
        import asyncio

        return asyncio.run(self._main(boots, refused))

    async def _main(self, boots: Boots, refused: list[Exited]) -> int:
        import asyncio

        from procman.runtime.control import Control, Followers
        from procman.runtime.desk import Desk
        from procman.runtime.supervisor import Supervisor

        loop = asyncio.get_running_loop()
        async with Supervisor(self._fleet, boots, self._hub) as supervisor:
            for fact in refused:
                supervisor.report(fact)
            for number in _ENDING:
                loop.add_signal_handler(number, self._end, supervisor, number)
            self._screen.on_full = supervisor.pause
            self._screen.on_room = lambda: _call(loop, supervisor.resume)
            self._screen.on_gone = lambda error: _call(
                loop, lambda: self._end_gone(supervisor, error)
            )
            if self._screen.gone is not None:
                self._end_gone(supervisor, self._screen.gone)
            for early in self._signals:
                self._end(supervisor, early)
            followers = Followers()
            if self._history is not None:
                self._history.on_write = followers.ring
            streams = {"follow": followers.follow}
            control = Control(Desk(supervisor, boots, self._describe), streams)
            async with control.listening(self._home.socket_path):
                await supervisor.over.wait()
        for number in _ENDING:
            loop.remove_signal_handler(number)
            signal.signal(number, self._note_signal)
        return self._fleet.status or 0

    def _end(self, supervisor: Supervisor, number: int) -> None:
        """The first signal asks everything to stop, the second kills."""
        again = self._fleet.phase is Phase.ENDING
        name = signal.Signals(number).name
        what = "again: killing everything now" if again else "received, stopping"
        supervisor.end(_ENDING[signal.Signals(number)], f"{name} {what}", kill=again)

    def _end_gone(self, supervisor: Supervisor, error: OSError) -> None:
        """Nobody reads us any more (EPIPE): a clean stop. Any other error is one."""
        broken = isinstance(error, BrokenPipeError)
        if not broken:
            print(f"procman: standard output: {error.strerror}", file=sys.stderr)
        supervisor.end(0 if broken else 1, "standard output is gone, stopping", kill=False)

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        """Before the loop runs and after it: remember; while the screen is emptied: give up."""
        self._signals.append(number)
        if self._is_closing:
            raise KeyboardInterrupt

    def _describe(self) -> Mapping[str, object]:
        """The app as a whole, for `ps`."""
        url = None
        if self._fleet.formation.get(WEB):
            url = f"http://127.0.0.1:{self._app.port_of(WEB, 1)}"
        return {"app": os.path.basename(self._app.root), "url": url, "release": None}

    def _close_screen(self) -> None:
        self._is_closing = True
        try:
            self._hub.close()
        except KeyboardInterrupt:
            self._screen.abandon()

    def _port_of(self, dyno: str) -> int:
        of_type, _, number = dyno.rpartition(".")
        return self._app.port_of(of_type, int(number))

    def _plan(self, dyno: str, boot: int) -> Command:
        of_type = dyno.rpartition(".")[0]
        process_type = self._app.types[of_type]
        port = self._port_of(dyno)
        environment = dyno_environment(
            self._app.config_vars,
            dyno=dyno,
            cookie=cookie_of(self._cookie, dyno, boot),
            port=port,
            type_ports={name: self._app.port_of(name, 1) for name in self._app.types},
            extra=self._app.extra.get(of_type),
        )
        return Command(
            shell_argv(process_type.command), environment, self._app.pty, self._window, port
        )

    def _source(self, dyno: str) -> Source:
        source = self._sources.get(dyno)
        if source is None:
            of_type = dyno.rpartition(".")[0]
            colour = ""
            if self._app.look.colour:
                colour = colour_of(list(self._app.types).index(of_type))
            quiet = of_type in self._app.quiet or dyno in self._app.quiet
            source = self._sources[dyno] = Source(dyno, colour, quiet)
        return source


def _call(loop: AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call on the loop from another thread; a loop that has ended needs no call."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass


def _terminal_size(look: Look) -> tuple[int, int]:
    """Rows and columns that a dyno may fill beside our prefix."""
    size = os.get_terminal_size(1) if os.isatty(1) else os.terminal_size((80, 24))
    taken = (look.width + 3 if look.prefix else 0) + (9 if look.prefix and look.timestamps else 0)
    return size.lines, max(20, size.columns - taken)


def prefix_width(formation: Mapping[str, int]) -> int:
    """Columns for the longest name of a dyno."""
    names = [f"{name}.{max(1, quantity)}" for name, quantity in formation.items() if quantity]
    return max((len(name) for name in [SYSTEM, *names]), default=len(SYSTEM))
