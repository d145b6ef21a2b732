"""Shows what is wrong with a Procfile, on standard error or where else it is read."""

from __future__ import annotations

from collections.abc import Callable

import click

from procman.core.procfile import Procfile


def on_standard_error(line: str) -> None:
    """As a line of ours."""
    click.echo(f"procman: {line}", err=True)


def show_problems(procfile: Procfile, say: Callable[[str], None] = on_standard_error) -> None:
    """`Procfile:3: message (hint)`, a line each."""
    for problem in procfile.problems:
        place = procfile.path if problem.line is None else f"{procfile.path}:{problem.line}"
        hint = "" if problem.hint is None else f" ({problem.hint})"
        say(f"{place}: {problem.message}{hint}")
