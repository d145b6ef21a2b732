"""What a request can hope for while no web dyno is ready, read off the fleet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from procman.core.codes import Code
from procman.core.dyno import Dyno, State, Want
from procman.core.exits import describe_exit
from procman.core.fleet import WEB, Fleet
from procman.core.routing import Outage, Outlook, Waiting


def outlook(fleet: Fleet, now: float, last_lines: Callable[[str], Sequence[bytes]]) -> Outlook:
    """Whether a web dyno will be up without anybody's doing, else what is known of the outage.

    A crashed dyno that waits for its next try is an outage: its visitor is a developer, who wants
    to see what crashed, not a page that loads for a minute.
    """
    dynos = [dyno for dyno in fleet.dynos.values() if dyno.type == WEB]
    if fleet.is_ending:
        return Outage(Code.H14, status_line="the app is being stopped")
    if any(_will_serve(dyno, now) for dyno in dynos):
        return Waiting.SERVE_SOON
    crashed = [d for d in dynos if d.state in (State.CRASHED, State.FINISHED)]
    if not crashed:
        what = "is scaled to 0" if not fleet.formation.get(WEB) else "is stopped"
        return Outage(Code.H14, status_line=f"web {what}", remedy="procman scale web=1")
    last = max(crashed, key=lambda dyno: dyno.since)
    return Outage(
        Code.H10,
        dyno=last.name,
        status_line=f"exited, {describe_exit(last.status or 0)}",
        last_lines=last_lines(last.name),
        retry_in=None if last.deadline is None else max(0.0, last.deadline - now),
    )


def _will_serve(dyno: Dyno, now: float) -> bool:
    """Whether it is up or on its way there."""
    match dyno.state:
        case State.STARTING | State.UP:
            return True
        case State.SUSPENDED | State.IDLE | State.STOPPING | State.DOWN:
            return dyno.want is not Want.DOWN
        case State.CRASHED:
            return dyno.deadline is not None and dyno.deadline <= now
        case State.FINISHED:
            return False
