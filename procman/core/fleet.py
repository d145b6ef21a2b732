"""All dynos of an app: the formation, who may boot, and when the app is done.

The only place that decides. Intents and facts go in with the time, effects come out, `deadline`
says when to call `tick`. It holds no process, no socket and no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from procman.core import dyno as machine
from procman.core.beside import Beside
from procman.core.dyno import Dyno, Effects, Exited, Fact, Policy, Say, State, Want
from procman.core.exits import describe_exit, shell_status
from procman.core.readiness import Readiness, Spawned

WEB = "web"  # the process type that the router, or the app's port, leads to

# An app of which nothing is left running and of which every dyno has crashed this often in a row is
# broken, not flaky: three restarts, the third after 2 s. Chosen so that `a: exit 3` alone ends with
# 3 in a CI log instead of looping there for ever, and its back-off is still seen.
BROKEN_AFTER = 4


@dataclass(frozen=True, slots=True)
class ProcessType:
    """A line of the Procfile with its rules: `after` names the types that must be ready first, and
    `ready` tells when this one is.
    """

    name: str
    command: str
    policy: Policy = field(default_factory=Policy)
    after: tuple[str, ...] = ()
    ready: Readiness = field(default_factory=Spawned)


class Phase(Enum):
    """Whether the app runs, or is on its way out, with a grace or without."""

    RUNNING = "running"
    ENDING = "ending"
    KILLED = "killed"


class Ends(Enum):
    """When an app ends by itself."""

    BROKEN = "done, or broken as a whole"
    DONE = "done"  # who asks for what is broken sees its error page
    ASKED = "never"  # the next save may boot what is done or broken; a smoke test tells of it


@dataclass(slots=True)
class Fleet:
    """The dynos of one app, by name, in the Procfile's order.

    `fail_fast`: the first exit of any process ends the app with its status, as in foreman.
    `idle_timeout`: seconds without a request after which a lone web dyno falls asleep;
    `quiet_since` is when the last lease ended, None while there is one. `behind`: dynos whose port
    another one's boot has had so far; once that is to end, they wait for it.
    """

    types: dict[str, ProcessType]
    fail_fast: bool = False
    ends: Ends = Ends.BROKEN
    idle_timeout: float | None = None
    quiet_since: float | None = 0.0
    formation: dict[str, int] = field(default_factory=dict)
    dynos: dict[str, Dyno] = field(default_factory=dict)
    beside: Beside = field(default_factory=Beside)
    behind: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    asleep: set[str] = field(default_factory=set)  # derived: a request must not search for them
    phase: Phase = Phase.RUNNING
    status: int | None = None  # the app's own exit status, once it is decided

    @property
    def failed_status(self) -> int:
        """The exit status of the dyno that was the first to fail for good; 0 when none has."""
        failed = [dyno for dyno in self.dynos.values() if dyno.has_given_up]
        first = min(failed, key=lambda dyno: dyno.since, default=None)
        return 0 if first is None else shell_status(first.status or 0)

    @property
    def is_ending(self) -> bool:
        """Whether nothing boots any more."""
        return self.phase is not Phase.RUNNING

    # --- intents ---

    def scale(self, quantities: Mapping[str, int], now: float) -> Effects:
        """Set the quantity of some types; the highest numbers go first."""
        effects: Effects = ()
        for name, quantity in quantities.items():
            self.formation[name] = quantity
            for number in range(1, quantity + 1):
                self.dynos.setdefault(f"{name}.{number}", Dyno(f"{name}.{number}", since=now))
        self.dynos = dict(sorted(self.dynos.items(), key=self._place))
        for dyno in reversed(self.dynos.values()):
            if dyno.type in quantities and dyno.number > quantities[dyno.type]:
                effects += self._intend(dyno.name, Want.DOWN, now)
                effects += self.beside.stop(dyno.name, now, self._policy(dyno.name))
        for dyno in tuple(self.dynos.values()):
            if dyno.type in quantities and dyno.number <= quantities[dyno.type]:
                effects += self._want_up(dyno.name, now)
        return self._settle(effects, now)

    def restart(self, names: Iterable[str], now: float, *, kill: bool = False) -> Effects:
        """Make the running boots of these dynos out of date; those that rest are booted. Those that
        were scaled away, and only stop yet, are let go.
        """
        effects: Effects = ()
        names = [name for name in names if not self.is_leaving(name)]
        for name in names:
            effects += self._want_up(name, now)
        for name in sorted(names, key=lambda name: not self.dynos[name].is_live):  # they hold ports
            dyno = self.dynos[name]
            is_down = dyno.state is State.DOWN  # then it boots when it may, with the others
            if dyno.boot and not is_down and not self._has_just_booted(effects, name):
                policy = self.types[dyno.type].policy
                changed, more = machine.outdate(dyno, now, policy, gate=self._gate(dyno))
                self.dynos[name] = changed
                effects += more
            if kill:
                self.dynos[name], more = machine.stop_now(self.dynos[name], now, kill=True)
                effects = _unasked(effects + more)
        return self._settle(effects, now)

    def preboot(self, names: Iterable[str], now: float) -> Effects:
        """Start a new boot beside each routed one that is up, which stays until the new one is
        ready, and stays for good when it never is. The others are restarted.
        """
        effects: Effects = ()
        restarted = []
        for name in names:
            dyno = self.dynos[name]
            policy = self.types[dyno.type].policy
            if policy.routed and dyno.state in (State.UP, State.SUSPENDED):
                effects += self.beside.stop(name, now, policy)
                taken, more = self.beside.boot(dyno, now, policy)
                self.dynos[name] = replace(dyno, taken=taken)
                effects += more
            else:
                restarted.append(name)
        return effects + self.restart(restarted, now)

    def stop(self, names: Iterable[str], now: float, *, kill: bool = False) -> Effects:
        """Take these dynos down; they stay down until restarted or scaled."""
        effects: Effects = ()
        for name in names:
            effects += self._intend(name, Want.DOWN, now)
            effects += self.beside.stop(name, now, self._policy(name), kill=kill)
            if kill:
                self.dynos[name], more = machine.stop_now(self.dynos[name], now, kill=True)
                effects = _unasked(effects + more)
        return self._settle(effects, now)

    def end(self, status: int, now: float, *, kill: bool = False) -> Effects:
        """End the app: everything is asked to stop, or killed now. The first status stays."""
        if self.status is None:
            self.status = status
        if self.phase is not Phase.KILLED:
            self.phase = Phase.KILLED if kill else Phase.ENDING
        effects: Effects = ()
        for name in reversed(tuple(self.dynos)):
            effects += self.beside.stop(name, now, self._policy(name), kill=kill)
            effects += self._intend(name, Want.DOWN, now)
            self.dynos[name], more = machine.stop_now(self.dynos[name], now, kill=kill)
            effects += more
        if kill:
            effects = _unasked(effects)
        return effects + self.tick(now)  # a drain that was cut short asks at once

    def idle(self, names: Iterable[str], now: float) -> Effects:
        """Let these dynos fall asleep, whether anybody asks for them or not."""
        effects: Effects = ()
        for name in names:
            if self._may_sleep(self.dynos[name]):
                effects += (Say(name, "Idling"), *self._intend(name, Want.ASLEEP, now))
        return self._settle(effects, now)

    def wake(self, now: float, names: Collection[str] | None = None) -> Effects:
        """Somebody asks: wake what is asleep, or is falling asleep; all of it, or only these."""
        effects: Effects = ()
        for name, dyno in tuple(self.dynos.items()):
            if dyno.want is Want.ASLEEP and (names is None or name in names):
                said, woken = Say(name, "Unidling"), self._intend(name, Want.UP, now)
                if dyno.state is State.IDLE:
                    changed = Say(name, "State changed from idle to starting")
                    effects += (said, changed, *woken)
                else:
                    effects += (*woken, said)  # somebody waits: thawed first, told then
        return self._settle(effects, now) if effects else ()

    # --- facts and time ---

    def observe(self, fact: Fact, now: float) -> Effects:
        """Take in what happened to a boot."""
        dyno = self.dynos.get(fact.dyno)
        if self.beside.has(fact.dyno, fact.boot):
            return self._settle(self._observe_beside(dyno, fact, now), now)
        if dyno is None:
            return ()
        successor = self.beside.successor_of(fact.dyno)
        if isinstance(fact, Exited) and successor is not None and fact.boot == dyno.boot:
            self.dynos[fact.dyno] = self.beside.pop(successor, status=fact.status)
            self.asleep.discard(fact.dyno)
            what = f"ended, {describe_exit(fact.status)}; its successor takes its place"
            return self._settle((Say(fact.dyno, what),), now)
        stale = fact.boot != dyno.boot or not dyno.is_live
        policy = self.types[dyno.type].policy
        if self.fail_fast:
            policy = replace(policy, restart=machine.Restart.NEVER)  # the exit ends the app
        self.dynos[fact.dyno], effects = machine.observe(
            dyno, fact, now, policy, gate=self._gate(dyno)
        )
        if isinstance(fact, Exited) and not stale:
            effects += self._judge_exit(dyno, fact, now)
            effects += self._judge_sleeper(dyno, now)
        return self._settle(effects, now)

    def _observe_beside(self, dyno: Dyno | None, fact: Fact, now: float) -> Effects:
        """A successor that is ready takes the place; its predecessor is drained and stopped."""
        policy = self._policy(fact.dyno)
        effects = self.beside.observe(fact, now, policy)
        if isinstance(fact, Exited) and dyno is not None:
            self.dynos[fact.dyno] = machine.note_exit_beside(dyno, fact.status)
            return effects
        successor = self.beside.successor_of(fact.dyno)
        if dyno is None or successor is None or successor.state is not State.UP:
            return effects
        self.dynos[fact.dyno] = self.beside.pop(successor, status=dyno.status)
        self.asleep.discard(fact.dyno)
        said = Say(fact.dyno, f"boot {successor.boot} is ready, boot {dyno.boot} is drained")
        return (*effects, said, *self.beside.retire(dyno, now, policy))

    def tick(self, now: float) -> Effects:
        """Act on every deadline that has passed."""
        effects = self.beside.tick(now, self._policy)
        for name, dyno in tuple(self.dynos.items()):
            if dyno.deadline is not None and dyno.deadline <= now:
                policy = self.types[dyno.type].policy
                self.dynos[name], more = machine.tick(dyno, now, policy, gate=self._gate(dyno))
                effects += more
        bedtime = self.bedtime
        if bedtime is not None and bedtime[0] <= now:
            return effects + self.idle([bedtime[1]], now)
        return self._settle(effects, now)

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next. A request may move it on without an event."""
        everyone = (*self.dynos.values(), *self.beside)
        deadlines = [d.deadline for d in everyone if d.deadline is not None]
        bedtime = self.bedtime
        if bedtime is not None:
            deadlines.append(bedtime[0])
        return min(deadlines, default=None)

    # --- questions ---

    @property
    def bedtime(self) -> tuple[float, str] | None:
        """When the lone web dyno falls asleep, and its name; None when none may."""
        if self.idle_timeout is None or self.quiet_since is None or self.formation.get(WEB) != 1:
            return None
        dyno = self.dynos.get(f"{WEB}.1")
        if dyno is None or dyno.want is not Want.UP or not self._may_sleep(dyno):
            return None
        return max(self.quiet_since, dyno.since) + self.idle_timeout, dyno.name

    @property
    def is_over(self) -> bool:
        """Whether the app has ended and no process is left."""
        living = any(d.is_live for d in (*self.dynos.values(), *self.beside))
        return self.is_ending and not living

    def names(self, of_type: str | None = None) -> Sequence[str]:
        """The dynos' names in order, of one type or of all."""
        return [n for n, d in self.dynos.items() if of_type is None or d.type == of_type]

    def is_leaving(self, name: str) -> bool:
        """Whether a dyno was scaled away, and is only there until its process has ended."""
        dyno = self.dynos[name]
        return dyno.number > self.formation.get(dyno.type, 0)

    # --- inside ---

    def _may_sleep(self, dyno: Dyno) -> bool:
        idle = self.types[dyno.type].policy.idle
        return dyno.state is State.UP and idle is not machine.Idle.OFF and not dyno.out_of_date

    def _want_up(self, name: str, now: float) -> Effects:
        """As an intent, but what is down boots later, when it is known who else is wanted."""
        dyno = self.dynos[name]
        policy = self.types[dyno.type].policy
        self.dynos[name], effects = machine.intend(dyno, Want.UP, now, policy, gate=False)
        self.asleep.discard(name)
        return effects

    def _policy(self, name: str) -> Policy:
        return self.types[name.rpartition(".")[0]].policy

    def _intend(self, name: str, want: Want, now: float) -> Effects:
        dyno = self.dynos[name]
        policy = self.types[dyno.type].policy
        self.dynos[name], effects = machine.intend(dyno, want, now, policy, gate=self._gate(dyno))
        (self.asleep.add if want is Want.ASLEEP else self.asleep.discard)(name)
        return effects

    @staticmethod
    def _has_just_booted(effects: Effects, name: str) -> bool:
        return any(isinstance(e, machine.Spawn) and e.dyno == name for e in effects)

    def _place(self, item: tuple[str, Dyno]) -> tuple[int, int]:
        order = list(self.types)
        return order.index(item[1].type), item[1].number

    def _gate(self, dyno: Dyno) -> bool:
        """Whether the dyno may boot: the app runs, all that it comes after is ready, and nobody has
        its port yet.
        """
        if self.is_ending:
            return False
        return not self.waits_for(dyno.type) and self.port_holder(dyno.name) is None

    def port_holder(self, name: str) -> str | None:
        """The dyno that still has the port of this one, and is to end."""
        if name not in self.behind:
            return None
        holder, boot = self.behind[name]
        dyno = self.dynos.get(holder)
        if dyno is None or not dyno.is_live or dyno.boot != boot:
            return None
        return holder if dyno.out_of_date or dyno.state is State.STOPPING else None

    def waits_for(self, of_type: str) -> list[str]:
        """The types that must be ready, or finished with status 0, before this one may boot."""
        return [name for name in self.types[of_type].after if not self._is_settled(name)]

    def _is_settled(self, of_type: str) -> bool:
        """Whether all dynos of a type are ready, or have finished with status 0.

        A type that nobody asked for holds nobody up.
        """
        done = (State.UP, State.SUSPENDED, State.IDLE)
        dynos = [d for d in self.dynos.values() if d.type == of_type and d.want is not Want.DOWN]
        return all(d.state in done or (d.state is State.FINISHED and d.status == 0) for d in dynos)

    def _settle(self, effects: Effects, now: float) -> Effects:
        """After every event: boot what may boot, forget what was scaled away, end what is done."""
        for name, dyno in tuple(self.dynos.items()):
            if dyno.state is State.DOWN and dyno.want is Want.UP and self._gate(dyno):
                effects += self._intend(name, Want.UP, now)
            elif dyno.state is State.DOWN and self.is_leaving(name):
                del self.dynos[name]
        if not self.is_ending and self.dynos:
            effects += self._judge_app(now)
        return effects

    def _judge_exit(self, before: Dyno, fact: Exited, now: float) -> Effects:
        """End the app where the first exit ends it."""
        spontaneous = before.state is not State.STOPPING
        if self.fail_fast and spontaneous and not self.is_ending:
            what = f"{describe_exit(fact.status)}, and --fail-fast ends the app"
            return (Say(fact.dyno, what), *self.end(shell_status(fact.status), now))
        return ()

    def _judge_sleeper(self, before: Dyno, now: float) -> Effects:
        """One that ended: without a router nobody could ask for it, and it is booted again."""
        is_routed = self.types[before.type].policy.routed
        if before.state is State.SUSPENDED and not is_routed:
            return self._intend(before.name, Want.UP, now)
        if self.dynos[before.name].state is State.IDLE:
            return (Say(before.name, f"State changed from {before.state.value} to idle"),)
        return ()

    def _judge_app(self, now: float) -> Effects:
        """End the app when every dyno is done for good, or when it is broken as a whole.

        What waits for others can neither run it on nor end it.
        """
        if self.ends is Ends.ASKED:
            return ()
        dynos = [d for d in self.dynos.values() if not self._is_held_up(d)]
        if all(d.state is State.FINISHED or d.has_given_up for d in dynos):
            return self.end(self.failed_status, now)
        if self.ends is Ends.DONE or not any(d.state is State.CRASHED for d in dynos):
            return ()
        if all(d.state is State.FINISHED or self._is_broken(d) for d in dynos):
            first = next(d for d in dynos if d.state is State.CRASHED)
            text = "nothing of the app is left running and all of it keeps crashing: giving up"
            return (Say(first.name, text), *self.end(shell_status(first.status or 0), now))
        return ()

    def _is_held_up(self, dyno: Dyno) -> bool:
        waits = dyno.state is State.DOWN and dyno.want is Want.UP
        return waits and bool(self.waits_for(dyno.type))

    def _is_broken(self, dyno: Dyno) -> bool:
        policy = self.types[dyno.type].policy
        patient = policy.restart is machine.Restart.ALWAYS or policy.max_restarts is not None
        crashed = dyno.state is State.CRASHED
        return crashed and (dyno.has_given_up or (dyno.crashes >= BROKEN_AFTER and not patient))


def _unasked(effects: Effects) -> Effects:
    """Who is to be killed at once is not asked first: it would begin what is cut off half-way."""
    return tuple(effect for effect in effects if not isinstance(effect, machine.Signal))
