"""When web dynos sleep, why not, and what becomes of them: stories in virtual time."""

from __future__ import annotations

import pytest

from procman.core.bedtime import is_deserted, why_awake
from procman.core.dyno import (
    Effects,
    Exited,
    Freeze,
    Idle,
    Policy,
    Ready,
    Restart,
    Say,
    Signal,
    Spawn,
    State,
    Thaw,
)
from procman.core.fleet import Fleet, ProcessType

HOUR = 3600.0


def fleet_of(policy: Policy, **quantities: int) -> Fleet:
    """Up, at time 0."""
    types = {name: ProcessType(name, "x", policy) for name in quantities}
    fleet = Fleet(types, idle_timeout=HOUR)
    for effect in fleet.scale(quantities, 0.0):
        if isinstance(effect, Spawn):
            fleet.observe(Ready(effect.dyno, effect.boot), 0.0)
    return fleet


def lone(*, routed: bool = True, idle: Idle = Idle.SUSPEND, after: float | None = None) -> Fleet:
    """One web dyno."""
    return fleet_of(Policy(routed=routed, idle=idle, idle_stop_after=after), web=1)


def said(effects: Effects) -> list[str]:
    """The lines among the effects."""
    return [effect.text for effect in effects if isinstance(effect, Say)]


def done(effects: Effects) -> list[type]:
    """The others, by kind."""
    return [type(effect) for effect in effects if not isinstance(effect, Say)]


def test_a_lone_web_dyno_sleeps_an_hour_after_the_last_request_ended() -> None:
    """And not while there is one, however long it takes."""
    fleet = lone()
    fleet.quiet_since = None
    assert fleet.bedtime is None
    assert fleet.tick(10 * HOUR) == ()
    fleet.quiet_since = 10 * HOUR
    assert fleet.deadline == 11 * HOUR
    assert fleet.tick(11 * HOUR - 0.1) == ()
    effects = fleet.tick(11 * HOUR)
    assert said(effects) == ["Idling"]
    assert done(effects) == [Freeze]
    assert fleet.asleep == {"web.1"}


def test_whoever_asks_waits_for_the_thaw_and_not_for_the_log() -> None:
    """The thaw comes first; asked again, there is nothing to do."""
    fleet = lone()
    fleet.idle(["web.1"], 1.0)
    effects = fleet.wake(2.0)
    assert isinstance(effects[0], Thaw)
    assert said(effects) == ["Unidling"]
    assert fleet.wake(2.0) == ()
    assert fleet.asleep == set()
    assert fleet.bedtime == (2.0 + HOUR, "web.1")


def test_one_that_was_stopped_to_sleep_says_so_in_herokus_words() -> None:
    """Idling, to idle; unidling, to starting."""
    fleet = lone(idle=Idle.STOP)
    assert said(fleet.idle(["web.1"], 1.0)) == ["Idling"]
    fleet.tick(20.0)  # drained in vain
    assert said(fleet.observe(Exited("web.1", 1, -15), 21.0)) == [
        "stopped, killed by SIGTERM after 21s",
        "State changed from stopping to idle",
    ]
    effects = fleet.wake(22.0)
    assert said(effects) == ["Unidling", "State changed from idle to starting"]
    assert done(effects) == [Spawn]


def test_one_that_sleeps_for_long_is_stopped_where_asked_to() -> None:
    """Its deadline is the fleet's."""
    fleet = lone(after=60.0)
    fleet.idle(["web.1"], 1.0)
    assert fleet.deadline == 61.0
    assert Signal in done(fleet.tick(61.0))
    fleet.observe(Exited("web.1", 1, -15), 62.0)
    assert fleet.dynos["web.1"].state is State.IDLE


