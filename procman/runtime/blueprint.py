"""What the app is to run: the command, environment, port and log source of each dyno."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from procman.core.environment import dyno_environment
from procman.core.exec_command import shell_stays
from procman.core.fleet import WEB, ProcessType
from procman.core.ports import dyno_port
from procman.core.profile import in_slug
from procman.core.style import SYSTEM, Look, colour_of
from procman.errors import InputError
from procman.runtime.boots import cookie_of
from procman.runtime.loghub import Source
from procman.runtime.process import Command, shell_argv

if TYPE_CHECKING:
    from procman.core.release import Release
    from procman.core.watch_rules import Subject
    from procman.runtime.drawn_port import DrawnPort
    from procman.runtime.releases.released import DynoCopies, Released
    from procman.runtime.shared_socket import SharedSocket

PortOf = Callable[[str, int], int]  # of a type and a number


@dataclass(frozen=True, slots=True)
class Front:
    """The router's place and ways. Durations in seconds; None is never."""

    host: str
    port: int
    request_timeout: float | None
    router_log: str


@dataclass(frozen=True, slots=True)
class Shared:
    """Where the socket listens that procman holds for all web dynos."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Watch:
    """How a running app follows its files.

    `always` are the files that say what the app is, with what each says; `globs` narrow what a
    type is redeployed for; `plan_again` reads those files anew, says what is odd about them, and
    raises ProcmanError.
    """

    always: Mapping[str, Subject]
    globs: Mapping[str, Sequence[str]]
    plan_again: Callable[[Callable[[str], None]], App]


@dataclass(frozen=True, slots=True)
class App:
    """What `start` runs. Without a `front` the web dynos bind the app's ports themselves, or share
    one socket.

    `released`: it runs from this release, not from the working tree; `plan_release` is then what
    another release would be. `follows_current`: the current release was asked for, so that it moves
    to one that became current before it could be asked to. `preboot`: new web dynos come up beside
    the old ones.
    """

    root: str
    types: Mapping[str, ProcessType]
    extra: Mapping[str, Mapping[str, str]]
    formation: Mapping[str, int]
    config_vars: Mapping[str, str]
    port_of: PortOf
    look: Look
    front: Front | None = None
    shared: Shared | None = None
    idle_timeout: float | None = None
    json: bool = False
    pty: bool = False
    quiet: frozenset[str] = frozenset()
    fail_fast: bool = False
    screen: int = 1  # the descriptor where lines are shown
    is_aside: bool = False  # beside the app's own: no lock, no history, and no end unasked
    released: Released | None = None
    plan_release: Callable[[Release, Released], App] | None = None
    follows_current: bool = False
    watch: Watch | None = None
    preboot: bool = False

    @property
    def has_front(self) -> bool:
        """Whether something of ours listens on web's port, for as long as the app runs."""
        return self.front is not None or self.shared is not None


