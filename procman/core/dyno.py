"""One dyno: what is wanted, what is, and the one step from the second towards the first.

    state        live  deadline              leaves it when
    ---------    ----  --------------------  -----------------------------------------------------
    DOWN         no    -                     wanted up: spawn -> STARTING
    STARTING     yes   boot timeout          ready -> UP; exit -> CRASHED or FINISHED;
                                             not wanted or out of date -> STOPPING
    UP           yes   -                     not wanted or out of date -> STOPPING; asleep ->
                                             SUSPENDED or STOPPING; exit -> CRASHED or FINISHED
    SUSPENDED    yes   stop after (optional) wanted up: thaw -> UP; anything else -> STOPPING
    IDLE         no    -                     wanted up: spawn -> STARTING; not wanted -> DOWN
    STOPPING     yes   grace, kill, kill …   only its exit moves it
    CRASHED      no    end of the back-off   deadline, restart or new release: spawn -> STARTING
    FINISHED     no    -                     restart or new release: spawn -> STARTING

`want` changes only by an intent, `state` only by a fact or a passed deadline. After every event
`_step` compares the two and takes at most one step. Restart and redeploy are no transitions: they
make the running boot out of date. Modelled on s6-supervise, whose `wantedup` is kept apart from
its state. Time is an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from procman.core.durations import format_duration
from procman.core.exits import describe_exit

SIGTERM = 15

BOOT_TIMEOUT = 60.0  # Heroku's R10
STOP_TIMEOUT = 10.0  # Heroku's R12 of 2013; 30 s today, too long beside a terminal
KILL_AGAIN = 1.0  # a process that survives SIGKILL hangs in the kernel: ask again, never give up
FORGIVEN_AFTER = 30.0  # pm2 resets its back-off after 30 s of stable uptime as well
LONGEST_BACKOFF = 60.0
JITTER = 0.2  # the share of a delay that is drawn, so that dynos do not retry in step


class Want(Enum):
    """What somebody asked of a dyno."""

    UP = "up"
    ASLEEP = "asleep"
    DOWN = "down"


class State(Enum):
    """What a dyno is."""

    DOWN = "down"
    STARTING = "starting"
    UP = "up"
    SUSPENDED = "suspended"
    IDLE = "idle"
    STOPPING = "stopping"
    CRASHED = "crashed"
    FINISHED = "finished"


LIVE = frozenset({State.STARTING, State.UP, State.SUSPENDED, State.STOPPING})


class Restart(Enum):
    """Which exits are followed by another boot."""

    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    NEVER = "never"


class Idle(Enum):
    """How a dyno falls asleep."""

    SUSPEND = "suspend"
    STOP = "stop"
    OFF = "off"


class Stage(Enum):
    """How far a stop has gone."""

    DRAINING = "draining"
    ASKED = "asked"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one process type. Durations in seconds; None is never."""

    restart: Restart = Restart.ON_FAILURE
    max_restarts: int | None = None
    stop_signal: int = SIGTERM
    stop_timeout: float = STOP_TIMEOUT
    boot_timeout: float | None = BOOT_TIMEOUT
    boot_timeout_kill: bool = False
    routed: bool = False
    idle: Idle = Idle.OFF
    idle_stop_after: float | None = None


@dataclass(frozen=True, slots=True)
class OfBoot:
    """What facts and effects have in common: the boot that they are about.

    Those that say no more are bare subclasses: the decorator costs 0.4 ms of start-up each.
    """

    dyno: str
    boot: int


# --- facts: what happened to a boot --------------------------------------------------------------


class Ready(OfBoot):
    """The boot can do its work."""

    __slots__ = ()


class Drained(OfBoot):
    """The last lease on a draining boot has ended."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Exited(OfBoot):
    """The boot's leader ended: `status` >= 0 is its exit status, -n a death by signal n."""

    status: int


Fact = Ready | Exited | Drained


# --- effects: what the supervisor must do --------------------------------------------------------


class Spawn(OfBoot):
    """Start the dyno's command as this boot."""

    __slots__ = ()


class Kill(OfBoot):
    """SIGKILL to all that is left of the boot."""

    __slots__ = ()