def test_one_that_dies_in_its_sleep_rests_behind_a_router_and_is_booted_without() -> None:
    """A router hears who asks; without one nobody would."""
    behind, alone = lone(), lone(routed=False)
    for fleet in (behind, alone):
        fleet.idle(["web.1"], 1.0)
    assert Spawn not in done(behind.observe(Exited("web.1", 1, -9), 2.0))
    assert behind.dynos["web.1"].state is State.IDLE
    assert Spawn in done(alone.observe(Exited("web.1", 1, -9), 2.0))
    assert alone.asleep == set()


def test_a_restart_a_scale_and_a_stop_end_the_sleep() -> None:
    """Nobody is taken for asleep who is not."""
    for intent in ("restart", "scale", "stop"):
        fleet = lone()
        fleet.idle(["web.1"], 1.0)
        match intent:
            case "restart":
                fleet.restart(["web.1"], 2.0)
            case "scale":
                fleet.scale({"web": 2}, 2.0)
            case _:
                fleet.stop(["web.1"], 2.0)
        assert fleet.asleep == set()
        assert fleet.wake(3.0) == ()


def test_a_new_boot_that_takes_the_place_of_a_sleeper_is_awake() -> None:
    """A redeploy with preboot."""
    fleet = lone()
    fleet.idle(["web.1"], 1.0)
    fleet.preboot(["web.1"], 2.0)
    fleet.observe(Ready("web.1", 2), 3.0)
    assert fleet.dynos["web.1"].state is State.UP
    assert fleet.asleep == set()


@pytest.mark.parametrize(
    ("fleet", "name", "reason"),
    [
        (fleet_of(Policy(idle=Idle.SUSPEND), web=1, a=1), "a.1", "only web dynos sleep"),
        (fleet_of(Policy(idle=Idle.SUSPEND), web=2), "web.1", "web is scaled to 2"),
        (lone(idle=Idle.OFF), "web.1", "--idle off"),
    ],
)
def test_who_may_not_sleep_is_told_why(fleet: Fleet, name: str, reason: str) -> None:
    """And does not."""
    assert reason in (why_awake(fleet, name) or "")


def test_neither_a_busy_nor_a_starting_nor_a_crashed_dyno_sleeps() -> None:
    """The reason is its state."""
    fleet = lone()
    fleet.quiet_since = None
    assert "in flight" in (why_awake(fleet, "web.1") or "")
    fleet.quiet_since = 0.0
    assert why_awake(fleet, "web.1") is None
    fleet.observe(Exited("web.1", 1, 1), 1.0)
    assert why_awake(fleet, "web.1") == "web.1 is starting"
    fleet.observe(Exited("web.1", 2, 1), 2.0)
    assert why_awake(fleet, "web.1") == "web.1 is crashed"
    assert fleet.idle(["web.1"], 3.0) == ()


def test_one_that_sleeps_or_falls_asleep_may_do_so() -> None:
    """Asked twice is no error."""
    fleet = lone(idle=Idle.STOP)
    fleet.idle(["web.1"], 1.0)
    assert fleet.dynos["web.1"].state is State.STOPPING
    assert why_awake(fleet, "web.1") is None
    fleet.tick(20.0)
    fleet.observe(Exited("web.1", 1, 0), 21.0)
    assert why_awake(fleet, "web.1") is None


def test_a_port_is_deserted_when_no_web_dyno_will_come_by_itself() -> None:
    """Not while one sleeps, restarts or waits for its next try."""
    fleet = lone()
    assert not is_deserted(fleet)
    fleet.observe(Exited("web.1", 1, 1), 1.0)
    assert not is_deserted(fleet)
    fleet.stop(["web.1"], 2.0)
    assert not is_deserted(fleet)  # it serves on until it ends
    fleet.observe(Exited("web.1", 2, -15), 3.0)
    assert is_deserted(fleet)
    fleet.restart(["web.1"], 3.0)
    assert not is_deserted(fleet)
    never = fleet_of(Policy(restart=Restart.NEVER), web=1, a=1)
    never.observe(Exited("web.1", 1, 1), 1.0)
    assert is_deserted(never)
    assert is_deserted(fleet_of(Policy(), a=1))
