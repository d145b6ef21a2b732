"""Where an option's value comes from: command line, `PROCMAN_*`, settings files, default.

The order of design and of most tools: what is nearer to the fingers wins. A value is read by the
getter of its kind, so that a wrong one is an error that names its origin, wherever it stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from procman.core.durations import parse_duration
from procman.core.formation import nearest
from procman.core.readiness import Readiness, parse_readiness
from procman.errors import InputError, ProcmanError, wrong_value

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off", "")

# Other long names of options, by which people know them: no keys, but hints lead from them.
OTHER_NAMES = {"formation": "concurrency", "colour": "color", "timestamp": "timestamps"}

# What `[tool.procman.types.NAME]` may hold.
TYPE_KEYS = (
    "restart",
    "max_restarts",
    "stop_signal",
    "stop_timeout",
    "command",
    "env",
    "ready",
    "after",
    "socket",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Table:
    """A settings file's table, as read from TOML; `origin` names it in errors."""

    origin: str
    values: Mapping[str, object]


def environment_variable(option: str) -> str:
    """`PROCMAN_STOP_TIMEOUT` for `stop_timeout`."""
    return f"PROCMAN_{option.upper()}"


class Settings:
    """The layers of one call, nearest first. Option names are those of the long flags, with `_`."""

    def __init__(
        self,
        command_line: Mapping[str, object],
        environ: Mapping[str, str],
        tables: Sequence[Table],
        known: Iterable[str],
    ) -> None:
        """Raises InputError for a key in a table that is no option, with the nearest right name."""
        self._command_line = command_line
        self._environ = environ
        self._tables = tables
        names = [*known, "types"]
        for table in tables:
            for key in table.values:
                _require_known(key, names, table.origin, others=OTHER_NAMES)

    def find(self, name: str) -> tuple[object, str] | None:
        """The value that counts and its origin; None when nobody gave one."""
        value = self._command_line.get(name)
        if value is not None and value != ():
            return value, f"--{name.replace('_', '-')}"
        variable = environment_variable(name)
        if variable in self._environ:
            return self._environ[variable], variable
        for table in self._tables:
            if name in table.values:
                return table.values[name], f"{table.origin}: {name}"
        return None

    def text(self, name: str) -> str | None:
        """A string; a number in a settings file is taken as written."""
        found = self.find(name)
        if found is None:
            return None
        value, origin = found
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise _wrong(origin, value, "a string")

    def flag(self, name: str, default: bool = False) -> bool:
        """A truth value: `true` and `false` in files, 1/0, yes/no, on/off in the environment."""
        return bool(self.maybe_flag(name) if self.find(name) is not None else default)

    def maybe_flag(self, name: str) -> bool | None:
        """A truth value, or None when nobody gave one."""
        found = self.find(name)
        if found is None:
            return None
        return _flag(*found)

    def integer(self, name: str) -> int | None:
        """A number from 0."""
        found = self.find(name)
        return None if found is None else _integer(*found)

    def duration(self, name: str) -> float | None:
        """Seconds, written as `30s`, `5m`, `1h` or a plain number."""
        found = self.find(name)
        return None if found is None else _duration(*found)

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """One of some words."""
        found = self.find(name)
        return None if found is None else _choice(*found, choices)

    def words(self, name: str) -> list[str]:
        """Words, given several times, as a list, or separated by commas."""
        found = self.find(name)
        if found is None:
            return []
        value, origin = found
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) for i in items):
            raise _wrong(origin, value, "words separated by commas")
        return [word for item in items for word in str(item).replace(",", " ").split()]

    def types(self, type_names: Sequence[str]) -> dict[str, TypeSettings]:
        """The settings of each process type that has any; nearer files win key by key."""
        merged: dict[str, dict[str, tuple[object, str]]] = {}
        for table in reversed(self._tables):
            section = table.values.get("types", {})
            if not isinstance(section, dict):
                raise _wrong(f"{table.origin}: types", section, "a table of process types")
            for name, values in section.items():
                origin = f"{table.origin}: types"
                _require_known(name, type_names, origin, what="process type")
                if not isinstance(values, dict):
                    raise _wrong(f"{origin}.{name}", values, "a table")
                for key, value in values.items():
                    _require_known(key, TYPE_KEYS, f"{origin}.{name}")
                    merged.setdefault(name, {})[key] = (value, f"{origin}.{name}.{key}")
        return {name: _type_settings(values, type_names) for name, values in merged.items()}


