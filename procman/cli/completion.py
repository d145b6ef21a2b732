"""`procman completion`: the shell's own completion; types and dynos come from the running app."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from procman.cli.options import OPTION_NAMES
from procman.errors import ProcmanError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")

# What click's text does not do: no blank after `worker=`, to which a number belongs; and a
# description to its end, also behind a comma (fish adds no blank by itself).
_MENDED = {
    "bash": (
        "COMPREPLY+=($value)",
        "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace",
    ),
    "zsh": (
        "compadd -U -V unsorted -a completions",
        "compadd -U -V unsorted -S '' -- ${(M)completions:#*=}\n"
        "        compadd -U -V unsorted -- ${completions:#*=}",
    ),
    "fish": ('string split ","', 'string split --max 1 ","'),
}

PATIENCE = 0.5  # seconds that a key press may wait for the app


@click.command(short_help="Print what makes bash, zsh or fish complete procman's words.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the completion for SHELL.

    \b
    bash: procman completion bash > ~/.local/share/bash-completion/completions/procman
    zsh:  procman completion zsh > "${fpath[1]}/_procman"
    fish: procman completion fish > ~/.config/fish/completions/procman.fish
    """
    from click.shell_completion import get_completion_class

    source = get_completion_class(shell)
    assert source is not None
    text = source(ctx.find_root().command, {}, "procman", "_PROCMAN_COMPLETE").source()
    clicks, ours = _MENDED[shell]
    click.echo(text.replace(clicks, ours))


def complete_targets(
    ctx: click.Context, _parameter: click.Parameter, word: str
) -> list[CompletionItem]:
    """The types and dynos of the running app, else the types of the Procfile."""
    types, dynos = _running(ctx) or (_types_of_procfile(ctx), [])
    return _beginning(word, [*types, *dynos])


def complete_dynos(
    ctx: click.Context, _parameter: click.Parameter, word: str
) -> list[CompletionItem]:
    """The dynos of the running app."""
    running = _running(ctx)
    return _beginning(word, running[1] if running else [])


def complete_types(
    ctx: click.Context, _parameter: click.Parameter, word: str
) -> list[CompletionItem]:
    """The types of the Procfile."""
    return _beginning(word, _types_of_procfile(ctx))


def complete_changes(
    ctx: click.Context, _parameter: click.Parameter, word: str
) -> list[CompletionItem]:
    """`web=`, `worker=`: the types, ready for a number."""
    running = _running(ctx)
    types = running[0] if running else _types_of_procfile(ctx)
    return _beginning(word, [f"{name}=" for name in types])


def _beginning(word: str, candidates: Iterable[str]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in candidates if name.startswith(word)]


def _running(ctx: click.Context) -> tuple[list[str], list[str]] | None:
    """Types and dynos of the running app; None when there is none, or it does not answer."""
    from procman.runtime.client import ask_within
    from procman.runtime.inputs import find_root

    try:
        answer = ask_within(PATIENCE, find_root(_given(ctx), os.environ, OPTION_NAMES), "ps")
    except (ProcmanError, OSError):
        return None  # a key press is no place for errors
    formation, dynos = answer.get("formation"), answer.get("dynos")
    types = [str(name) for name in formation] if isinstance(formation, dict) else []
    rows = dynos if isinstance(dynos, list) else []
    return types, [str(row["dyno"]) for row in rows if isinstance(row, dict)]


def _types_of_procfile(ctx: click.Context) -> list[str]:
    from procman.runtime.inputs import read_inputs

    try:
        inputs = read_inputs(_given(ctx), os.environ, OPTION_NAMES, need_procfile=False)
    except (ProcmanError, OSError):
        return []
    return list(inputs.procfile.commands)


def _given(ctx: click.Context) -> dict[str, object]:
    """The options before and after the command's name; nobody has remembered them yet."""
    found: dict[str, object] = {}
    for params in (ctx.parent.params if ctx.parent is not None else {}, ctx.params):
        found |= {
            name: value
            for name, value in params.items()
            if name in OPTION_NAMES and value not in (None, ())
        }
    return found
