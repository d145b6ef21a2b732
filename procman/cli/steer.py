"""`scale`, `restart`, `stop`, `signal`, `wait`: change or await what the running app does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click

from procman.cli.completion import complete_changes, complete_targets
from procman.cli.options import app_root, common_options, duration
from procman.core.formation import format_formation
from procman.errors import UsageError

Decorated = TypeVar("Decorated", bound=Callable[..., object])

TARGETS = click.argument("targets", nargs=-1, metavar="[TARGET]…", shell_complete=complete_targets)
WAIT = click.option("--wait", is_flag=True, help="Return when it is done and all is up again.")
NOW = click.option("--now", is_flag=True, help="SIGKILL, without a grace.")


@click.command(
    short_help="Change how many dynos run: `worker=3 web+1`.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument(
    "changes",
    nargs=-1,
    metavar="[TYPE=N|TYPE+N|TYPE-N]…",
    shell_complete=complete_changes,
)
@WAIT
@common_options
@click.pass_context
def scale(
    ctx: click.Context, /, changes: tuple[str, ...], wait: bool, **options: object
) -> int | None:
    """Set, raise or lower the number of dynos of process types; `all=1` means every type.

    Without arguments it prints the formation in a form that can be typed back. Every argument is
    checked before anything changes; the dynos with the highest numbers go first.
    """
    from procman.runtime.client import ask

    answer = ask(app_root(ctx, options), "scale", changes=list(changes), wait=wait or None)
    if not changes:
        click.echo(format_formation(_quantities(answer["formation"])))
        return None
    now = _quantities(answer["changed"])
    running = ", ".join(f"{name} at {quantity}" for name, quantity in now.items())
    click.echo(f"Scaling dynos... done, now running {running}")
    return show_unsettled(answer)


@click.command(short_help="Restart dynos: types, `web.1`, or globs; none means all.")
@TARGETS
@WAIT
@NOW
@click.option(
    "--preboot/--no-preboot",
    default=None,
    help="Start new web dynos beside the old, switch when they are up; default: as start was told.",
)
@common_options
@click.pass_context
def restart(
    ctx: click.Context,
    /,
    targets: tuple[str, ...],
    wait: bool,
    now: bool,
    preboot: bool | None,
    **options: object,
) -> int | None:
    """Restart dynos. A TARGET is a process type, a dyno or a glob; none means all.

    Those that crashed or were stopped are started again, at once. With --preboot a web dyno behind
    the router stays until its new boot is up, and for good when that never is.
    """
    from procman.runtime.client import ask

    answer = ask(
        app_root(ctx, options),
        "restart",
        targets=list(targets),
        wait=wait or None,
        now=now or None,
        preboot=preboot,
    )
    click.echo(f"Restarting {dyno_names(answer)}... done")
    return show_unsettled(answer)


@click.command(short_help="Stop dynos; without a target, the app.")
@TARGETS
@WAIT
@NOW
@common_options
@click.pass_context
def stop(
    ctx: click.Context, /, targets: tuple[str, ...], wait: bool, now: bool, **options: object
) -> None:
    """Stop dynos, which stay down until restarted or scaled. Without a TARGET, stop the app.

    A TARGET is a process type, a dyno or a glob such as 'work*'.
    """
    from procman.runtime.client import ask
    from procman.runtime.home import Home

    root = app_root(ctx, options)
    answer = ask(root, "stop", targets=list(targets), wait=wait or None, now=now or None)
    if not targets and wait:
        Home(root).wait_until_free()
    what = dyno_names(answer) if targets else "the app"
    click.echo(f"Stopping {what}... done")


@click.command(short_help="Send a signal to dynos: `signal HUP web`.")
@click.argument("name", metavar="SIGNAL")
@TARGETS
@common_options
@click.pass_context
def signal(ctx: click.Context, /, name: str, targets: tuple[str, ...], **options: object) -> None:
    """Send SIGNAL (`HUP`, `SIGUSR1`, `10`) to the processes of dynos; without a TARGET, to all."""
    from procman.cli.signals import parse_signal
    from procman.runtime.client import ask

    number = int(parse_signal(name))
    answer = ask(app_root(ctx, options), "signal", targets=list(targets), number=number)
    click.echo(f"Sending {name.upper()} to {dyno_names(answer)}... done")


@click.command(short_help="Wait until the app, or some dynos, are up.")
@TARGETS
@click.option("--timeout", metavar="TIME", default="60s", help="How long.  Default: 60s")
@common_options
@click.pass_context
def wait(
    ctx: click.Context, /, targets: tuple[str, ...], timeout: str, **options: object
) -> int | None:
    """Return when all are up (or have finished with status 0); else 1, and who is not and why."""
    from procman.runtime.client import ask

    seconds = duration("--timeout", timeout)
    if seconds <= 0:
        raise UsageError("--timeout must be more than nothing")
    answer = ask(app_root(ctx, options), "wait", targets=list(targets), timeout=seconds)
    return show_unsettled(answer)


def show_unsettled(answer: Mapping[str, object]) -> int | None:
    """Who is not up, and why: status 1 when there is somebody."""
    waiting = answer.get("unsettled")
    if not isinstance(waiting, dict) or not waiting:
        return None
    for name, reason in waiting.items():
        click.echo(f"procman: {name} is not up: {reason}", err=True)
    return 1


def _quantities(value: object) -> dict[str, int]:
    return {str(k): int(v) for k, v in value.items()} if isinstance(value, dict) else {}


def dyno_names(answer: Mapping[str, object]) -> str:
    """Of whom an answer speaks."""
    names = answer.get("dynos")
    words: Sequence[object] = names if isinstance(names, list) else []
    if not words:
        return "no dynos"
    return ", ".join(map(str, words[:5])) + (f" and {len(words) - 5} more" if words[5:] else "")
