"""Shows what is wrong with a Procfile, on standard error."""

from __future__ import annotations

import click

from procman.core.procfile import Procfile


def show_problems(procfile: Procfile) -> None:
    """`Procfile:3: message (hint)`, a line each."""
    for problem in procfile.problems:
        place = procfile.path if problem.line is None else f"{procfile.path}:{problem.line}"
        hint = "" if problem.hint is None else f" ({problem.hint})"
        click.echo(f"procman: {place}: {problem.message}{hint}", err=True)
