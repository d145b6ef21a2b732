"""Reads what an app is made of: its settings files, Procfile and config vars."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from procman.core.procfile import Procfile, parse_procfile
from procman.core.settings import Settings, Table, TypeSettings
from procman.errors import InputError

STDIN = "-"
_APP_ROOT = re.compile(rb"\bapp[-_]root\b")


@dataclass(frozen=True, slots=True)
class Inputs:
    """An app as it lies on disk. `from_files` are the config vars that `.env` files gave, and
    `env_files` where those are that somebody named; `settings_in` is where its settings files are,
    which is the root unless they name another. `elsewhere` are process types that another release
    has, or the Procfile had before: options and settings are the same for all, and may name them.
    """

    root: str
    settings_in: str
    settings: Settings
    procfile: Procfile
    config_vars: Mapping[str, str]
    from_files: Mapping[str, str]
    env_files: Sequence[str] = ()
    elsewhere: Sequence[str] = ()

    @property
    def type_names(self) -> list[str]:
        """The process types that may be named; first those that there are."""
        return list(dict.fromkeys([*self.procfile.commands, *self.elsewhere]))

    def per_type(self) -> dict[str, TypeSettings]:
        """The settings of each process type that there is, and has any."""
        commands = self.procfile.commands
        return {
            name: replace(own, after=tuple(other for other in own.after if other in commands))
            for name, own in self.settings.types(self.type_names).items()
            if name in commands
        }


def read_inputs(
    command_line: Mapping[str, object],
    environ: Mapping[str, str],
    known: Iterable[str],
    *,
    need_procfile: bool = True,
    settings_in: str | None = None,
) -> Inputs:
    """Read everything. Raises InputError with place and hint; a Procfile with problems is returned.

    Without `need_procfile`, one that nobody named may be missing, and counts as empty.

    The root is `-d`, else the directory of the Procfile named by `-f`, else the current one, else
    where the `app_root` of the settings there leads. The Procfile is `-f`, PROCMAN_PROCFILE,
    PROCFILE of the environment or of `.env`, the settings' `procfile`, else `Procfile`.
    """
    outer = Settings(command_line, environ, (), known)
    named = outer.text("procfile")
    asked_root = outer.text("app_root")
    first = _find_root(asked_root, named)
    settings_in = settings_in or first
    moved = None if asked_root is not None else _moved_root(first)
    root, asked_root = moved or first, asked_root or moved
    settings = Settings(command_line, environ, _read_tables(settings_in), known)
    env_files = _find_env_files(root, settings)
    from_files = _read_env_files(root, env_files, settings, environ)
    override = bool(from_files) and settings.flag("env_override")
    layers = (from_files, environ) if override else (environ, from_files)
    path = named or next(filter(None, (layer.get("PROCFILE") for layer in layers)), None)
    path = path or settings.text("procfile")
    if path is None and not need_procfile and not os.path.exists(os.path.join(root, "Procfile")):
        procfile = Procfile("Procfile", {}, {}, ())
    else:
        procfile = _read_procfile(path or "Procfile", root, asked_root)
    config_vars = dict(environ)
    if from_files:
        from procman.core.dotenv import merge_config_vars

        config_vars = merge_config_vars([from_files], environ, override=override)
    return Inputs(root, settings_in, settings, procfile, config_vars, from_files, env_files)


def find_root(
    command_line: Mapping[str, object], environ: Mapping[str, str], known: Iterable[str]
) -> str:
    """The app's root alone, for commands that talk to a running app."""
    settings = Settings(command_line, environ, (), known)
    asked = settings.text("app_root")
    root = _find_root(asked, settings.text("procfile"))
    return root if asked is not None else _moved_root(root) or root


def _find_root(asked: str | None, procfile: str | None) -> str:
    if asked is None:
        inside = procfile is not None and procfile != STDIN
        asked = os.path.dirname(procfile or "") if inside else ""
    try:
        root = os.path.realpath(asked or ".")
    except FileNotFoundError:
        raise InputError(
            "the directory that you are in is gone", hint="`cd` to where it is now, or give -d"
        ) from None
    if not os.path.isdir(root):
        raise InputError("no such directory", path=asked, hint="-d names the app's directory")
    return root


