"""Whether dynos that move to another release have come up: a question, asked after every event.

Web dynos behind the router get a successor beside them, the others are stopped and started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import assert_never

from procman.core.dyno import Dyno, Effects, State, Want
from procman.core.fleet import WEB, Fleet, ProcessType
from procman.core.status import is_hopeless, is_settled, why_not_up


class Verdict(Enum):
    """How far one dyno has come."""

    WAITING = "waiting"
    UP = "up"
    FAILED = "failed"


def movable(fleet: Fleet) -> tuple[list[str], list[str]]:
    """The web dynos and the others, of those that are to run. Who is stopped stays so."""
    wanted = [name for name, dyno in fleet.dynos.items() if dyno.want is not Want.DOWN]
    web = [name for name in wanted if fleet.dynos[name].type == WEB]
    return web, [name for name in wanted if name not in web]


def comes_after(types: Mapping[str, ProcessType], of_type: str) -> frozenset[str]:
    """The types that must be ready before this one, and those that must be before these."""
    found: set[str] = set()
    rest = [of_type]
    while rest:
        name = rest.pop()
        new = set(types[name].after if name in types else ()) - found
        found |= new
        rest += new
    return frozenset(found)


def newest(fleet: Fleet, names: Iterable[str]) -> dict[str, int]:
    """The highest boot number that each dyno has given; what moves gets a higher one."""
    return {name: max(fleet.dynos[name].boot, fleet.dynos[name].taken) for name in names}


def verdict(fleet: Fleet, name: str, before: int) -> Verdict:
    """Of a dyno that is moving; `before` is of `newest`. One crash is a failure.

    One that was stopped or scaled away meanwhile has nothing to come up for.
    """
    dyno = fleet.dynos.get(name)
    if dyno is None or dyno.want is Want.DOWN:
        return Verdict.UP
    if dyno.boot <= before:
        return Verdict.FAILED if lost_successor(fleet, dyno, before) else Verdict.WAITING
    crashed_before = dyno.boot > before + 1 and dyno.crashes > 0
    if crashed_before or dyno.state is State.CRASHED or is_hopeless(dyno):
        return Verdict.FAILED
    return Verdict.UP if is_settled(dyno) else Verdict.WAITING


def lost_successor(fleet: Fleet, dyno: Dyno, before: int) -> bool:
    """Whether the boot beside a dyno, that was to take its place, has come and gone."""
    return dyno.taken > before and fleet.beside.successor_of(dyno.name) is None


def verdicts(fleet: Fleet, before: Mapping[str, int]) -> Verdict:
    """Of all together: failed when one has, up when all are."""
    every = {verdict(fleet, name, boot) for name, boot in before.items()}
    if Verdict.FAILED in every:
        return Verdict.FAILED
    return Verdict.WAITING if Verdict.WAITING in every else Verdict.UP


def complaint(fleet: Fleet, before: Mapping[str, int]) -> str:
    """`web.1 did not come up`, of the first that failed, else of the first that is late."""
    found = {name: verdict(fleet, name, boot) for name, boot in before.items()}
    for wanted in (Verdict.FAILED, Verdict.WAITING):
        for name, which in found.items():
            if which is wanted:
                return _reason(fleet, fleet.dynos[name], before[name], which)
    return "the app is ending"


def call_off(fleet: Fleet, now: float) -> Effects:
    """Stop the successors that are not up yet."""
    effects: Effects = ()
    for dyno in fleet.beside:
        if dyno.want is Want.UP:
            effects += fleet.beside.stop(dyno.name, now, fleet.types[dyno.type].policy)
    return effects


def _reason(fleet: Fleet, dyno: Dyno, before: int, which: Verdict) -> str:
    match which:
        case Verdict.FAILED if dyno.boot <= before:
            return f"{dyno.name} did not come up"
        case Verdict.FAILED:
            return f"{dyno.name} did not come up: {why_not_up(fleet, dyno) or 'it crashed'}"
        case Verdict.WAITING:
            return f"{dyno.name} is not up in time"
        case Verdict.UP:
            raise AssertionError(dyno)
        case _:
            assert_never(which)
