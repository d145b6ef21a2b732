"""A new boot beside the old one: it takes the place when it is ready, and not before."""

from __future__ import annotations

from procman.core.dyno import (
    Drain,
    Drained,
    Effects,
    Exited,
    Kill,
    Policy,
    Ready,
    Signal,
    Spawn,
    State,
)
from procman.core.fleet import Ends, Fleet, ProcessType


def a_fleet() -> Fleet:
    """web.1, up as boot 1, behind a router."""
    fleet = Fleet({"web": ProcessType("web", "serve", Policy(routed=True))}, ends=Ends.DONE)
    fleet.scale({"web": 1}, 0.0)
    fleet.observe(Ready("web.1", 1), 0.0)
    return fleet


def acts(effects: Effects) -> list[object]:
    """What is done, without what is said."""
    return [e for e in effects if isinstance(e, (Spawn, Signal, Drain, Kill))]


def test_the_old_boot_serves_until_the_new_one_is_ready_and_is_drained_then() -> None:
    """New beside old, switch, drain, stop."""
    fleet = a_fleet()
    assert acts(fleet.preboot(["web.1"], 1.0)) == [Spawn("web.1", 2)]
    assert (fleet.dynos["web.1"].boot, fleet.dynos["web.1"].state) == (1, State.UP)
    assert acts(fleet.observe(Ready("web.1", 2), 2.0)) == [Drain("web.1", 1)]
    assert (fleet.dynos["web.1"].boot, fleet.dynos["web.1"].state) == (2, State.UP)
    assert acts(fleet.observe(Drained("web.1", 1), 3.0)) == [Signal("web.1", 1, 15)]
    assert acts(fleet.observe(Exited("web.1", 1, -15), 4.0)) == []
    assert not list(fleet.beside)
    assert fleet.dynos["web.1"].state is State.UP


def test_the_old_boot_stays_when_the_new_one_does_not_come_up() -> None:
    """One try: a crash of the new boot is told, and not repeated."""
    fleet = a_fleet()
    fleet.preboot(["web.1"], 1.0)
    effects = fleet.observe(Exited("web.1", 2, 1), 2.0)
    assert acts(effects) == []
    assert "the old one stays" in repr(effects)
    assert (fleet.dynos["web.1"].boot, fleet.dynos["web.1"].state) == (1, State.UP)


def test_a_new_boot_that_is_late_is_killed_and_the_old_one_stays() -> None:
    """The boot timeout bounds it."""
    fleet = a_fleet()
    fleet.preboot(["web.1"], 1.0)
    assert fleet.deadline == 61.0
    assert acts(fleet.tick(61.0)) == [Kill("web.1", 2)]
    fleet.observe(Exited("web.1", 2, -9), 61.0)
    assert fleet.dynos["web.1"].boot == 1


def test_a_second_change_gives_up_the_first_ones_boot() -> None:
    """Numbers are never given twice, whatever was stopped in between."""
    fleet = a_fleet()
    fleet.preboot(["web.1"], 1.0)
    assert acts(fleet.preboot(["web.1"], 2.0)) == [
        Drain("web.1", 2),
        Signal("web.1", 2, 15),
        Spawn("web.1", 3),
    ]
    fleet.observe(Ready("web.1", 3), 3.0)
    assert fleet.dynos["web.1"].boot == 3
    fleet.observe(Exited("web.1", 2, -15), 4.0)
    fleet.observe(Exited("web.1", 1, -15), 4.0)
    assert not list(fleet.beside)


def test_a_new_boot_takes_the_place_of_an_old_one_that_dies() -> None:
    """What is starting already is not started twice."""
    fleet = a_fleet()
    fleet.preboot(["web.1"], 1.0)
    assert acts(fleet.observe(Exited("web.1", 1, 1), 2.0)) == []
    assert (fleet.dynos["web.1"].boot, fleet.dynos["web.1"].state) == (2, State.STARTING)
    assert acts(fleet.observe(Exited("web.1", 2, 1), 3.0)) == [Spawn("web.1", 3)]


def test_the_end_of_the_app_ends_both() -> None:
    """Nobody is left behind in the middle of a preboot."""
    fleet = a_fleet()
    fleet.preboot(["web.1"], 1.0)
    effects = acts(fleet.end(143, 2.0))
    assert Signal("web.1", 1, 15) in effects
    assert Signal("web.1", 2, 15) in effects
    fleet.observe(Exited("web.1", 1, -15), 3.0)
    assert not fleet.is_over
    fleet.observe(Exited("web.1", 2, -15), 3.0)
    assert fleet.is_over


def test_the_exit_of_a_predecessor_is_the_dynos_last_exit() -> None:
    """As after a restart without a preboot; that of a new boot that did not come up is, too."""
    fleet = a_fleet()
    fleet.preboot(["web.1"], 1.0)
    fleet.observe(Ready("web.1", 2), 2.0)
    assert (fleet.dynos["web.1"].boot, fleet.dynos["web.1"].status) == (2, None)
    fleet.observe(Exited("web.1", 1, -15), 3.0)
    assert (fleet.dynos["web.1"].boot, fleet.dynos["web.1"].status) == (2, -15)
    fleet.preboot(["web.1"], 4.0)
    fleet.observe(Exited("web.1", 3, 1), 5.0)
    assert (fleet.dynos["web.1"].boot, fleet.dynos["web.1"].status) == (2, 1)


def test_the_exit_of_a_predecessor_hides_no_crash_of_its_successor() -> None:
    """It may drain for long: why the dyno has crashed is not that another was drained."""
    fleet = a_fleet()
    fleet.preboot(["web.1"], 1.0)
    fleet.observe(Ready("web.1", 2), 2.0)
    fleet.observe(Exited("web.1", 2, 3), 3.0)
    fleet.tick(3.0)
    fleet.observe(Exited("web.1", 3, 3), 4.0)
    assert fleet.dynos["web.1"].state is State.CRASHED
    fleet.observe(Exited("web.1", 1, -15), 4.5)
    assert fleet.dynos["web.1"].status == 3
