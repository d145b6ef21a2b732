"""`procman start`: run the app until it ends or is stopped."""

from __future__ import annotations

import os

import click

from procman.cli.completion import complete_types
from procman.cli.options import OPTION_NAMES, common_options, formation_option, given, option
from procman.cli.plan import plan
from procman.cli.problems import show_problems
from procman.cli.release_option import ReleaseCommand, release_option
from procman.core.settings import RESTARTS
from procman.errors import InputError
from procman.runtime.app import start as start_app
from procman.runtime.blueprint import App
from procman.runtime.inputs import Inputs, read_inputs


@click.command(cls=ReleaseCommand, short_help="Run the app: all process types, or the named ones.")
@click.argument("types", nargs=-1, metavar="[TYPE]…", shell_complete=complete_types)
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
@option("--router/--no-router", help="A router before the web dynos; default: if there is web.")
@option("--host", metavar="HOST", help="Where the router listens.  Default: 127.0.0.1")
@option("--idle", metavar="suspend|stop|off", help="How a lone web dyno sleeps.  Default: suspend")
@option(
    "--idle-timeout", metavar="TIME", help="Sleep after so long without a request.  Default: 1h"
)
@option("--idle-stop-after", metavar="TIME", help="Stop a dyno suspended for so long.")
@option("--request-timeout", metavar="TIME", help="Answer 503 (H12) after so long; default: never.")
@option("--boot-timeout", metavar="TIME", help="When a web dyno is late (R10).  Default: 60s")
@option("--boot-timeout-kill/--no-boot-timeout-kill", help="Kill and retry a late web dyno.")
@option("--router-log", metavar="errors|all|off", help="Which requests to log.  Default: errors")
@option("--watch/--no-watch", help="Redeploy what a save concerns; .env and Procfile count, too.")
@option(
    "--preboot/--no-preboot", help="Start new web dynos beside the old, switch when they are up."
)
@click.option(
    "-D", "--detach", is_flag=True, help="Return when the app is up; it runs on by itself."
)
@release_option("Run this release, each dyno in a copy of its slug; without vN the current one.")
@common_options
@click.pass_context
def start(
    ctx: click.Context,
    /,
    types: tuple[str, ...],
    detach: bool,
    release: str | None,
    **options: object,
) -> int:
    """Run the app in this terminal until it ends or Ctrl-C stops it.

    Without TYPEs all process types of the Procfile run, but for `release`. The exit status is 0
    when all have finished; that of the first that failed for good; 130, 143 or 129 after SIGINT,
    SIGTERM or SIGHUP.

    Detached, its dynos have terminals (see `attach`), and its log is what `logs` shows. When it
    does not come up, it is stopped, and the status is 1.
    """
    asked = given(ctx, options)
    inputs = read_inputs(asked, os.environ, OPTION_NAMES, need_procfile=release is None)
    if release is not None:
        if asked.get("watch"):
            raise InputError(
                "--watch with --release: what was released does not change",
                hint="`procman deploy` releases what was saved",
            )
        from procman.cli.released import plan_release

        app = plan_release(inputs, types, release)
    else:
        inputs.procfile.require_valid()
        show_problems(inputs.procfile)
        app = plan(inputs, types)
        if inputs.settings.flag("watch"):
            from procman.cli.watching import watching

            app = watching(app, inputs, asked, types)
    return _detach(app, inputs) if detach else start_app(app)


def _detach(app: App, inputs: Inputs) -> int:
    from dataclasses import replace

    from procman.runtime.detach import start_detached

    if inputs.settings.maybe_flag("pty") is None:
        app = replace(app, pty=True)
    launched = start_detached(app)
    if isinstance(launched, int):
        return launched
    names = list(launched.dynos)
    up = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
    where = "" if launched.url is None else f" on {launched.url}"
    click.echo(f"Starting app... done, {up} up{where} under pid {launched.pid}")
    if launched.no_history is None:
        click.echo("`procman logs -f` shows what they write, `procman ps` how they are,")
    else:
        click.echo(f"procman: {launched.no_history}", err=True)
        click.echo("`procman ps` shows how they are,")
    click.echo("`procman attach DYNO` lets you type into one, `procman stop` ends the app.")
    return 0
