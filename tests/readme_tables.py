"""README's tables of commands and options, made from the commands themselves.

`python -m tests.readme_tables` writes them into README; a test holds README to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from procman.cli import cli

README = Path(__file__).parents[1] / "README.md"
_PART = re.compile(r"(<!-- (commands|options): made by .*? -->\n).*?(<!-- end -->)", re.DOTALL)


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def commands_table() -> str:
    """What each command is called with, and what it does."""
    lines = ["| command | what it does |", "|---|---|"]
    for words, command in leaves(cli):
        context = click.Context(command)
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        call = " ".join(["procman", words, *(p.make_metavar(context) for p in arguments)])
        lines.append(f"| `{_cell(call)}` | {_cell(command.get_short_help_str(200))} |")
    return "\n".join(lines) + "\n"


def options_table() -> str:
    """Each option once, with the commands that take it."""
    common = {parameter.name for parameter in cli.params}
    rows: dict[tuple[str, str], list[str]] = {}
    for parameter in cli.params:
        _note(rows, parameter, "all")
    for words, command in leaves(cli):
        for parameter in command.params:
            if parameter.name not in common:
                _note(rows, parameter, words)
    lines = ["| option | of | what it does |", "|---|---|---|"]
    lines += [f"| {flags} | {', '.join(of)} | {what} |" for (flags, what), of in rows.items()]
    return "\n".join(lines) + "\n"


def filled(text: str) -> str:
    """README's text with its tables made anew."""
    tables = {"commands": commands_table(), "options": options_table()}
    return _PART.sub(lambda m: f"{m[1]}{tables[m[2]]}{m[3]}", text)


def _note(rows: dict[tuple[str, str], list[str]], parameter: click.Parameter, of: str) -> None:
    if isinstance(parameter, click.Option) and parameter.name != "help":
        names = [*parameter.opts, *parameter.secondary_opts]
        flags = ", ".join(f"`{name}`" for name in names)
        rows.setdefault((flags, _cell(parameter.help or "")), []).append(of)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
