"""`idle` and `wake`: by hand what an hour without requests, and the next request, do."""

from __future__ import annotations

import click

from procman.cli.options import app_root, common_options
from procman.cli.steer import TARGETS, dyno_names, show_unsettled


@click.command(short_help="Put the web dyno to sleep now.")
@TARGETS
@click.option("--wait", is_flag=True, help="Return when it sleeps.")
@common_options
@click.pass_context
def idle(ctx: click.Context, /, targets: tuple[str, ...], wait: bool, **options: object) -> None:
    """Suspend the lone web dyno, or stop it with `--idle stop`; the next request wakes it.

    Refused, with the reason, when it may not sleep: there are more web dynos than one, requests are
    in flight, `start` was told `--idle off`, or this system could not wake it.
    """
    from procman.runtime.client import ask

    answer = ask(app_root(ctx, options), "idle", targets=list(targets), wait=wait or None)
    click.echo(f"Idling {dyno_names(answer)}... done")


@click.command(short_help="Wake the web dyno that sleeps.")
@TARGETS
@click.option("--wait", is_flag=True, help="Return when it is up.")
@common_options
@click.pass_context
def wake(
    ctx: click.Context, /, targets: tuple[str, ...], wait: bool, **options: object
) -> int | None:
    """Wake what sleeps, as a request would. What is up stays as it is."""
    from procman.runtime.client import ask

    answer = ask(app_root(ctx, options), "wake", targets=list(targets), wait=wait or None)
    click.echo(f"Unidling {dyno_names(answer)}... done")
    return show_unsettled(answer)