def _moved_root(root: str) -> str | None:
    """The root that a settings file names, from where it is. Nothing else in it counts yet, nor
    may be wrong: `procman stop` must not mind a slip in it.
    """
    for table in _read_tables(root, only=_APP_ROOT):
        named = Settings({}, {}, [table], table.values).text("app_root")
        if named is not None:
            return _find_root(os.path.join(root, named), None)
    return None


def _read_procfile(path: str, root: str, asked_root: str | None) -> Procfile:
    if path == STDIN:
        return parse_procfile(sys.stdin.buffer.read(), "standard input")
    inside = os.path.join(root, path)
    if asked_root is not None or not os.path.dirname(path):
        path = inside if os.path.exists(inside) or not os.path.exists(path) else path
    elif not os.path.exists(path):
        path = inside
    shown = _shown(path)
    try:
        with open(path, "rb") as file:
            return parse_procfile(file.read(), shown)
    except FileNotFoundError:
        hint = "a Procfile has lines such as `web: python app.py`; -f names another file"
        raise InputError("there is no Procfile here", path=shown, hint=hint) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=shown) from None


def _find_env_files(root: str, settings: Settings) -> list[str]:
    """Those that are named: in the app, else where we are."""
    named = []
    for name in settings.words("env"):
        inside = os.path.join(root, name)
        named.append(inside if os.path.exists(inside) else name)
    return named


def _read_env_files(
    root: str, named: Sequence[str], settings: Settings, environ: Mapping[str, str]
) -> dict[str, str]:
    if not named:
        default = os.path.join(root, ".env")
        if not os.path.exists(default) or os.path.isdir(default):  # some keep a venv there
            return {}
        return _read_env_file(default, "", {}, environ)
    found = settings.find("env")
    origin = "" if found is None else found[1]
    merged: dict[str, str] = {}
    for path in named:
        merged = _read_env_file(path, origin, merged, environ)
    return merged


def _read_env_file(
    path: str, origin: str, earlier: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """The bindings of earlier files and of this one, which may refer to them; `origin` named it."""
    from procman.core.dotenv import parse_dotenv

    shown = _shown(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise InputError("no such file", path=shown, hint=f"{origin} named it") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=shown) from None
    return {**earlier, **parse_dotenv(data, shown, {**environ, **earlier})}


def _shown(path: str) -> str:
    """As it is seen from where we are, unless that is gone."""
    try:
        return os.path.relpath(path)
    except FileNotFoundError:
        return path


def _read_tables(root: str, only: re.Pattern[bytes] | None = None) -> Sequence[Table]:
    """`procman.toml`, then `[tool.procman]` of `pyproject.toml`; with `only`, those in which it is
    found, for the TOML reader costs 10 ms.
    """
    tables = []
    for name in ("procman.toml", "pyproject.toml"):
        path = os.path.join(root, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=name) from None
        if only is not None and not only.search(data):
            continue
        if name == "pyproject.toml":
            if b"procman" in data:
                tool = _parse_toml(data, name).get("tool", {})
                section = tool.get("procman") if isinstance(tool, dict) else None
                if isinstance(section, dict):
                    tables.append(Table(f"{name}: tool.procman", _with_words(section, name)))
        else:
            tables.append(Table(name, _with_words(_parse_toml(data, name), name)))
    return tables


def _with_words(section: Mapping[str, object], name: str) -> dict[str, object]:
    """Keys as options are named: `stop-timeout` and `stop_timeout` are one."""
    if _has_huge_number(section):
        raise InputError("there is a number of more than 64 bits", path=name, hint="TOML has none")
    return {key.replace("-", "_"): value for key, value in section.items()}


def _parse_toml(data: bytes, name: str) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid TOML: {error}", path=name) from None


def _has_huge_number(value: object) -> bool:
    """One that Python itself may refuse to write."""
    if isinstance(value, dict):
        return any(map(_has_huge_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_huge_number, value))
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
