"""`procman export`: write the app down for another supervisor."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from procman.cli.base_port import find_base_port
from procman.cli.options import OPTION_NAMES, common_options, formation_option, given, option
from procman.cli.plan import quantities
from procman.cli.problems import on_standard_error, show_problems
from procman.core.formation import RELEASE
from procman.errors import InputError, ProcmanError, UsageError
from procman.export.base import STOP_TIMEOUT, Context, WholeDirectories, render
from procman.export.expansion import ExportType, expand
from procman.export.formats import load
from procman.runtime.inputs import Inputs, read_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procman.export.base import File

OWN_OPTIONS = ("app", "log", "user", "shell", "template_dir", "concurrency", "port")


@click.command(short_help="Write files for systemd, supervisord, runit or upstart.")
@click.argument("format_name", metavar="FORMAT")
@click.argument("location", metavar="DIR")
@option("-a", "--app", metavar="APP", help="The app's name.  Default: its directory's")
@option("-u", "--user", metavar="USER", help="Who runs it.  Default: APP")
@option("-l", "--log", metavar="DIR", help="Where logs go.  Default: /var/log/APP")
@option("-s", "--shell", metavar="PATH", help="What runs the commands.  Default: /bin/sh")
@option("-p", "--port", metavar="PORT", help="The base port.  Default: 5000")
@formation_option("How many of each type, `web=2,worker=3` or `all=1`; others get 1.")
@option("-t", "--template-dir", metavar="DIR", help="Your own templates, in honcho's names.")
@common_options
@click.pass_context
def export(ctx: click.Context, /, format_name: str, location: str, **options: object) -> int:
    """Write the app down for another supervisor: FORMAT is systemd, supervisord, runit or upstart.

    Further formats come with packages that register them as `procman_exporters` or
    `honcho_exporters`. Config vars are those of the .env files. The `release` type is left out: run
    it yourself before each start of a new release.
    """
    known = dict.fromkeys((*OPTION_NAMES, *OWN_OPTIONS))
    inputs = read_inputs(given(ctx, options), os.environ, known)
    inputs.procfile.require_valid()
    show_problems(inputs.procfile)
    context = _context(inputs)
    template_dir = inputs.settings.text("template_dir")
    if template_dir is not None and not os.path.isdir(template_dir):
        raise UsageError(f"--template-dir: there is no directory {template_dir!r}")
    exporter = load(format_name, template_dir)
    types = _types(inputs)
    processes = expand(types, _formation(inputs), inputs.from_files, _base_port(inputs))
    files = render(exporter, processes, context)
    left_over = _left_over(Path(location), context.app, files)
    if isinstance(exporter, WholeDirectories):
        _clear(Path(location), exporter.whole_directories(files), files)
    _write(Path(location), files)
    for name in left_over:
        on_standard_error(
            f"{os.path.join(location, name)} is not part of this export and may still run: "
            "stop it and remove it, unless it is another app's"
        )
    return 0


def _context(inputs: Inputs) -> Context:
    settings = inputs.settings
    from_directory = re.sub(r"[^A-Za-z0-9_.-]", "-", os.path.basename(inputs.root)).lstrip(".-")
    app = settings.text("app") or from_directory or "app"
    return Context(
        app=app,
        app_root=inputs.root,
        log=settings.text("log") or f"/var/log/{app}",
        shell=settings.text("shell") or "/bin/sh",
        user=settings.text("user") or app,
    )


def _types(inputs: Inputs) -> dict[str, ExportType]:
    settings, commands = inputs.settings, inputs.procfile.commands
    per_type = inputs.per_type()
    restart = settings.text("restart") or "always"
    timeout = settings.duration("stop_timeout")
    types = {}
    for name, command in commands.items():
        own = per_type.get(name)
        if own is None:
            types[name] = ExportType(command, restart=restart, stop_timeout=timeout or STOP_TIMEOUT)
            continue
        types[name] = ExportType(
            command=own.command or command,
            env=own.env or {},
            restart=own.restart or restart,
            stop_signal=(own.stop_signal or "TERM").upper().removeprefix("SIG"),
            stop_timeout=own.stop_timeout or timeout or STOP_TIMEOUT,
        )
    return types


def _formation(inputs: Inputs) -> dict[str, int]:
    types = list(inputs.procfile.commands)
    formation = quantities(inputs.settings, types)
    if formation.get(RELEASE):
        formation[RELEASE] = 0
        click.echo("procman: the release type is left out: it runs once, not always", err=True)
    if not any(formation.values()):
        raise InputError(
            "nothing to export: every process type is at 0 or left out",
            hint=f"the Procfile has: {', '.join(types)}",
        )
    return formation


def _base_port(inputs: Inputs) -> int:
    port = find_base_port(inputs)
    if port is None:
        raise UsageError("files need a fixed port, not auto", hint="-p 5000")
    return port


def _left_over(location: Path, app: str, files: Sequence[File]) -> list[str]:
    """Names in the directory that look like this app's, but are not of this export."""
    ours = {file.name.split("/")[0] for file in files}
    prefixes = (f"{app}-", f"{app}.")
    if not location.is_dir():
        return []
    return sorted(n for n in os.listdir(location) if n.startswith(prefixes) and n not in ours)


def _clear(location: Path, directories: set[str], files: Sequence[File]) -> None:
    """Take the files of an earlier export out of directories in which every file counts.

    Before the new ones are written: where case does not count, an old `Key` is the new `KEY`.
    """
    current = {location / file.name for file in files}
    old = [path for name in sorted(directories) for path in _visible(location / name)]
    for path in old:
        if path in current:
            continue
        try:
            # An export makes files alone: a link, and what is behind it, is somebody's own.
            if path.parent.is_symlink() or not stat.S_ISREG(path.lstat().st_mode):
                on_standard_error(f"{path} is not part of this export and may still be read")
                continue
            click.echo(f"Removing '{path}'", err=True)
            path.unlink()
        except OSError as error:
            raise ProcmanError(f"{path}: cannot be removed: {error.strerror}") from None


def _visible(directory: Path) -> list[Path]:
    """What is in a directory that may not be there yet; hidden files are no config vars."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ProcmanError(f"{directory}: cannot be read: {error.strerror}") from None
    return [directory / name for name in sorted(names) if not name.startswith(".")]


def _write(location: Path, files: Sequence[File]) -> None:
    for file in files:
        path = location / file.name
        click.echo(f"Writing '{path}'", err=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Config vars are nobody else's to read, and root reads for init; those that hold bytes
            # that are no UTF-8 go out as they came in.
            with open(path, "wb", opener=_open_private) as out:
                os.fchmod(out.fileno(), 0o700 if file.executable else 0o600)
                out.write(file.content.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise ProcmanError(f"{path}: cannot be written: {error.strerror}") from None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
