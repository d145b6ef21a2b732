"""Options that many commands share, accepted before and after the command's name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import click

from procman.core.durations import parse_duration
from procman.core.settings import environment_variable
from procman.errors import InputError, wrong_value

Decorated = TypeVar("Decorated", bound=Callable[..., object])

# Every option of every command by its name in settings files. A test holds it to the commands.
OPTION_NAMES = (
    "app_root",
    "procfile",
    "env",
    "env_override",
    "color",
    "concurrency",
    "except",
    "port",
    "pty",
    "quiet",
    "prefix",
    "timestamps",
    "log_format",
    "restart",
    "max_restarts",
    "fail_fast",
    "stop_timeout",
    "router",
    "host",
    "idle",
    "idle_timeout",
    "idle_stop_after",
    "request_timeout",
    "boot_timeout",
    "boot_timeout_kill",
    "router_log",
    "watch",
    "preboot",
    "app",
    "log",
    "user",
    "shell",
    "template_dir",
)


def option(*declarations: str, help: str, **attributes: object) -> Callable[[Decorated], Decorated]:
    """A click option without a default: what nobody gave is looked up in the layers below.

    The help names the environment variable; the settings' key is the same word in small letters.
    """
    name = next((d for d in declarations if not d.startswith("-")), None)
    if name is None:
        long = next(d for d in declarations if d.startswith("--"))
        name = long.split("/")[0].lstrip("-").replace("-", "_")
    attributes.setdefault("default", None)
    shown = f"{help}  [{environment_variable(name)}]"
    return click.option(*declarations, help=shown, **attributes)  # type: ignore[arg-type]  # click types each attribute on its own


def formation_option(help: str) -> Callable[[Decorated], Decorated]:
    """`-c`, and foreman's and honcho's other spellings of it."""
    return option(
        "-c",
        "--concurrency",
        "-m",
        "--formation",
        "concurrency",
        metavar="TYPE=N,…",
        help=help,
    )


APP_ROOT = option(
    "-d", "--app-root", metavar="DIR", help="The app's directory; default: the Procfile's."
)
ENV = option(
    "-e",
    "--env",
    metavar="FILE[,FILE]",
    multiple=True,
    default=(),
    help="Files of config vars; later ones win.  Default: .env",
)
ENV_OVERRIDE = option(
    "--env-override/--no-env-override",
    help="Let .env beat the environment procman was called with.",
)
COLOR = option(
    "--color/--no-color",
    "--colour/--no-colour",
    "color",
    help="Colour the prefixes; default: on a terminal, unless NO_COLOR is set.",
)
_PROCFILE = option(
    "-f", "--procfile", metavar="FILE", help="The Procfile; `-` reads standard input."
)
_COMMON = (APP_ROOT, _PROCFILE, ENV, ENV_OVERRIDE, COLOR)


def common_options(command: Decorated) -> Decorated:
    """Add the options that may stand before or after the command's name."""
    for add in reversed(_COMMON):
        command = add(command)
    return command


def remember(ctx: click.Context, options: Mapping[str, object]) -> None:
    """Keep what was given before the command's name."""
    ctx.obj = {name: value for name, value in options.items() if value not in (None, ())}


def given(ctx: click.Context, options: Mapping[str, object]) -> dict[str, object]:
    """What was given before or after the command's name; the later one wins, and what may be
    repeated adds up.
    """
    together: dict[str, object] = dict(ctx.obj) if isinstance(ctx.obj, dict) else {}
    for name, value in options.items():
        before = together.get(name)
        if isinstance(value, tuple) and isinstance(before, tuple):
            together[name] = before + value
        elif value not in (None, ()):
            together[name] = value
    return together


def app_root(ctx: click.Context, options: Mapping[str, object]) -> str:
    """The root of the app that a command is about: `-d`, else the Procfile's directory."""
    from procman.runtime.inputs import find_root

    return find_root(given(ctx, options), os.environ, OPTION_NAMES)


def duration(origin: str, text: str) -> float:
    """Seconds, of an option that stands in no settings file; UsageError for what is none."""
    try:
        return parse_duration(text)
    except InputError as error:
        raise wrong_value(origin, error.message, hint=error.hint) from None


def wants_colour(asked: bool | None, descriptor: int) -> bool:
    """Whether to colour: as asked, else on a terminal unless NO_COLOR is set (no-color.org)."""
    if asked is not None:
        return asked
    return os.isatty(descriptor) and not os.environ.get("NO_COLOR")
