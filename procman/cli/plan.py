"""Turns options, settings and the Procfile into what is to run; `start` and `smoke` share it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from procman.cli.base_port import find_base_port
from procman.cli.options import wants_colour
from procman.cli.problems import on_standard_error
from procman.cli.signals import parse_signal
from procman.core.dyno import BOOT_TIMEOUT, STOP_TIMEOUT, Idle, Policy, Restart
from procman.core.fleet import WEB, ProcessType
from procman.core.formation import RELEASE, parse_formation, unknown_type
from procman.core.readiness import Exec, Http, Log, Port, Spawned, check_order
from procman.core.settings import RESTARTS, Settings, TypeSettings
from procman.core.style import Look
from procman.errors import InputError, UsageError, wrong_value
from procman.runtime.blueprint import (
    App,
    Front,
    PortOf,
    Shared,
    base_ports,
    free_ports,
    prefix_width,
)
from procman.runtime.inputs import Inputs

DEFAULT_HOST = "127.0.0.1"
IDLE_TIMEOUT = 3600.0  # Heroku's free web dynos slept after an hour
FRONT = "(front)"  # no process type can be called so
IDLES = tuple(idle.value for idle in Idle)
ROUTER_LOGS = ("errors", "all", "off")


def plan(
    inputs: Inputs,
    asked: Sequence[str],
    *,
    any_port: bool = False,
    before: App | None = None,
    say: Callable[[str], None] = on_standard_error,
) -> App:
    """What `start TYPE…` runs, on free ports with `any_port` unless `-p` says otherwise.

    `before` is the app that it follows while that runs: its router, or shared socket, goes on to
    have the base port, and free ports stay those that were drawn.
    `say` is told what is odd and no error. Raises InputError with the origin of what is wrong, and
    UsageError where that is an option or in `asked`.
    """
    settings = inputs.settings
    commands = inputs.procfile.commands
    per_type = inputs.per_type()
    formation = _formation(inputs, asked, say)
    is_shared = _shares(per_type)
    wants_router = settings.flag("router", not is_shared)
    has_web = bool(formation.get(WEB))
    has_router, shares = has_web and wants_router, has_web and is_shared and not wants_router
    types = process_types(commands, settings, per_type, has_router=has_router)
    if has_web and not has_router and not shares:
        _require_sleep_without_router(settings)
    base = find_base_port(inputs, any_port=any_port)
    json = settings.choice("log_format", ("text", "json")) == "json"
    pty = settings.maybe_flag("pty")
    has_one_port = wants_router or is_shared
    front_stays = before is not None and before.has_front
    places = _port_order(types, has_one_port, front_stays=front_stays)
    if base is None:
        port_of = free_ports() if before is None else before.port_of
    else:
        port_of = base_ports(base, places)
        numbered = {n: q for n, q in formation.items() if not (has_one_port and n == WEB)}
        _require_ports(numbered, port_of)
    return App(
        root=inputs.root,
        types=types,
        extra={name: values.env for name, values in per_type.items() if values.env},
        formation=formation,
        config_vars=inputs.config_vars,
        port_of=port_of,
        look=Look(
            width=prefix_width(formation),
            colour=not json and wants_colour(settings.maybe_flag("color"), 1),
            prefix=settings.flag("prefix", True),
            timestamps=settings.flag("timestamps", True),
            tame=os.isatty(1),
        ),
        front=_front(settings, _web_port(base, port_of)) if has_router else None,
        shared=_shared(settings, _web_port(base, port_of)) if shares else None,
        idle_timeout=_idle_timeout(settings),
        json=json,
        pty=os.isatty(1) if pty is None else pty,
        quiet=frozenset(_words(settings, "quiet", _known_dynos, inputs.type_names)),
        fail_fast=settings.flag("fail_fast"),
        preboot=settings.flag("preboot"),
    )


def _idle_timeout(settings: Settings) -> float:
    seconds = _or(settings.duration("idle_timeout"), IDLE_TIMEOUT)
    if seconds == 0:
        found = settings.find("idle_timeout")
        assert found is not None
        hint = "`--idle off` keeps it awake"
        raise wrong_value(found[1], "must be more than nothing", hint=hint)
    return seconds


def process_types(
    commands: Mapping[str, str],
    settings: Settings,
    per_type: Mapping[str, TypeSettings],
    *,
    has_router: bool,
) -> dict[str, ProcessType]:
    """Every type of the Procfile with its rules: its own settings beat the general ones."""
    restart = Restart(settings.choice("restart", RESTARTS) or Restart.ON_FAILURE.value)
    max_restarts = settings.integer("max_restarts")
    stop_timeout = _or(settings.duration("stop_timeout"), STOP_TIMEOUT)
    boot_timeout = _or(settings.duration("boot_timeout"), BOOT_TIMEOUT)
    idle = Idle(settings.choice("idle", IDLES) or Idle.SUSPEND.value)
    types = {}
    for name, command in commands.items():
        own = per_type.get(name, TypeSettings())
        ready = own.ready or (Port() if name == WEB else Spawned())
        times = own.max_restarts if own.max_restarts is not None else max_restarts
        is_routed = has_router and name == WEB
        policy = Policy(
            restart=restart if own.restart is None else Restart(own.restart),
            max_restarts=times,
            stop_signal=_stop_signal(name, own),
            stop_timeout=_or(own.stop_timeout, stop_timeout),
            boot_timeout=boot_timeout if isinstance(ready, (Port, Http, Log, Exec)) else None,
            boot_timeout_kill=settings.flag("boot_timeout_kill"),
            routed=is_routed,
            idle=idle if name == WEB else Idle.OFF,
            idle_stop_after=settings.duration("idle_stop_after"),
        )
        types[name] = ProcessType(name, own.command or command, policy, own.after, ready)
    check_order({name: process_type.after for name, process_type in types.items()})
    return types


def _stop_signal(name: str, own: TypeSettings) -> int:
    try:
        return parse_signal(own.stop_signal or "TERM")
    except InputError as error:
        place = f"types.{name}.stop_signal"
        raise InputError(f"{place}: {error.message}", hint=error.hint) from None


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _shares(per_type: Mapping[str, TypeSettings]) -> bool:
    """Whether procman is to hold the web dynos' socket."""
    for name, own in per_type.items():
        if own.socket and name != WEB:
            raise InputError(f"types.{name}.socket: procman listens for web only", hint="remove it")
    return per_type.get(WEB, TypeSettings()).socket


