"""`procman logs`: the history of the app, and what it says now."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from procman.cli.completion import complete_targets
from procman.cli.options import (
    APP_ROOT,
    COLOR,
    ENV,
    ENV_OVERRIDE,
    OPTION_NAMES,
    duration,
    given,
    option,
    wants_colour,
)
from procman.core.recall import Batch, Selection, batches
from procman.core.style import SYSTEM, Look, colour_of, for_json, for_screen, iso_time, prefix_of
from procman.errors import InputError, NotRunningError, UsageError
from procman.runtime.recall import Recall, wait_for_bell
from procman.runtime.writing import write_all

if TYPE_CHECKING:
    from socket import socket

    from procman.core.settings import Settings

DEFAULT_LINES = 100  # Heroku's
STDOUT = 1


@click.command(short_help="Show what the app logged; -f goes on with what it logs now.")
@click.argument("targets", nargs=-1, metavar="[TARGET]…", shell_complete=complete_targets)
@click.option("-f", "--follow", is_flag=True, help="Go on until the app ends.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    metavar="N",
    help="The last N lines that are wanted.  Default: 100, or with --since all",
)
@click.option(
    "-p",
    "--process",
    "more",
    metavar="TARGET",
    multiple=True,
    help="Of this type or dyno only.",
    shell_complete=complete_targets,
)
@click.option("--since", metavar="TIME", help="Not older than this: 90s, 5m, 1h.")
@click.option("--grep", metavar="REGEX", help="Only lines in which this is found.")
@click.option("--json", "as_json", is_flag=True, help="One object a line, as start's.")
@option("--prefix/--no-prefix", help="Name the dyno before each line.")
@option(
    "--timestamps/--no-timestamps",
    "--timestamp/--no-timestamp",
    "timestamps",
    help="Tell the time before each line.",
)
@APP_ROOT
@option("--procfile", metavar="FILE", help="The Procfile, in whose directory the app is.")
@ENV
@ENV_OVERRIDE
@COLOR
@click.pass_context
def logs(
    ctx: click.Context,
    /,
    targets: tuple[str, ...],
    follow: bool,
    lines: int | None,
    more: tuple[str, ...],
    since: str | None,
    grep: str | None,
    as_json: bool,
    **options: object,
) -> int:
    """Show the app's log, whether it runs or not. A TARGET is a process type, a dyno, a glob, or
    `procman` for procman's own lines; a dyno's lines include what procman says of it.

    With -f, lines that were rotated away before they could be shown are counted on standard error.
    """
    root, settings, types = _read_app(given(ctx, options))
    selection = Selection((*targets, *more), _time_of(since), _pattern_of(grep))
    if lines is None and since is None:
        lines = DEFAULT_LINES
    printer = _Printer(settings, types, as_json)
    for target in selection.targets:
        _require_known(root, target, types)
    try:
        _show(root, selection, lines, printer, follow=follow)
    except BrokenPipeError:  # the reader has seen enough; click would make it a failure
        pass
    return 0


def _show(
    root: str, selection: Selection, count: int | None, printer: _Printer, *, follow: bool
) -> None:
    connection = _connect(root) if follow else None
    with Recall(root, follow=connection is not None) as recall:
        if recall.is_empty and connection is None:
            click.echo("procman: there is no history yet", err=True)
        skip = recall.seek(selection, count)
        printer.print_all(recall, selection, skip)
        if connection is not None:
            with connection:
                while wait_for_bell(connection, STDOUT):
                    printer.print_all(recall, selection)
            printer.print_all(recall, selection)
        elif follow:
            click.echo("procman: the app is not running", err=True)
        elif not (printer.has_printed or recall.is_empty or count == 0) and selection.is_by_name:
            click.echo(f"procman: nothing of {', '.join(selection.targets)} is there", err=True)


def _require_known(root: str, target: str, types: Collection[str]) -> None:
    """Raise InputError for a target that neither the Procfile, nor the history, nor the running app
    has; where nothing runs and no Procfile can be read, nobody knows what there is.

    The app is asked last: it may hang, and its log is read nevertheless.
    """
    from procman.core.formation import match_targets

    selection = Selection((target,))
    planned = [f"{name}.1" for name in types]
    if any(map(selection.is_meant, [SYSTEM, *planned])) or _is_remembered(root, selection):
        return
    if dynos := _running_dynos(root) or planned:
        match_targets([target], dynos)


def _is_remembered(root: str, selection: Selection) -> bool:
    """Whether the history has any line of it, be it of a type that is no more."""
    with Recall(root) as recall:
        return any(selection.count(lines) for lines in iter(recall.read, b""))


def _running_dynos(root: str) -> Sequence[str]:
    """The dynos of the running app, and the first of each type that is at 0; else none."""
    from procman.runtime.client import ask

    try:
        formation = ask(root, "scale", changes=[])["formation"]
    except NotRunningError:
        return ()
    quantities = formation.items() if isinstance(formation, dict) else ()
    return [f"{name}.{n}" for name, most in quantities for n in range(1, max(1, most) + 1)]


def _connect(root: str) -> socket | None:
    """A connection that rings when the app logs; None when the app is not running."""
    from procman.runtime.client import connect, converse

    try:
        connection = connect(root)
        try:
            converse(connection, "follow")
        except BaseException:
            connection.close()
            raise
    except NotRunningError:
        return None
    return connection


class _Printer:
    """Writes batches to standard output as `start` does; the date stands before other days'."""

    def __init__(self, settings: Settings, types: Mapping[str, str], as_json: bool) -> None:
        colour = not as_json and wants_colour(settings.maybe_flag("color"), STDOUT)
        self.has_printed = False
        self._json = as_json
        self._types = list(types)
        self._look = Look(
            width=max(len(name) for name in [SYSTEM, *(f"{name}.1" for name in types)]),
            colour=colour,
            prefix=settings.flag("prefix", True),
            timestamps=settings.flag("timestamps", True),
            tame=os.isatty(STDOUT),
        )
        self._colours: dict[str, str] = {}
        self._second = ""
        self._stamp = ""

    def print_all(self, recall: Recall, selection: Selection, skip: int = 0) -> None:
        """All that is there now; the first `skip` wanted lines are not shown."""
        missed = recall.missed
        while lines := recall.read():
            if recall.missed > missed:
                click.echo(f"procman: {recall.missed - missed} lines missed", err=True)
                missed = recall.missed
            shown = []
            for batch in batches(lines):
                texts = selection.choose(batch)
                if skip:
                    skip, texts = max(0, skip - len(texts)), texts[skip:]
                if texts:
                    shown.append(self._format(batch, texts))
            self._write(b"".join(shown))

    def _format(self, batch: Batch, texts: list[bytes]) -> bytes:
        lines = b"\n".join(texts) + b"\n"
        if self._json:
            return for_json(lines, batch.source, datetime.fromisoformat(batch.time).timestamp())
        colour = self._colour(batch.source)
        prefix = prefix_of(batch.source, colour, self._look, self._clock(batch.time))
        return for_screen(lines, prefix, self._look)

    def _clock(self, when: str) -> str:
        """`12:00:01` of today, `2026-11-22 12:00:01` of another day, in local time."""
        if not self._look.timestamps:
            return ""
        second = when[:19]
        if second != self._second:
            self._second = second
            local = time.localtime(datetime.fromisoformat(when).timestamp())
            today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", local)
            self._stamp = time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", local)
        return self._stamp

    def _colour(self, source: str) -> str:
        if not self._look.colour:
            return ""
        if source not in self._colours:
            of_type = source.rpartition(".")[0]
            known = of_type in self._types
            self._colours[source] = colour_of(self._types.index(of_type)) if known else ""
        return self._colours[source]

    def _write(self, data: bytes) -> None:
        self.has_printed = self.has_printed or bool(data)
        write_all(STDOUT, data)


def _read_app(options: Mapping[str, object]) -> tuple[str, Settings, Mapping[str, str]]:
    """The root, the settings, and the types for their colours.

    A mistake in the app's files must not hide what the app has logged.
    """
    from procman.core.settings import Settings
    from procman.runtime.inputs import find_root, read_inputs

    root = find_root(options, os.environ, OPTION_NAMES)
    try:
        inputs = read_inputs(options, os.environ, OPTION_NAMES, need_procfile=False)
    except InputError as error:
        print(f"procman: {error.message}", file=sys.stderr)
        return root, Settings(options, os.environ, (), OPTION_NAMES), {}
    return root, inputs.settings, inputs.procfile.commands


def _time_of(since: str | None) -> str:
    if since is None:
        return ""
    return iso_time(max(0.0, time.time() - duration("--since", since)))


def _pattern_of(grep: str | None) -> re.Pattern[str] | None:
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise UsageError(f"--grep: {grep!r} is no regular expression: {error}") from None
