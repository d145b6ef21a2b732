"""The dyno's state machine: walked exhaustively, and told as stories."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from procman.core.dyno import (
    BOOT_TIMEOUT,
    FORGIVEN_AFTER,
    KILL_AGAIN,
    LONGEST_BACKOFF,
    Drain,
    Drained,
    Dyno,
    Effects,
    Exited,
    Fact,
    Freeze,
    Idle,
    Kill,
    Policy,
    Ready,
    Restart,
    Say,
    Signal,
    Spawn,
    Stage,
    State,
    Thaw,
    Want,
    backoff,
    intend,
    observe,
    outdate,
    stop_now,
    tick,
)

SIGTERM, SIGKILL = 15, 9


@dataclass(frozen=True)
class World:
    """A dyno and the operating system beside it: which boot lives, and whether it is frozen."""

    dyno: Dyno
    alive: int | None = None
    frozen: bool = False
    killed: bool = False

    def after(self, changed: tuple[Dyno, Effects], exited: bool = False) -> World:
        """The world after an event: the effects are performed, each under its invariant."""
        dyno, effects = changed
        if not effects and not exited and dyno == self.dyno:
            return self  # most events change nothing, and the walk is long
        world = World(dyno) if exited else World(dyno, self.alive, self.frozen, self.killed)
        for effect in effects:
            world = world._perform(effect)
        assert dyno.is_live == (world.alive is not None), dyno
        assert world.alive in (None, dyno.boot)
        assert world.frozen == (dyno.state is State.SUSPENDED), dyno
        return world

    def _perform(self, effect: object) -> World:
        match effect:
            case Spawn(_, boot):
                assert self.alive is None, "two live processes in one dyno"
                return replace(self, alive=boot)
            case Signal(_, boot):
                assert self.alive == boot, "a signal to a boot that does not live"
                return replace(self, frozen=False)  # whoever signals a frozen group thaws it
            case Kill(_, boot):
                assert self.alive == boot, "a kill of a boot that does not live"
                return replace(self, frozen=False, killed=True)
            case Freeze(_, boot):
                assert self.alive == boot
                assert not self.frozen
                return replace(self, frozen=True)
            case Thaw(_, boot):
                assert self.alive == boot
                assert self.frozen
                return replace(self, frozen=False)
            case Drain(_, boot):
                assert self.alive == boot
                return self
            case Say():
                return self
            case _:
                raise AssertionError(effect)

    def at_zero(self, now: float) -> World:
        """The same world with its clock at 0 and its boots renumbered, so that worlds repeat."""
        d = self.dyno
        ready = d.ready_at
        dyno = Dyno(  # all fields by name: `replace` takes three times as long
            name=d.name,
            want=d.want,
            state=d.state,
            stage=d.stage,
            boot=min(d.boot, 1),
            out_of_date=d.out_of_date,
            since=0.0,
            deadline=None if d.deadline is None else max(0.0, round(d.deadline - now, 3)),
            booted_at=0.0,
            ready_at=None if ready is None else -40.0 if now - ready >= FORGIVEN_AFTER else 0.0,
            crashes=min(d.crashes, 3),  # one more than any limit walked
            status=None,  # see test_the_last_status_decides_nothing
        )
        alive = None if self.alive is None else dyno.boot
        return World(dyno, alive, self.frozen, self.killed)

    def following(
        self, changed: tuple[Dyno, Effects], now: float = 0.0, exited: bool = False
    ) -> World:
        """`after` and `at_zero` of a world whose clock is at 0."""
        after = self.after(changed, exited)
        return self if after is self and now == 0.0 else after.at_zero(now)


def events(world: World, policy: Policy, gate: bool) -> Iterator[World]:
    """Where every event that can happen leads."""
    dyno, boot = world.dyno, world.dyno.boot
    for want in Want:
        yield world.following(intend(dyno, want, 0.0, policy, gate=gate))
    yield world.following(outdate(dyno, 0.0, policy, gate=gate))
    for kill in (False, True):
        yield world.following(stop_now(dyno, 0.0, kill=kill))
    facts: list[Fact] = [Ready(dyno.name, boot), Drained(dyno.name, boot)]
    facts += [Ready(dyno.name, boot - 1), Exited(dyno.name, boot - 1, 0)]  # stale ones
    for fact in facts:
        changed = observe(dyno, fact, 0.0, policy, gate=gate)
        if fact.boot != boot:
            assert changed == (dyno, ()), "a stale fact changed something"
        yield world.following(changed)
    for status in (0, 1, -SIGKILL):
        changed = observe(dyno, Exited(dyno.name, boot, status), 0.0, policy, gate=gate)
        if world.alive is None:
            assert changed == (dyno, ()), "an impossible fact changed something"
        else:
            yield world.following(changed, exited=True)
    for now in {0.0, dyno.deadline or 0.0, (dyno.deadline or 0.0) + 100.0}:
        yield world.following(tick(dyno, now, policy, gate=gate), now)


POLICIES = [
    Policy(
        restart=restart,
        max_restarts=limit,
        routed=routed,
        idle=idle,
        boot_timeout=timeout,
        boot_timeout_kill=timeout is not None and routed,
        idle_stop_after=600.0 if routed else None,
    )
    for restart, limit, routed, idle, timeout in itertools.product(
        Restart, (None, 2), (False, True), Idle, (None, BOOT_TIMEOUT)
    )
]


@functools.cache
def walk(policy: Policy) -> frozenset[World]:
    """Every world that can be reached."""
    first = World(Dyno("web.1"))
    seen = {first}
    todo = [first]
    while todo:
        world = todo.pop()
        for gate in (True, False):
            for following in events(world, policy, gate):
                if following is not world and following not in seen:
                    seen.add(following)
                    todo.append(following)
    return frozenset(seen)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_every_event_from_every_reachable_configuration_keeps_the_invariants(
    policy: Policy,
) -> None:
    """Never two processes in a dyno, signals to live ones only; what waits has a deadline."""
    worlds = walk(policy)
    assert len(worlds) > 20
    for world in worlds:
        dyno = world.dyno
        if dyno.state is State.STOPPING:
            assert dyno.deadline is not None
            assert dyno.stage is not None
        else:
            assert dyno.stage is None
        if dyno.state is State.CRASHED and policy.restart is not Restart.NEVER:
            assert dyno.deadline is not None or policy.max_restarts is not None
        if dyno.state in (State.DOWN, State.IDLE, State.FINISHED, State.UP):
            assert dyno.deadline is None


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_asked_to_stop_every_history_ends_down_whatever_the_process_ignores(
    policy: Policy,
) -> None:
    """A process that ignores every signal but SIGKILL is gone after its deadlines."""
    for world in walk(policy):
        now = 0.0
        world = world.after(intend(world.dyno, Want.DOWN, now, policy, gate=True))
        for _ in range(6):
            if world.killed:
                exited = Exited("web.1", world.dyno.boot, -SIGKILL)
                changed = observe(world.dyno, exited, now, policy, gate=True)
                world = world.after(changed, exited=True)
            elif world.dyno.deadline is not None:
                now = max(now, world.dyno.deadline)
                world = world.after(tick(world.dyno, now, policy, gate=True))
        assert world.dyno.state is State.DOWN
        assert world.alive is None


@pytest.mark.parametrize("policy", POLICIES[::7], ids=repr)
def test_the_last_status_decides_nothing(policy: Policy) -> None:
    """So that the walk need not tell worlds apart by it."""
    for world in walk(policy):
        told = replace(world, dyno=replace(world.dyno, status=-SIGKILL))
        for plain, other in zip(
            events(world, policy, True), events(told, policy, True), strict=True
        ):
            assert other in (plain, told if plain is world else plain)


def boot_up(policy: Policy = Policy()) -> Dyno:  # noqa: B008  # frozen
    """A dyno that is up since 0."""
    dyno, _ = intend(Dyno("web.1"), Want.UP, 0.0, policy, gate=True)
    dyno, _ = observe(dyno, Ready("web.1", 1), 0.0, policy, gate=True)
    return dyno


def test_a_crash_is_restarted_at_once_and_the_log_says_what_happened() -> None:
    """The first crash costs no waiting."""
    dyno = boot_up()
    dyno, effects = observe(dyno, Exited("web.1", 1, 3), 2.0, Policy(), gate=True)
    assert effects == (
        Say("web.1", "crashed, status 3 after 2s, restarting at once"),
        Spawn("web.1", 2),
    )
    assert dyno.state is State.STARTING


def test_an_exit_with_zero_is_finished_by_default() -> None:
    """Heroku calls every exit a crash; here work may end."""
    dyno = boot_up()
    dyno, effects = observe(dyno, Exited("web.1", 1, 0), 2.0, Policy(), gate=True)
    assert (dyno.state, effects) == (
        State.FINISHED,
        (Say("web.1", "finished, status 0 after 2s"),),
    )


def test_a_stubborn_process_is_asked_then_killed_then_killed_again() -> None:
    """Nothing but its exit moves a dyno that is stopping."""
    policy = Policy()
    dyno, effects = intend(boot_up(), Want.DOWN, 5.0, policy, gate=True)
    assert effects == (Signal("web.1", 1, SIGTERM),)
    dyno, effects = tick(dyno, 14.9, policy, gate=True)
    assert effects == ()
    dyno, effects = tick(dyno, 15.0, policy, gate=True)
    assert effects[1:] == (Kill("web.1", 1),)
    dyno, effects = tick(dyno, 15.0 + KILL_AGAIN, policy, gate=True)
    assert effects == (Kill("web.1", 1),)
    assert dyno.state is State.STOPPING


def test_a_restart_waits_for_the_old_process_and_never_doubles_it() -> None:
    """The new boot is spawned by the old one's exit."""
    policy = Policy()
    dyno, effects = outdate(boot_up(), 5.0, policy, gate=True)
    assert effects == (Signal("web.1", 1, SIGTERM),)
    dyno, effects = outdate(dyno, 6.0, policy, gate=True)
    assert effects == ()
    dyno, effects = observe(dyno, Exited("web.1", 1, -SIGTERM), 7.0, policy, gate=True)
    assert effects == (Say("web.1", "stopped, killed by SIGTERM after 7s"), Spawn("web.1", 2))
    assert not dyno.out_of_date