@dataclass(frozen=True, slots=True)
class TypeSettings:
    """`[types.NAME]`: what is None was not given. Durations in seconds."""

    restart: str | None = None
    max_restarts: int | None = None
    stop_signal: str | None = None
    stop_timeout: float | None = None
    command: str | None = None
    env: Mapping[str, str] | None = None
    ready: Readiness | None = None
    after: tuple[str, ...] = ()
    socket: bool = False
    watch: tuple[str, ...] | None = None


RESTARTS = ("on-failure", "always", "never")


def _type_settings(
    values: Mapping[str, tuple[object, str]], type_names: Sequence[str]
) -> TypeSettings:
    def get(key: str) -> tuple[object, str] | None:
        return values.get(key)

    restart, times, signal = get("restart"), get("max_restarts"), get("stop_signal")
    timeout, command, env = get("stop_timeout"), get("command"), get("env")
    ready, after, shares, watch = get("ready"), get("after"), get("socket"), get("watch")
    return TypeSettings(
        restart=None if restart is None else _choice(*restart, RESTARTS),
        max_restarts=None if times is None else _integer(*times),
        stop_signal=None if signal is None else _string(*signal),
        stop_timeout=None if timeout is None else _duration(*timeout),
        command=None if command is None else _command(*command),
        env=None if env is None else _strings(*env),
        ready=None if ready is None else parse_readiness(_string(*ready), ready[1]),
        after=() if after is None else _type_names(*after, type_names),
        socket=shares is not None and _flag(*shares),
        watch=None if watch is None else _globs(*watch),
    )


def _flag(value: object, origin: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in TRUE:
        return True
    if isinstance(value, str) and value.lower() in FALSE:
        return False
    raise _wrong(origin, value, "true or false")


def _integer(value: object, origin: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise _wrong(origin, value, "a number from 0")


def _duration(value: object, origin: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _wrong(origin, value, "a duration such as 30s, 5m or 1h")
    try:
        return parse_duration(value)
    except InputError as error:
        raise wrong_value(origin, error.message, hint=error.hint) from None


def _choice(value: object, origin: str, choices: Sequence[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    raise _wrong(origin, value, f"one of {', '.join(choices)}")


def _string(value: object, origin: str) -> str:
    if isinstance(value, str) and "\0" not in value:
        return value
    raise _wrong(origin, value, "a string")


def _command(value: object, origin: str) -> str:
    text = _string(value, origin)
    if not text.strip():
        raise _wrong(origin, value, "a command")
    return text


def _globs(value: object, origin: str) -> tuple[str, ...]:
    globs = [value] if isinstance(value, str) else value
    if not isinstance(globs, list) or not all(isinstance(one, str) for one in globs):
        raise _wrong(origin, value, "a list of globs")
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines(globs)
    except ValueError as error:
        raise InputError(f"{origin}: {error}") from None
    return tuple(globs)


def _type_names(value: object, origin: str, type_names: Sequence[str]) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _wrong(origin, value, "a list of process types")
    for name in names:
        _require_known(name, type_names, origin, what="process type")
    return tuple(dict.fromkeys(names))


def _strings(value: object, origin: str) -> dict[str, str]:
    """Config vars. Their values may be secrets, and stay unsaid."""
    if not isinstance(value, dict) or not all(isinstance(v, (str, int)) for v in value.values()):
        raise InputError(f"{origin}: not a table of strings")
    for name, item in value.items():
        if not name or "=" in name or "\0" in f"{name}{item}":
            hint = "a name is not empty and has no `=`; neither name nor value has a NUL"
            raise InputError(f"{origin}: {name!r} cannot be a config var", hint=hint)
    return {name: _as_written(item) for name, item in value.items()}


def _as_written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require_known(
    key: str,
    names: Iterable[str],
    origin: str,
    what: str = "setting",
    others: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise InputError with the nearest right name, to which one of `others` may lead."""
    names = list(names)
    if key in names:
        return
    close = nearest(key, [*others, *names])
    close = None if close is None else others.get(close, close)
    hint = f"there are: {', '.join(sorted(names))}" if close is None else f"did you mean {close!r}?"
    raise InputError(f"{origin}: unknown {what} {key!r}", hint=hint)


def _wrong(origin: str, value: object, wanted: str) -> ProcmanError:
    return wrong_value(origin, f"{value!r} is not {wanted}")