class Drain(OfBoot):
    """Lease the boot to nobody any more, and report Drained."""

    __slots__ = ()


class Freeze(OfBoot):
    """Suspend the boot's process tree."""

    __slots__ = ()


class Thaw(OfBoot):
    """Let the boot's process tree run again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Signal(OfBoot):
    """Send `number` to the boot's whole group, thawing it first when it is frozen."""

    number: int


@dataclass(frozen=True, slots=True)
class Say:
    """A line of ours for the log, about one dyno."""

    dyno: str
    text: str


Effect = Spawn | Signal | Kill | Drain | Freeze | Thaw | Say
Effects = tuple[Effect, ...]


# --- the dyno ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dyno:
    """One supervised slot of a process type; it outlives the boots in it.

    `crashes` counts those in a row that are not forgiven; `status` is that of the last boot that
    ended (see Exited), beside it too.
    `taken` is the highest boot number that a successor beside it was given.
    """

    name: str
    want: Want = Want.DOWN
    state: State = State.DOWN
    stage: Stage | None = None
    boot: int = 0
    taken: int = 0
    out_of_date: bool = False
    since: float = 0.0
    deadline: float | None = None
    booted_at: float = 0.0
    ready_at: float | None = None
    crashes: int = 0
    status: int | None = None

    @property
    def type(self) -> str:
        """The process type: `web` of `web.1`."""
        return self.name.rpartition(".")[0]

    @property
    def number(self) -> int:
        """The place in its type, from 1."""
        return int(self.name.rpartition(".")[2])

    @property
    def is_live(self) -> bool:
        """Whether a process belongs to it now."""
        return self.state in LIVE

    @property
    def has_given_up(self) -> bool:
        """Whether it crashed and nothing but an intent will boot it again."""
        return self.state is State.CRASHED and self.deadline is None

    def __repr__(self) -> str:
        retry = "" if self.state is not State.CRASHED else f", retry at {self.deadline}"
        return f"<Dyno {self.name} {self.state.value} boot {self.boot}{retry}>"


def intend(
    dyno: Dyno, want: Want, now: float, policy: Policy, *, gate: bool
) -> tuple[Dyno, Effects]:
    """Change what is wanted of the dyno.

    `gate` says whether a dyno that is down may boot: what it comes after is ready.
    """
    if dyno.want is not Want.UP and want is Want.UP and dyno.state in (State.DOWN, State.STOPPING):
        dyno = replace(dyno, crashes=0)  # a scale through zero, or a start by hand, forgives
    if want is not dyno.want:
        dyno = replace(dyno, want=want)
    return _step(dyno, now, policy, gate)


def outdate(dyno: Dyno, now: float, policy: Policy, *, gate: bool) -> tuple[Dyno, Effects]:
    """Make the running boot out of date: a restart, a new release, a changed file. It forgives."""
    return _step(replace(dyno, out_of_date=True, crashes=0), now, policy, gate)


def stop_now(dyno: Dyno, now: float, *, kill: bool) -> tuple[Dyno, Effects]:
    """End the drain, or with `kill` the grace, of a dyno that is being stopped."""
    match dyno.stage:
        case None:
            return dyno, ()
        case Stage.DRAINING | Stage.ASKED | Stage.KILLED if kill:
            return _kill(dyno, now)
        case Stage.DRAINING:
            return replace(dyno, deadline=now), ()  # the next step asks it to stop
        case Stage.ASKED | Stage.KILLED:
            return dyno, ()
        case _:
            assert_never(dyno.stage)


def observe(
    dyno: Dyno, fact: Fact, now: float, policy: Policy, *, gate: bool
) -> tuple[Dyno, Effects]:
    """Take in a fact. One about an earlier boot, or an impossible one, changes nothing."""
    if fact.boot != dyno.boot or not dyno.is_live:
        return dyno, ()
    said: Effects = ()
    match fact:
        case Ready():
            if dyno.state is State.STARTING:
                dyno = replace(dyno, state=State.UP, since=now, ready_at=now, deadline=None)
        case Exited():
            dyno, said = _exited(dyno, fact.status, now, policy)
        case Drained():
            if dyno.stage is Stage.DRAINING:
                dyno = replace(dyno, deadline=now)
        case _:
            assert_never(fact)
    dyno, effects = _step(dyno, now, policy, gate)
    return dyno, said + effects