def _require_sleep_without_router(settings: Settings) -> None:
    """A dyno that is stopped needs somebody who holds its port meanwhile."""
    if settings.choice("idle", IDLES) == Idle.STOP.value:
        stops = settings.find("idle")
    else:
        stops = settings.find("idle_stop_after")
    if stops is not None:
        value, origin = stops
        raise wrong_value(
            origin,
            f"{value!r} needs the router: nobody would listen for a dyno that is stopped",
            hint="leave --no-router out, or set `socket = true` for web",
        )


def _web_port(base: int | None, port_of: PortOf) -> int:
    """The router's, or the one that web dynos share."""
    return port_of(FRONT, 1) if base is None else base


def _shared(settings: Settings, port: int) -> Shared:
    return Shared(settings.text("host") or DEFAULT_HOST, port)


def _front(settings: Settings, port: int) -> Front:
    return Front(
        host=settings.text("host") or DEFAULT_HOST,
        port=port,
        request_timeout=settings.duration("request_timeout"),
        router_log=settings.choice("router_log", ROUTER_LOGS) or "errors",
    )


def _port_order(types: Iterable[str], has_one_port: bool, *, front_stays: bool) -> list[str]:
    """The types as their ports count. One port for all of web is the base port, which is the first
    type's: a type that stands first in web's place gets web's hundred, of which web has no need.
    Whether web runs does not matter: `start worker` gives worker the port that `start` does. Nor,
    where the front stays, whether there is still web.
    """
    names = list(types)
    if front_stays and WEB not in names:
        return [WEB, *names]
    if has_one_port and WEB in names:
        at = names.index(WEB)
        names[0], names[at] = names[at], names[0]
    return names


def unsaid(_line: str) -> None:
    """Where what `plan` says is nothing new."""


def _formation(inputs: Inputs, asked: Sequence[str], say: Callable[[str], None]) -> dict[str, int]:
    """The quantities to start with: what was asked for, but for `release` and the excepted."""
    settings, types, commands = inputs.settings, inputs.type_names, inputs.procfile.commands
    wanted = quantities(settings, types)
    chosen = _asked(asked, types) if asked else types
    left_out = _words(settings, "except", _known, types)
    formation = {
        name: wanted[name] if name in chosen and name not in left_out else 0 for name in commands
    }
    if formation.get(RELEASE):
        formation[RELEASE] = 0
        say("the release type runs once before a release, never by start")
    if not any(formation.values()):
        raise InputError(
            "nothing to run: every process type is at 0 or left out",
            hint=f"the Procfile has: {', '.join(commands)}",
        )
    return formation


def quantities(settings: Settings, types: Sequence[str]) -> dict[str, int]:
    """How many of each type the settings ask for: one, where they do not say."""
    text = settings.text("concurrency")
    if text is None:
        return dict.fromkeys(types, 1)
    with _given_as(settings, "concurrency"):
        return parse_formation(text, types)


def _words(
    settings: Settings,
    name: str,
    check: Callable[[Sequence[str], Collection[str]], Sequence[str]],
    types: Collection[str],
) -> Sequence[str]:
    words = settings.words(name)
    with _given_as(settings, name):
        return check(words, types)


@contextmanager
def _given_as(settings: Settings, name: str) -> Iterator[None]:
    """What is wrong with a setting's value is told with where it was given."""
    try:
        yield
    except InputError as error:
        found = settings.find(name)
        raise wrong_value(found[1] if found else name, error.message, hint=error.hint) from None


def _asked(words: Sequence[str], types: Collection[str]) -> Sequence[str]:
    try:
        return _known(words, types)
    except InputError as error:
        raise UsageError(error.message, hint=error.hint) from None


def _known(words: Sequence[str], types: Collection[str]) -> Sequence[str]:
    """The words, all of which must be process types."""
    for word in words:
        if word in types:
            continue
        if word.rpartition(".")[0] in types:
            hint = "name its process type; -c says how many dynos it gets"
            raise InputError(f"{word!r} is a dyno, not a process type", hint=hint)
        raise unknown_type(word, types)
    return words


def _known_dynos(words: Sequence[str], types: Collection[str]) -> Sequence[str]:
    """The words, all of which must be process types, or dynos of one."""
    for word in words:
        if word not in types and word.rpartition(".")[0] not in types:
            raise unknown_type(word, types)
    return words


def _require_ports(formation: Mapping[str, int], port_of: PortOf) -> None:
    """Raise InputError when there is no such port; a type's last dyno has its highest."""
    for name, quantity in formation.items():
        if quantity:
            port_of(name, quantity)
