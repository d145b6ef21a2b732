"""What an exporter is given and gives back: honcho's interface, with types.

A third party's exporter is a class that takes `template_dir` and has `render(processes, context)`,
registered as an entry point of the group `procman_exporters` (or honcho's `honcho_exporters`).
"""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from procman.errors import InputError, ProcmanError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# What systemd, supervisord, a directory and a shell all take for a name as it stands.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STOP_TIMEOUT = 10.0  # seconds, as procman start's
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Process:
    """One dyno to be: honcho's words, because honcho's templates read them."""

    name: str  # web.1
    cmd: str
    env: Mapping[str, str]
    quiet: bool = False
    restart: str = "always"  # honcho's; on-failure and never where the settings say so
    stop_signal: str = "TERM"  # without SIG
    stop_timeout: float = STOP_TIMEOUT


@dataclass(frozen=True, slots=True)
class File:
    """One file to write, its name relative to the target directory."""

    name: str
    content: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What all processes share. Raises UsageError for what no supervisor could read."""

    app: str
    app_root: str  # absolute
    log: str
    shell: str  # an absolute path
    user: str

    def __post_init__(self) -> None:
        for option, value in (("--app", self.app), ("--user", self.user)):
            if not PLAIN_NAME.fullmatch(value):
                raise UsageError(
                    f"{option}: {value!r} cannot name anything in a supervisor's files",
                    hint="letters, digits, '_', '.' and '-'",
                )
        for option, value in (("--shell", self.shell), ("--log", self.log)):
            if not value.startswith("/") or re.search(r"\s", value):
                raise UsageError(f"{option}: {value!r} must be an absolute path without blanks")
        if CONTROL.search(self.app_root):
            raise UsageError(f"--app-root: {self.app_root!r} has a control character in it")

    def as_honcho(self) -> dict[str, object]:
        """The names that honcho's templates use."""
        return {
            "app": self.app,
            "app_root": self.app_root,
            "log": self.log,
            "shell": self.shell,
            "user": self.user,
        }


class RenderedFile(Protocol):
    """A file as an exporter yields it: honcho's class, ours, or a third party's."""

    @property
    def name(self) -> str: ...
    @property
    def content(self) -> str: ...
    @property
    def executable(self) -> bool: ...


class Exporter(Protocol):
    """honcho's interface of an exporter."""

    def render(
        self, processes: Sequence[Process], context: dict[str, object]
    ) -> Iterable[RenderedFile]: ...


@runtime_checkable
class WholeDirectories(Protocol):
    """An exporter with directories in which every file counts, as in an envdir.

    What an earlier export has left there would still count, so it is removed.
    """

    def whole_directories(self, files: Iterable[File]) -> set[str]:
        """Their names, relative to the target, among those of the `files` of an export."""


class HonchoExport:
    """honcho's own exporter of a format with our templates: its files and its file names.

    `adapt` makes a process fit the format. A template that `template_dir` lacks is ours.
    """

    def __init__(
        self,
        format_name: str,
        templates: Mapping[str, str],
        *,
        template_dir: str | None = None,
        filters: Mapping[str, Callable[[str], str]] | None = None,
        adapt: Callable[[Process], Process] = lambda process: process,
    ) -> None:
        try:
            import jinja2
        except ImportError as error:
            raise ProcmanError(
                "export needs jinja2, which is not installed", hint="pip install 'honcho[export]'"
            ) from error
        honcho = importlib.import_module("honcho.export.base")
        loaders: list[jinja2.BaseLoader] = [jinja2.DictLoader(templates)]
        if template_dir is not None:
            loaders.insert(0, jinja2.FileSystemLoader([template_dir]))
        # No HTML is written here; escaping would break every quote.
        environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader(loaders), keep_trailing_newline=True
        )
        environment.filters["shellquote"] = shlex.quote
        environment.filters["dashrepl"] = honcho.dashrepl
        environment.filters["percentescape"] = honcho.percentescape
        environment.filters.update(filters or {})
        module = importlib.import_module(f"honcho.export.{format_name}")
        self._export: Exporter = module.Export(template_env=environment)
        self._adapt = adapt

    def render(
        self, processes: Sequence[Process], context: dict[str, object]
    ) -> Iterable[RenderedFile]:
        """The files of all processes."""
        return self._export.render([self._adapt(process) for process in processes], context)


def render(exporter: Exporter, processes: Sequence[Process], context: Context) -> list[File]:
    """All files, each once. Raises InputError where two would have one name or leave the target."""
    files = [
        File(file.name, file.content, file.executable)
        for file in exporter.render(processes, context.as_honcho())
    ]
    seen: set[str] = set()
    for file in files:
        if file.name.startswith("/") or ".." in file.name.split("/"):
            raise InputError(f"the exporter wants to write outside of the target: {file.name}")
        if file.name in seen:
            raise InputError(
                f"two processes want the file {file.name}",
                hint="rename a type: 'web-1' and the first dyno of 'web' look alike",
            )
        seen.add(file.name)
    return files


def carried_by_shell(process: Process, is_expressible: Callable[[str], bool]) -> Process:
    """Move the config vars that a format cannot express into the command, which sets them."""
    env = {name: value for name, value in process.env.items() if is_expressible(value)}
    rest = [shell_export(name, value) for name, value in process.env.items() if name not in env]
    return replace(process, env=env, cmd=" ".join([*rest, process.cmd]))


def shell_export(name: str, value: str) -> str:
    """One line of POSIX shell that exports exactly this value, line breaks and all."""
    if not CONTROL.search(value):
        return f"export {name}={shlex.quote(value)};"
    # `$(…)` takes trailing line breaks away, so a dot stands guard behind them.
    octal = "".join(_octal(character) for character in value)
    return f"{name}=$(printf '{octal}.'); export {name}=\"${{{name}%.}}\";"


def _octal(character: str) -> str:
    """One character of a printf format in single quotes."""
    special = CONTROL.match(character) or character in "\\%'-"
    return f"\\{ord(character):03o}" if special else character