def test_a_routed_dyno_is_drained_before_it_is_asked_to_stop() -> None:
    """Leases end first; a drain that takes too long is cut short."""
    policy = Policy(routed=True)
    draining, effects = intend(boot_up(policy), Want.DOWN, 0.0, policy, gate=True)
    assert (draining.stage, effects) == (Stage.DRAINING, (Drain("web.1", 1),))
    asked, effects = observe(draining, Drained("web.1", 1), 1.0, policy, gate=True)
    assert (asked.stage, effects) == (Stage.ASKED, (Signal("web.1", 1, SIGTERM),))
    asked, effects = tick(draining, 10.0, policy, gate=True)
    assert (asked.stage, effects) == (Stage.ASKED, (Signal("web.1", 1, SIGTERM),))


def test_hours_of_crash_loop_back_off_to_a_minute_and_are_forgiven_after_standing() -> None:
    """Ten hours in virtual time: at once, 1, 2, 4 … 60 s; 30 s up start it afresh."""
    policy = Policy()
    dyno, now, delays = boot_up(), 0.0, list[float]()
    while now < 36_000.0:
        dyno, _ = observe(dyno, Exited("web.1", dyno.boot, 1), now, policy, gate=True)
        if dyno.state is State.CRASHED:
            assert dyno.deadline is not None
            delays.append(dyno.deadline - now)
            now = dyno.deadline
            dyno, effects = tick(dyno, now, policy, gate=True)
            assert effects == (Spawn("web.1", dyno.boot),)
        dyno, _ = observe(dyno, Ready("web.1", dyno.boot), now, policy, gate=True)
        now += 0.5
    for delay, longest in zip(delays[:7], (1, 2, 4, 8, 16, 32, 60), strict=True):
        assert 0.8 * longest <= delay <= longest
    assert all(0.8 * LONGEST_BACKOFF <= delay <= LONGEST_BACKOFF for delay in delays[6:])
    assert len(set(delays[6:])) > 100, "there is no jitter"
    now += FORGIVEN_AFTER
    dyno, effects = observe(dyno, Exited("web.1", dyno.boot, 1), now, policy, gate=True)
    assert dyno.state is State.STARTING
    assert dyno.crashes == 1


