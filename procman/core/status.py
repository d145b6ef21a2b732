"""What `ps` and `wait` tell: the fleet as rows, as text of the field's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from procman.core.dyno import LIVE, Dyno, State
from procman.core.exits import describe_exit, shell_status
from procman.core.fleet import Fleet
from procman.core.readiness import Spawned, describe_wait

# A dyno without a check of its readiness counts as up when it is spawned. A wrong command ends in
# milliseconds, a program with an import that fails in some tenths of a second: so who waits for it
# believes it when it has not ended for this long.
STEADY = 1.0
PATIENCE = 60.0  # seconds for what is waited for to come up; Heroku's boot timeout


@dataclass(frozen=True, slots=True)
class Row:
    """A dyno as `ps --json` shows it, but for CPU and memory, which the asker reads itself.

    `since` is the wall clock in seconds; `retry_in` seconds; `exit_status` a shell's, of the last
    boot that ended, and `last_exit` the same in words; `reason` why it is not up.
    """

    dyno: str
    type: str
    state: str
    pid: int | None
    port: int | None
    boot: int
    restarts: int
    release: str | None
    since: float
    exit_status: int | None
    last_exit: str | None
    retry_in: float | None
    command: str
    reason: str | None


def row(
    fleet: Fleet,
    dyno: Dyno,
    *,
    now: float,
    wall: float,
    pid: int | None,
    port: int | None,
    release: str | None,
) -> Row:
    """One dyno; `now` and `wall` are the same moment on the monotonic and on the wall clock."""
    waiting = dyno.state is State.CRASHED and dyno.deadline is not None
    return Row(
        dyno=dyno.name,
        type=dyno.type,
        state=dyno.state.value,
        pid=pid if dyno.state in LIVE else None,
        port=port,
        boot=dyno.boot,
        restarts=max(0, dyno.boot - 1),
        release=release,
        since=wall - (now - dyno.since),
        exit_status=None if dyno.status is None else shell_status(dyno.status),
        last_exit=None if dyno.status is None else describe_exit(dyno.status),
        retry_in=max(0.0, (dyno.deadline or now) - now) if waiting else None,
        command=fleet.types[dyno.type].command,
        reason=why_not_up(fleet, dyno),
    )


def is_settled(dyno: Dyno) -> bool:
    """Whether a dyno that is wanted has come up, or has done its work."""
    done = (State.UP, State.SUSPENDED, State.IDLE)
    return dyno.state in done or (dyno.state is State.FINISHED and dyno.status == 0)


def steady_at(fleet: Fleet, names: Iterable[str]) -> float:
    """The moment from which these, if all are up and stay so, are believed to be."""
    dynos = [fleet.dynos[name] for name in names if name in fleet.dynos]
    unchecked = (d for d in dynos if isinstance(fleet.types[d.type].ready, Spawned))
    return max((d.booted_at + STEADY for d in unchecked if d.state is State.UP), default=0.0)


def is_hopeless(dyno: Dyno) -> bool:
    """Whether waiting for it is in vain: it failed for good."""
    return dyno.has_given_up or (dyno.state is State.FINISHED and dyno.status != 0)


def why_not_up(fleet: Fleet, dyno: Dyno) -> str | None:
    """In a few words why a dyno is not up; None when it is."""
    if is_settled(dyno):
        return None
    match dyno.state:
        case State.DOWN:
            waits = fleet.waits_for(dyno.type)
            if waits:
                return f"waits for {', '.join(waits)}"
            holder = fleet.port_holder(dyno.name)
            return "stopped" if holder is None else f"waits for {holder} to leave its port"
        case State.STARTING:
            missing = describe_wait(fleet.types[dyno.type].ready)
            return f"not ready yet: {missing}" if missing else "not ready yet"
        case State.STOPPING:
            return "stopping"
        case State.CRASHED | State.FINISHED:
            what = describe_exit(dyno.status or 0)
            return f"crashed, {what}" if dyno.deadline is not None else f"gave up, {what}"
        case State.UP | State.SUSPENDED | State.IDLE:
            return None


def unsettled(fleet: Fleet, names: Iterable[str]) -> Mapping[str, str]:
    """The dynos among `names` that are not up, each with the reason."""
    found = {}
    for name in names:
        dyno = fleet.dynos.get(name)
        reason = None if dyno is None else why_not_up(fleet, dyno)
        if reason is not None:
            found[name] = reason
    return found
