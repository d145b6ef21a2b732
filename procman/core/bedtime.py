"""Why a dyno may not sleep, in words for who asked it to."""

from __future__ import annotations

from procman.core.dyno import Dyno, Idle, State, Want
from procman.core.fleet import WEB, Fleet


def why_awake(fleet: Fleet, name: str) -> str | None:
    """The reason, or None when it may sleep, or does so already. The data path may have others."""
    dyno = fleet.dynos[name]
    if dyno.type != WEB:
        return f"only web dynos sleep: no request would wake {name}"
    if fleet.formation.get(WEB, 0) > 1:
        return f"web is scaled to {fleet.formation[WEB]}: only a lone web dyno sleeps"
    if fleet.types[WEB].policy.idle is Idle.OFF:
        return "web dynos do not sleep here: --idle off"
    match dyno.state:
        case State.SUSPENDED | State.IDLE:
            return None
        case State.UP if dyno.out_of_date:
            return f"{name} is being replaced"
        case State.UP if fleet.quiet_since is None:
            return f"{name} has requests in flight"
        case State.UP:
            return None
        case State.STOPPING if name in fleet.asleep:
            return None  # it is falling asleep
        case _:
            return f"{name} is {dyno.state.value}"


def is_deserted(fleet: Fleet) -> bool:
    """Whether no web dyno is there, or will be without anybody's doing: who asks asks in vain."""
    dynos = [dyno for dyno in fleet.dynos.values() if dyno.type == WEB]
    return not any(dyno.is_live or _will_boot(dyno) for dyno in dynos)


def _will_boot(dyno: Dyno) -> bool:
    is_done = dyno.has_given_up or dyno.state is State.FINISHED
    return dyno.want is not Want.DOWN and not is_done