def test_a_boot_killed_for_its_timeout_is_a_crash_and_is_backed_off() -> None:
    """R10 kills outright, and the dyno does not loop without a pause."""
    policy = Policy(boot_timeout=60.0, boot_timeout_kill=True)
    dyno, _ = intend(Dyno("web.1"), Want.UP, 0.0, policy, gate=True)
    dyno, effects = tick(dyno, 60.0, policy, gate=True)
    assert effects[1:] == (Kill("web.1", 1),)
    dyno, _ = observe(dyno, Exited("web.1", 1, -SIGKILL), 60.0, policy, gate=True)
    assert dyno.crashes == 1


def test_without_the_kill_a_slow_boot_is_told_once_and_goes_on() -> None:
    """R10 is a line in the log, and the dyno may still become ready."""
    policy = Policy(boot_timeout=60.0)
    dyno, _ = intend(Dyno("web.1"), Want.UP, 0.0, policy, gate=True)
    dyno, effects = tick(dyno, 60.0, policy, gate=True)
    assert len(effects) == 1
    assert "R10" in repr(effects[0])
    dyno, effects = tick(dyno, 600.0, policy, gate=True)
    assert effects == ()
    dyno, _ = observe(dyno, Ready("web.1", 1), 601.0, policy, gate=True)
    assert dyno.state is State.UP


def test_a_request_wakes_a_suspended_dyno_and_a_stop_thaws_it_first() -> None:
    """Suspended: thaw to wake, signal (which thaws) to stop."""
    policy = Policy(idle=Idle.SUSPEND, routed=True)
    asleep, effects = intend(boot_up(policy), Want.ASLEEP, 3601.0, policy, gate=True)
    assert (asleep.state, effects) == (State.SUSPENDED, (Freeze("web.1", 1),))
    awake, effects = intend(asleep, Want.UP, 3602.0, policy, gate=True)
    assert (awake.state, effects) == (State.UP, (Thaw("web.1", 1),))
    _, effects = intend(asleep, Want.DOWN, 3602.0, policy, gate=True)
    assert effects == (Drain("web.1", 1), Signal("web.1", 1, SIGTERM))


def test_the_back_off_can_be_replayed() -> None:
    """The jitter comes from the dyno and its boot, not from chance."""
    assert backoff(5, "web.1:7") == backoff(5, "web.1:7")
    assert backoff(5, "web.1:7") != backoff(5, "web.1:8")
