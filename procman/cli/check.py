"""`procman check`: tell every problem of the Procfile."""

from __future__ import annotations

import os

import click

from procman.cli.options import OPTION_NAMES, common_options, given
from procman.cli.plan import plan, unsaid
from procman.cli.problems import show_problems
from procman.runtime.inputs import read_inputs


@click.command(short_help="Check the Procfile, .env and settings.")
@common_options
@click.pass_context
def check(ctx: click.Context, /, **options: object) -> int:
    """Tell every problem of the Procfile with its line; exit 1 when there is one.

    The .env files and settings are read as well, and are errors of their own: what is valid starts.
    """
    inputs = read_inputs(given(ctx, options), os.environ, OPTION_NAMES)
    procfile = inputs.procfile
    show_problems(procfile)
    if procfile.problems:
        return 1
    plan(inputs, (), say=unsaid)
    inputs.settings.flag("watch")  # what start reads besides its plan
    click.echo(f"Valid procfile detected ({', '.join(procfile.commands)})", err=True)
    return 0