class Blueprint:
    """The app's dynos as they are to be, for one run, marked by `cookie`."""

    def __init__(self, app: App, cookie: str) -> None:
        self.app = app
        self.ports_in_use: Callable[[str], Collection[int]] = lambda dyno: ()
        self.copies: DynoCopies | None = None
        if app.released is not None:
            from procman.runtime.releases.released import DynoCopies

            self.copies = DynoCopies(app.root)
        self.socket: SharedSocket | None = None
        if app.shared is not None:
            from procman.runtime.shared_socket import SharedSocket

            self.socket = SharedSocket(app.shared.host, app.shared.port)
        self._cookie = cookie
        self._inner_ports = free_ports()
        self._sources: dict[str, Source] = {}
        self._window = _terminal_size(app.look) if app.pty else None

    def measure_window(self) -> tuple[int, int]:
        """Rows and columns of a dyno's terminal, from now on."""
        self._window = window = _terminal_size(self.app.look)
        return window

    def port_of(self, dyno: str) -> int:
        """The port that a dyno is told to listen on; behind the router a free one for web."""
        of_type, _, number = dyno.rpartition(".")
        if self.app.front is not None and of_type == WEB:
            return self._inner_ports(of_type, int(number))
        if self.app.shared is not None and of_type == WEB:
            return self.app.shared.port
        return self.app.port_of(of_type, int(number))

    def public_port(self, of_type: str) -> int:
        """Where other dynos reach a type: the router for web, else its first dyno."""
        if self.app.front is not None and of_type == WEB:
            return self.app.front.port
        if self.app.shared is not None and of_type == WEB:
            return self.app.shared.port
        return self.app.port_of(of_type, 1)

    def _public_ports(self) -> dict[str, int]:
        """Where the types are reached; one that does not run may be past the last port."""
        ports = {}
        for name in self.app.types:
            try:
                ports[name] = self.public_port(name)
            except InputError:
                pass  # it would be refused itself
        return ports

    def command(self, dyno: str, boot: int) -> Command:
        """What to run for a boot.

        Raises OSError when its socket is not to be had, ProcmanError when its copy is not.
        """
        of_type = dyno.rpartition(".")[0]
        port = self._port_for_boot(dyno)
        environment = dyno_environment(
            self.app.config_vars,
            dyno=dyno,
            cookie=cookie_of(self._cookie, dyno, boot),
            port=port,
            type_ports=self._public_ports(),
            release=None if self.app.released is None else self.app.released.name,
            extra=self.app.extra.get(of_type),
        )
        argv = shell_argv(self.app.types[of_type].command)
        socket: int | None = None
        if self.socket is not None and of_type == WEB:
            from procman.runtime.shared_socket import handed_argv, with_socket

            argv = handed_argv(self.app.types[of_type].command)
            environment = with_socket(environment)
            socket = self.socket.open().fileno()
        command = Command(
            argv,
            environment,
            self.app.pty,
            self._window,
            port,
            socket,
            controlling=self.app.pty and not shell_stays(self.app.types[of_type].command),
        )
        return command if self.app.released is None else self._in_copy(command, dyno, boot)

    def _in_copy(self, command: Command, dyno: str, boot: int) -> Command:
        """The same in a copy of the release's slug, after its `.profile.d` and `.profile`."""
        released = self.app.released
        assert released is not None
        assert self.copies is not None
        copy = self.copies.take(released, dyno, boot)
        argv = [*copy.argv_prefix, *in_slug(command.argv, has_profile=released.has_profile)]
        return replace(command, argv=argv, release=released.name, copy=copy)

    def _port_for_boot(self, dyno: str) -> int:
        """A port of its own for a web dyno's boot while another boot of it has the usual one."""
        port = self.port_of(dyno)
        if self.app.front is None:
            return port
        of_type, _, number = dyno.rpartition(".")
        taken = self.ports_in_use(dyno)
        beside = 1
        while of_type == WEB and port in taken:
            port = self._inner_ports(f"{WEB}/{beside}", int(number))
            beside += 1
        return port

    def source(self, dyno: str) -> Source:
        """Where the lines of a dyno go."""
        source = self._sources.get(dyno)
        if source is None:
            of_type = dyno.rpartition(".")[0]
            colour = ""
            if self.app.look.colour:
                colour = colour_of(list(self.app.types).index(of_type))
            quiet = of_type in self.app.quiet or dyno in self.app.quiet
            source = Source(dyno, colour, quiet, is_pty=self.app.pty)
            self._sources[dyno] = source
        return source

    def describe(self, formation: Mapping[str, int]) -> Mapping[str, object]:
        """The app as a whole, for `ps`."""
        place = self.app.front or self.app.shared
        host = "127.0.0.1" if place is None else place.host
        host = f"[{host}]" if ":" in host else host
        url = f"http://{host}:{self.public_port(WEB)}" if formation.get(WEB) else None
        release = None if self.app.released is None else self.app.released.name
        return {"app": os.path.basename(self.app.root), "url": url, "release": release}


def base_ports(base: int, names: Sequence[str]) -> PortOf:
    """foreman's rule as a function of type and number."""
    return lambda of_type, number: dyno_port(base, names, of_type, number)


def free_ports() -> PortOf:
    """Free ports, drawn when first asked for, and then kept: no two dynos get the same."""
    drawn: dict[tuple[str, int], DrawnPort] = {}

    def port_of(of_type: str, number: int) -> int:
        from procman.runtime.drawn_port import draw_port

        while (of_type, number) not in drawn:
            port = draw_port()
            if all(port.number != other.number for other in drawn.values()):
                drawn[of_type, number] = port
        return drawn[of_type, number].number

    return port_of


def _terminal_size(look: Look) -> tuple[int, int]:
    """Rows and columns that a dyno may fill beside our prefix."""
    size = os.get_terminal_size(1) if os.isatty(1) else os.terminal_size((80, 24))
    taken = (look.width + 3 if look.prefix else 0) + (9 if look.prefix and look.timestamps else 0)
    return size.lines, max(20, size.columns - taken)


def prefix_width(formation: Mapping[str, int]) -> int:
    """Columns for the longest name of a dyno."""
    names = [f"{name}.{max(1, quantity)}" for name, quantity in formation.items() if quantity]
    return max((len(name) for name in [SYSTEM, *names]), default=len(SYSTEM))