def note_exit_beside(dyno: Dyno, status: int) -> Dyno:
    """A boot beside the dyno's own has ended, a predecessor mostly: it is the dyno's last exit,
    unless its own boot has ended as well, whose status tells why it crashed or finished.
    """
    return replace(dyno, status=status) if dyno.is_live else dyno


def tick(dyno: Dyno, now: float, policy: Policy, *, gate: bool) -> tuple[Dyno, Effects]:
    """Act on a passed deadline; without one, or too early, nothing happens."""
    return _step(dyno, now, policy, gate)


def backoff(crashes: int, seed: str) -> float:
    """Seconds to wait after the n-th crash in a row: 0, then 1, 2, 4 … 60, less up to a fifth.

    The jitter is drawn from `seed`, so that a history can be replayed.
    """
    if crashes <= 1:
        return 0.0
    longest = min(LONGEST_BACKOFF, 2.0 ** min(crashes - 2, 10))
    import zlib  # first needed at a crash: a start does not load a library for it

    return longest * (1.0 - JITTER * (zlib.crc32(seed.encode()) / 2**32))


def _step(dyno: Dyno, now: float, policy: Policy, gate: bool) -> tuple[Dyno, Effects]:
    """Compare what is wanted with what is, and take at most one step."""
    passed = dyno.deadline is not None and dyno.deadline <= now
    match dyno.state:
        case State.DOWN:
            if dyno.want is Want.UP and gate:
                return _boot(dyno, now, policy)
            if dyno.want is Want.ASLEEP:
                return replace(dyno, state=State.IDLE, since=now), ()
        case State.STARTING:
            if dyno.want is not Want.UP or dyno.out_of_date:
                return _stop(replace(dyno, ready_at=None), now, policy, drain=False)
            if passed:
                return _boot_timed_out(dyno, now, policy)
        case State.UP:
            if dyno.want is Want.DOWN or dyno.out_of_date:
                return _stop(dyno, now, policy, drain=policy.routed)
            if dyno.want is Want.ASLEEP:
                return _fall_asleep(dyno, now, policy)
        case State.SUSPENDED:
            if dyno.want is Want.DOWN or dyno.out_of_date or passed:
                return _stop(dyno, now, policy, drain=False)
            if dyno.want is Want.UP:
                thawed = replace(dyno, state=State.UP, since=now, deadline=None)
                return thawed, (Thaw(dyno.name, dyno.boot),)
        case State.IDLE:
            if dyno.want is Want.UP:
                return _boot(dyno, now, policy)
            if dyno.want is Want.DOWN:
                return replace(dyno, state=State.DOWN, since=now), ()
        case State.STOPPING:
            if passed:
                return _press(dyno, now, policy)
        case State.CRASHED:
            if dyno.want is not Want.UP:
                return replace(dyno, state=_resting(dyno.want), since=now, deadline=None), ()
            if dyno.out_of_date or passed:
                return _boot(dyno, now, policy)
        case State.FINISHED:
            if dyno.want is not Want.UP:
                return replace(dyno, state=_resting(dyno.want), since=now), ()
            if dyno.out_of_date:
                return _boot(dyno, now, policy)
        case _:
            assert_never(dyno.state)
    return dyno, ()


def _boot(dyno: Dyno, now: float, policy: Policy) -> tuple[Dyno, Effects]:
    boot = max(dyno.boot, dyno.taken) + 1
    timeout = policy.boot_timeout
    started = replace(
        dyno,
        state=State.STARTING,
        stage=None,
        boot=boot,
        out_of_date=False,
        since=now,
        booted_at=now,
        ready_at=None,
        deadline=None if timeout is None else now + timeout,
    )
    return started, (Spawn(dyno.name, boot),)


