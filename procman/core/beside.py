"""Boots beside a dyno's own: a successor that is not ready yet, predecessors that drain.

A dyno never has two live processes; during a preboot the second is a dyno of its own, by the same
name, until it takes the first one's place or is gone. Wanted up it is a successor, else on its way
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from procman.core import dyno as machine
from procman.core.dyno import Dyno, Effects, Fact, Policy, Restart, Say, Want
from procman.core.exits import describe_exit


@dataclass(slots=True)
class Beside:
    """By dyno and boot."""

    boots: dict[tuple[str, int], Dyno] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Dyno]:
        return iter(tuple(self.boots.values()))

    def has(self, name: str, boot: int) -> bool:
        """Whether this boot is one of ours."""
        return (name, boot) in self.boots

    def successor_of(self, name: str) -> Dyno | None:
        """The boot that is to take the dyno's place."""
        return next((d for d in self if d.name == name and d.want is Want.UP), None)

    def boot(self, dyno: Dyno, now: float, policy: Policy) -> tuple[int, Effects]:
        """Start a successor, with a number that no boot of the dyno had; the number."""
        fresh = Dyno(dyno.name, boot=max(dyno.boot, dyno.taken), since=now)
        successor, effects = machine.intend(fresh, Want.UP, now, _once(policy), gate=True)
        self.boots[successor.name, successor.boot] = successor
        return successor.boot, effects

    def retire(self, dyno: Dyno, now: float, policy: Policy) -> Effects:
        """Drain and stop a boot whose place is taken."""
        retired, effects = machine.intend(dyno, Want.DOWN, now, policy, gate=False)
        if retired.is_live:
            self.boots[retired.name, retired.boot] = retired
        return effects

    def pop(self, successor: Dyno, *, status: int | None) -> Dyno:
        """Take out the successor, for the place in the fleet; `status` is its predecessor's."""
        del self.boots[successor.name, successor.boot]
        return replace(successor, status=status)

    def stop(self, name: str, now: float, policy: Policy, *, kill: bool = False) -> Effects:
        """Stop all boots beside a dyno."""
        effects: Effects = ()
        for dyno in self:
            if dyno.name == name:
                stopping, more = machine.intend(dyno, Want.DOWN, now, policy, gate=False)
                stopping, killed = machine.stop_now(stopping, now, kill=kill)
                self.boots[dyno.name, dyno.boot] = stopping
                effects += more + killed
        return effects

    def observe(self, fact: Fact, now: float, policy: Policy) -> Effects:
        """Take in a fact about one of ours; one that has ended is forgotten."""
        before = self.boots[fact.dyno, fact.boot]
        after, effects = machine.observe(before, fact, now, _once(policy), gate=False)
        if after.is_live:
            self.boots[fact.dyno, fact.boot] = after
            return effects
        del self.boots[fact.dyno, fact.boot]
        if before.want is not Want.UP:
            return effects
        what = f"boot {after.boot} did not come up, {describe_exit(after.status or 0)}"
        return (Say(after.name, f"{what}; the old one stays"),)

    def tick(self, now: float, policy_of: Callable[[str], Policy]) -> Effects:
        """Act on the deadlines that have passed."""
        effects: Effects = ()
        for dyno in self:
            if dyno.deadline is not None and dyno.deadline <= now:
                policy = _once(policy_of(dyno.name))
                changed, more = machine.tick(dyno, now, policy, gate=False)
                self.boots[dyno.name, dyno.boot] = changed
                effects += more
        return effects


def _once(policy: Policy) -> Policy:
    """A successor has one try: one that crashes, or is late, is given up."""
    return replace(policy, restart=Restart.NEVER, boot_timeout_kill=True)
