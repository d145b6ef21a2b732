"""When a boot can do its work, and which process types wait for which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from procman.core.durations import parse_duration
from procman.errors import InputError


@dataclass(frozen=True, slots=True)
class Check:
    """What the checks have in common; those without an argument have an empty one.

    The others are bare subclasses: the decorator costs 0.4 ms of start-up each.
    """

    argument: str = ""


class Spawned(Check):
    """As soon as it was started."""

    __slots__ = ()


class Finished(Check):
    """Never: what comes after it waits for its end with status 0, as for a migration."""

    __slots__ = ()


class Port(Check):
    """When something of the dyno listens on its port."""

    __slots__ = ()


class Http(Check):
    """When GET of a path at its port answers with a status below 400."""

    __slots__ = ()


class Log(Check):
    """When a regular expression is found in one of its lines."""

    __slots__ = ()


class Exec(Check):
    """When a shell command, run with the dyno's environment, ends with status 0."""

    __slots__ = ()


class Delay(Check):
    """Some time after it was started."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """How long."""
        return parse_duration(self.argument)


Readiness = Spawned | Finished | Port | Http | Log | Exec | Delay

_PLAIN: Mapping[str, Readiness] = {"spawned": Spawned(), "finished": Finished(), "port": Port()}
_KINDS: Mapping[str, type[Http | Log | Exec | Delay]] = {
    "http": Http,
    "log": Log,
    "exec": Exec,
    "delay": Delay,
}
_HINT = "write port, http:/path, log:REGEX, exec:COMMAND, delay:2s, finished or spawned"


def parse_readiness(text: str, origin: str) -> Readiness:
    """The check that `port`, `http:/health`, `log:listening`, `exec:pg_isready`, `delay:2s`,
    `finished` or `spawned` means. Raises InputError, which names `origin`.
    """
    plain = _PLAIN.get(text.strip())
    if plain is not None:
        return plain
    name, colon, argument = text.partition(":")
    kind = _KINDS.get(name.strip())
    argument = argument.strip()
    if kind is None or not colon or not argument:
        raise InputError(f"{origin}: {text!r} does not say when a dyno is ready", hint=_HINT)
    check = kind(argument)
    match check:
        case Http() if not argument.startswith("/") or re.search(r"[^!-~]", argument):
            raise InputError(f"{origin}: {argument!r} is no path", hint="write http:/health")
        case Log():
            try:
                re.compile(argument)
            except (re.error, OverflowError, RecursionError) as error:
                message = f"{origin}: {argument!r} is no regular expression: {error}"
                raise InputError(message) from None
        case Delay():
            try:
                parse_duration(argument)
            except InputError as error:
                raise InputError(f"{origin}: {error.message}", hint=error.hint) from None
        case Http() | Exec():
            pass
    return check


def describe_wait(check: Readiness) -> str:
    """What a boot that is not ready has not done yet; nothing to say of one that is soon."""
    match check:
        case Port():
            return "it listens on no port"
        case Http():
            return f"GET {check.argument} is not answered well"
        case Log():
            return f"no line has {check.argument!r}"
        case Exec():
            return f"{check.argument!r} fails"
        case Spawned() | Finished() | Delay():
            return ""


def check_order(after: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError when process types wait for each other in a circle.

    `after` has every type; the names in it are known to be types.
    """
    done: set[str] = set()
    for name in after:
        _visit(name, after, [], done)


def _visit(name: str, after: Mapping[str, Sequence[str]], path: list[str], done: set[str]) -> None:
    if name in path:
        circle = [*path[path.index(name) :], name]
        raise InputError(
            f"process types wait for each other: {' after '.join(circle)}",
            hint="take one of them out of `after`",
        )
    if name in done:
        return
    for other in after[name]:
        _visit(other, after, [*path, name], done)
    done.add(name)