def _stop(dyno: Dyno, now: float, policy: Policy, *, drain: bool) -> tuple[Dyno, Effects]:
    stopping = replace(dyno, state=State.STOPPING, since=now, deadline=now + policy.stop_timeout)
    if drain:
        return replace(stopping, stage=Stage.DRAINING), (Drain(dyno.name, dyno.boot),)
    effects: Effects = (Signal(dyno.name, dyno.boot, policy.stop_signal),)
    if policy.routed:
        effects = (Drain(dyno.name, dyno.boot), *effects)
    return replace(stopping, stage=Stage.ASKED), effects


def _press(dyno: Dyno, now: float, policy: Policy) -> tuple[Dyno, Effects]:
    """The deadline of a stop has passed: ask, or kill, or kill again."""
    if dyno.stage is Stage.DRAINING:
        asked = replace(dyno, stage=Stage.ASKED, deadline=now + policy.stop_timeout)
        return asked, (Signal(dyno.name, dyno.boot, policy.stop_signal),)
    killed, effects = _kill(dyno, now)
    if dyno.stage is Stage.KILLED:
        return killed, effects
    text = f"did not stop within {format_duration(policy.stop_timeout)}, killing it (R12)"
    return killed, (Say(dyno.name, text), *effects)


def _kill(dyno: Dyno, now: float) -> tuple[Dyno, Effects]:
    killed = replace(dyno, stage=Stage.KILLED, deadline=now + KILL_AGAIN)
    return killed, (Kill(dyno.name, dyno.boot),)


def _boot_timed_out(dyno: Dyno, now: float, policy: Policy) -> tuple[Dyno, Effects]:
    """R10. Killed, it stays STARTING: its exit then counts as a crash and is backed off."""
    limit = format_duration(policy.boot_timeout or 0.0)
    said = Say(dyno.name, f"Error R10 (Boot timeout) -> not ready within {limit} of launch")
    if policy.boot_timeout_kill:
        return replace(dyno, deadline=now + KILL_AGAIN), (said, Kill(dyno.name, dyno.boot))
    return replace(dyno, deadline=None), (said,)


def _fall_asleep(dyno: Dyno, now: float, policy: Policy) -> tuple[Dyno, Effects]:
    match policy.idle:
        case Idle.SUSPEND:
            later = None if policy.idle_stop_after is None else now + policy.idle_stop_after
            asleep = replace(dyno, state=State.SUSPENDED, since=now, deadline=later)
            return asleep, (Freeze(dyno.name, dyno.boot),)
        case Idle.STOP:
            return _stop(dyno, now, policy, drain=policy.routed)
        case Idle.OFF:
            return dyno, ()  # it may not sleep
        case _:
            assert_never(policy.idle)


def _exited(dyno: Dyno, status: int, now: float, policy: Policy) -> tuple[Dyno, Effects]:
    """The boot ended. Asked to, it rests or is booted anew by the step; else it is judged."""
    ended = replace(dyno, status=status, since=now, stage=None, deadline=None)
    uptime = now - dyno.booted_at
    what = f"{describe_exit(status)} after {format_duration(uptime)}"
    if dyno.state is State.STOPPING:
        return replace(ended, state=_resting(dyno.want)), (Say(dyno.name, f"stopped, {what}"),)
    stood = dyno.ready_at is not None and now - dyno.ready_at >= FORGIVEN_AFTER
    crashes = 1 if stood else dyno.crashes + 1
    if status == 0 and policy.restart is not Restart.ALWAYS:
        return replace(ended, state=State.FINISHED, crashes=0), (
            Say(dyno.name, f"finished, {what}"),
        )
    ended = replace(ended, state=State.CRASHED, crashes=crashes)
    spent = policy.max_restarts is not None and crashes > policy.max_restarts
    if policy.restart is Restart.NEVER or spent:
        return ended, (Say(dyno.name, f"crashed, {what}, not restarted"),)
    delay = backoff(crashes, f"{dyno.name}:{dyno.boot}")
    retry = "at once" if delay == 0.0 else f"in {format_duration(delay)}"
    return replace(ended, deadline=now + delay), (
        Say(dyno.name, f"crashed, {what}, restarting {retry}"),
    )


def _resting(want: Want) -> State:
    """Where a dyno without a process rests: an idle one is woken by a request."""
    return State.IDLE if want is Want.ASLEEP else State.DOWN
