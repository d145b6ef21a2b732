"""`procman run`: one command in the app's environment."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from procman.cli.options import OPTION_NAMES, common_options, given
from procman.cli.release_option import ReleaseCommand, release_option
from procman.core.settings import TypeSettings
from procman.errors import InputError, UsageError
from procman.runtime.inputs import Inputs, read_inputs
from procman.runtime.process import shell_argv

if TYPE_CHECKING:
    from procman.runtime.releases.released import Released

LEDGER = ".procman/releases.jsonl"  # where there is none, nobody needs to ask the running app
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)


@click.command(
    cls=ReleaseCommand,
    short_help="Run a one-off command in the app's environment.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, metavar="CMD [ARG]…", type=click.UNPROCESSED)
@release_option("In a copy of this release's slug; without vN of the current one's.")
@common_options
@click.pass_context
def run(
    ctx: click.Context, /, command: tuple[str, ...], release: str | None, **options: object
) -> int:
    """Run CMD in the app's directory with its config vars, as `run.N`, in this terminal.

    While the app runs from a release, CMD runs in a copy of its own of that release's slug.

    The name of a process type stands for its command; further arguments are appended, and the
    `env` of the type's settings counts. A single argument is given to the shell: procman run 'echo
    $HOME'. Options after CMD are CMD's. `-e KEY=VALUE` before CMD sets a config var. The exit
    status is CMD's: 128 + n when a signal n killed it, 127 when it is not found, 126 when it cannot
    be executed.
    """
    everything = given(ctx, options)
    files, variables = _split(everything.get("env", ()))
    layers = {**everything, "env": files}
    inputs = read_inputs(layers, os.environ, OPTION_NAMES, need_procfile=False)
    if not command:
        raise UsageError("run what?", hint="procman run CMD, or the name of a process type")
    from procman.runtime.one_off import run_one_off

    released: Released | None = None
    if release is not None or os.path.exists(os.path.join(inputs.root, LEDGER)):
        inputs, released = _of_release(inputs, release)
    argv, of_type = _argv(inputs, command)
    config_vars = {**inputs.config_vars, **of_type, **variables}
    return run_one_off(argv, inputs.root, config_vars, released)


def _of_release(inputs: Inputs, name: str | None) -> tuple[Inputs, Released | None]:
    """The release that was asked for, else the one that the app runs from, if it does."""
    from procman.cli.released import expand, find_release, inputs_of, running_release

    name = name or running_release(inputs.root)
    if name is None:
        return inputs, None
    release = find_release(inputs.root, name)
    return inputs_of(inputs, release), expand(inputs.root, release)


def _split(values: object) -> tuple[tuple[str, ...], dict[str, str]]:
    """`-e` names files of config vars everywhere; here KEY=VALUE is one config var."""
    words = [str(v) for v in values] if isinstance(values, (list, tuple)) else []
    variables = dict(word.split("=", 1) for word in words if _VARIABLE.match(word))
    return tuple(word for word in words if not _VARIABLE.match(word)), variables


def _argv(inputs: Inputs, command: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """A process type's command with the type's variables, a shell's line, or the argv as it stands.

    Of a Procfile that is not valid nobody knows which command was meant.
    """
    first, rest = command[0], command[1:]
    commands = inputs.procfile.commands
    if first in commands:
        inputs.procfile.require_valid()
        own = inputs.per_type().get(first, TypeSettings())
        line = own.command or commands[first]
        return shell_argv(" ".join([line, *map(shlex.quote, rest)])), own.env or {}
    if not first:
        raise InputError("an empty command")
    return (list(command) if rest else shell_argv(first)), {}
