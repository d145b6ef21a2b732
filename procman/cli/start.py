"""`procman start`: run the app until it ends or is stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence

import click

from procman.cli.options import OPTION_NAMES, common_options, given, option, wants_colour
from procman.cli.problems import show_problems
from procman.cli.signals import parse_signal
from procman.core.dyno import BOOT_TIMEOUT, STOP_TIMEOUT, Policy, Restart
from procman.core.fleet import WEB, ProcessType
from procman.core.formation import parse_formation, unknown_type
from procman.core.ports import parse_base_port
from procman.core.readiness import Exec, Http, Log, Port, Spawned, check_order
from procman.core.settings import RESTARTS, Settings, TypeSettings
from procman.core.style import Look
from procman.errors import InputError
from procman.runtime.app import start as start_app
from procman.runtime.blueprint import App, base_ports, free_ports, prefix_width
from procman.runtime.inputs import Inputs, read_inputs

DEFAULT_PORT = 5000  # foreman's
RELEASE = "release"  # Heroku runs it once before a release goes live, never as a dyno


def formation_option(help: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
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


@click.command(short_help="Run the app: all process types, or the named ones.")
@click.argument("types", nargs=-1, metavar="[TYPE]…")
@formation_option("How many dynos of each type, `web=2,worker=3` or `all=1`; others keep 1.")
@option(
    "-x", "--except", metavar="TYPE,…", multiple=True, default=(), help="Leave these types out."
)
@option(
    "-p", "--port", metavar="PORT", help="The base port, or `auto` for free ones.  Default: 5000"
)
@option("--pty/--no-pty", help="Give each dyno a terminal; default: when procman has one.")
@option("-q", "--quiet", metavar="TYPE,…", multiple=True, default=(), help="Do not show these.")
@option("--prefix/--no-prefix", help="Name the dyno before each line.")
@option(
    "--timestamps/--no-timestamps",
    "--timestamp/--no-timestamp",
    "timestamps",
    help="Tell the time before each line.",
)
@option("--log-format", metavar="text|json", help="json: one object a line.")
@option("--restart", metavar="|".join(RESTARTS), help="Which exits are restarted.")
@option("--max-restarts", metavar="N", help="Give a dyno up after N restarts in a row.")
@option(
    "--fail-fast/--no-fail-fast", help="The first exit of any process ends the app with its status."
)
@option("--stop-timeout", metavar="TIME", help="From SIGTERM to SIGKILL.  Default: 10s")
@common_options
@click.pass_context
def start(ctx: click.Context, /, types: tuple[str, ...], **options: object) -> int:
    """Run the app in this terminal until it ends or Ctrl-C stops it.

    Without TYPEs all process types of the Procfile run, but for `release`. The exit status is 0
    when all have finished; that of the first that failed for good; 130, 143 or 129 after SIGINT,
    SIGTERM or SIGHUP.
    """
    inputs = read_inputs(given(ctx, options), os.environ, OPTION_NAMES)
    inputs.procfile.require_valid()
    show_problems(inputs.procfile)
    return start_app(_plan(inputs, types))


def _plan(inputs: Inputs, asked: Sequence[str]) -> App:
    settings = inputs.settings
    commands = inputs.procfile.commands
    per_type = settings.types(list(commands))
    types = process_types(commands, settings, per_type)
    formation = _formation(settings, list(commands), asked)
    json = settings.choice("log_format", ("text", "json")) == "json"
    pty = settings.maybe_flag("pty")
    return App(
        root=inputs.root,
        types=types,
        extra={name: values.env for name, values in per_type.items() if values.env},
        formation=formation,
        config_vars=inputs.config_vars,
        port_of=_ports(inputs, types),
        look=Look(
            width=prefix_width(formation),
            colour=not json and wants_colour(settings.maybe_flag("color"), 1),
            prefix=settings.flag("prefix", True),
            timestamps=settings.flag("timestamps", True),
            tame=os.isatty(1),
        ),
        json=json,
        pty=os.isatty(1) if pty is None else pty,
        quiet=frozenset(_known(settings.words("quiet"), commands)),
        fail_fast=settings.flag("fail_fast"),
    )


def process_types(
    commands: Mapping[str, str], settings: Settings, per_type: Mapping[str, TypeSettings]
) -> dict[str, ProcessType]:
    """Every type of the Procfile with its rules: its own settings beat the general ones."""
    restart = Restart(settings.choice("restart", RESTARTS) or Restart.ON_FAILURE.value)
    max_restarts = settings.integer("max_restarts")
    general_timeout = settings.duration("stop_timeout")
    types = {}
    for name, command in commands.items():
        own = per_type.get(name, TypeSettings())
        timeout = own.stop_timeout if own.stop_timeout is not None else general_timeout
        ready = own.ready or (Port() if name == WEB else Spawned())
        times = own.max_restarts if own.max_restarts is not None else max_restarts
        policy = Policy(
            restart=restart if own.restart is None else Restart(own.restart),
            max_restarts=times,
            stop_signal=parse_signal(own.stop_signal or "TERM"),
            stop_timeout=STOP_TIMEOUT if timeout is None else timeout,
            boot_timeout=BOOT_TIMEOUT if isinstance(ready, (Port, Http, Log, Exec)) else None,
        )
        types[name] = ProcessType(name, own.command or command, policy, own.after, ready)
    check_order({name: process_type.after for name, process_type in types.items()})
    return types


def _formation(settings: Settings, types: list[str], asked: Sequence[str]) -> dict[str, int]:
    """The quantities to start with: what was asked for, but for `release` and the excepted."""
    text = settings.text("concurrency")
    quantities = dict.fromkeys(types, 1) if text is None else parse_formation(text, types)
    chosen = _known(asked, types) if asked else types
    left_out = _known(settings.words("except"), types)
    formation = {
        name: quantities[name] if name in chosen and name not in left_out else 0 for name in types
    }
    if formation.get(RELEASE):
        formation[RELEASE] = 0
        click.echo("procman: the release type runs once before a release, never by start", err=True)
    if not any(formation.values()):
        raise InputError(
            "nothing to run: every process type is at 0 or left out",
            hint=f"the Procfile has: {', '.join(types)}",
        )
    return formation


def _known(words: Sequence[str], types: Collection[str]) -> Sequence[str]:
    """The words, all of which must be process types, or dynos of one."""
    for word in words:
        if word not in types and word.rpartition(".")[0] not in types:
            raise unknown_type(word, types)
    return words


def _ports(inputs: Inputs, types: Mapping[str, ProcessType]) -> Callable[[str, int], int]:
    """`-p` beats PROCMAN_PORT beats PORT of the environment beats `.env` beats settings."""
    found = inputs.settings.find("port")
    if found is not None and not found[1].startswith(("--", "PROCMAN_")):
        found = None
    for variables, origin in ((os.environ, "PORT"), (inputs.from_files, "PORT in .env")):
        if found is None and "PORT" in variables:
            found = variables["PORT"], origin
    found = found or inputs.settings.find("port")
    if found is None:
        return base_ports(DEFAULT_PORT, types)
    if found[0] == "auto":
        return free_ports()
    return base_ports(parse_base_port(str(found[0]), found[1]), types)
