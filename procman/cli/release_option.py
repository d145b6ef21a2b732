"""`--release [vN]`: that a command is about a release, and which."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., object])

CURRENT = "current"
_NAME = re.compile(r"v[1-9][0-9]*", re.ASCII)


class ReleaseCommand(click.Command):
    """A command with `--release [vN]`: what follows is its value only when it is called `vN`.

    click's own optional values would take `web` of `start --release web` for one.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, once it is clear whose the next word is."""
        with_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }
        within = None if ctx.allow_interspersed_args else with_value - {"--release"}
        return super().parse_args(ctx, name_release(args, within))


def name_release(arguments: Sequence[str], options: set[str] | None = None) -> list[str]:
    """The arguments with `--release vN` as one word, and a lone `--release` as the current one.

    `options` are those that take a value, when the first argument that is none ends the options.
    """
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--release":
            is_named = bool(rest) and _NAME.fullmatch(rest[0]) is not None
            words.append(f"--release={rest.pop(0) if is_named else CURRENT}")
            continue
        words.append(word)
        if word == "--" or (options is not None and not word.startswith("-")):
            break
        if options is not None and word in options and rest:
            words.append(rest.pop(0))
    return words + rest


def release_option(help: str) -> Callable[[Decorated], Decorated]:
    """Not by `option`: PROCMAN_RELEASE tells a dyno what it runs, and tells us nothing."""
    return click.option("--release", metavar="[vN]", help=help)
