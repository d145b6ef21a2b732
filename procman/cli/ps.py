"""`procman ps`: the dynos of the running app."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click

from procman.cli.completion import complete_targets
from procman.cli.options import app_root, common_options
from procman.core.durations import format_duration
from procman.core.sizes import format_bytes

REQUESTS = "REQUESTS"  # a column only where a router counts them
HEADINGS = (
    "DYNO",
    "STATE",
    "PID",
    "PORT",
    "FOR",
    "RESTARTS",
    "LAST EXIT",
    "CPU",
    "MEMORY",
    REQUESTS,
    "COMMAND",
)
_NUMBERS = {"PID", "PORT", "RESTARTS", "CPU", "MEMORY"}


@click.command(short_help="Show the dynos: state, pid, port, restarts, last exit, memory.")
@click.argument("targets", nargs=-1, metavar="[TARGET]…", shell_complete=complete_targets)
@click.option("--json", "as_json", is_flag=True, help="One JSON object; see the README.")
@common_options
@click.pass_context
def ps(ctx: click.Context, /, targets: tuple[str, ...], as_json: bool, **options: object) -> None:
    """Show the dynos of the running app. A TARGET is a process type, a dyno or a glob.

    CPU is the processor time used and MEMORY the resident memory, both of all processes of a dyno.
    """
    from procman.runtime.client import ask

    answer = ask(app_root(ctx, options), "ps", targets=list(targets))
    dynos = with_usage(answer["dynos"])
    if as_json:
        import json

        kept = [{key: dyno[key] for key in _keys(dyno)} for dyno in dynos]
        order = ("app", "pid", "url", "formation", "release")
        click.echo(json.dumps({**{key: answer.get(key) for key in order}, "dynos": kept}, indent=2))
        return
    for line in table(dynos, time.time()):
        click.echo(line)


JSON_KEYS = (
    "dyno",
    "type",
    "state",
    "pid",
    "port",
    "boot",
    "restarts",
    "release",
    "since",
    "exit_status",
    "retry_in",
    "cpu",
    "rss",
    "command",
)
COUNTS = ("in_flight", "served", "per_second")  # besides, where a router counts


def _keys(dyno: Mapping[str, object]) -> Sequence[str]:
    return JSON_KEYS if dyno["served"] is None else (*JSON_KEYS, *COUNTS)


def with_usage(dynos: object) -> list[dict[str, object]]:
    """The rows of the answer with `cpu` (seconds) and `rss` (bytes) of each dyno's processes."""
    from procman.runtime.tree import usage_of

    rows = [dict(row) for row in dynos if isinstance(row, dict)] if isinstance(dynos, list) else []
    for row in rows:
        pid = row["pid"]
        usage = usage_of(pid) if isinstance(pid, int) else None
        row["cpu"] = None if usage is None else round(usage.cpu_seconds, 2)
        row["rss"] = None if usage is None else usage.rss_bytes
    return rows


def table(dynos: Sequence[Mapping[str, object]], now: float) -> list[str]:
    """Aligned lines, a heading first."""
    counts = any(dyno["served"] is not None for dyno in dynos)
    headings = [name for name in HEADINGS if counts or name != REQUESTS]
    columns = [HEADINGS.index(name) for name in headings]
    rows = [[cells[at] for at in columns] for cells in (_cells(dyno, now) for dyno in dynos)]
    widths = [max(len(row[at]) for row in [headings, *rows]) for at in range(len(headings))]
    return [_line(row, headings, widths) for row in [headings, *rows]]


def _line(row: Sequence[str], headings: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if heading in _NUMBERS else cell.ljust(width)
        for cell, width, heading in zip(row, widths, headings, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _cells(dyno: Mapping[str, object], now: float) -> tuple[str, ...]:
    since, retry, rss = dyno["since"], dyno["retry_in"], dyno["rss"]
    last = str(dyno["last_exit"] or "")
    if isinstance(retry, float):
        last += f", retry in {format_duration(retry)}"
    return (
        str(dyno["dyno"]),
        str(dyno["state"]),
        _or_dash(dyno["pid"]),
        _or_dash(dyno["port"]),
        format_duration(max(0.0, now - since)) if isinstance(since, float) else "-",
        str(dyno["restarts"]),
        last or "-",
        "-" if dyno["cpu"] is None else f"{dyno['cpu']:.1f}s",
        format_bytes(rss) if isinstance(rss, int) else "-",
        _requests(dyno),
        str(dyno["command"]),
    )


def _requests(dyno: Mapping[str, object]) -> str:
    """`2 now, 1024 in all, 3.1/s`."""
    if dyno["served"] is None:
        return "-"
    return f"{dyno['in_flight']} now, {dyno['served']} in all, {dyno['per_second']}/s"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
