"""The arithmetic of the benchmarks, and their tables: turns, medians, quartiles, ratios, aims."""

from __future__ import annotations

import signal
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from procman.errors import ProcmanError

T = TypeVar("T")
R = TypeVar("R")

OURS = "procman"


class Failed(ProcmanError):
    """A contestant could not do what is measured."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some samples, and how far apart they lie."""

    median: float
    low: float  # the first quartile
    high: float  # the third
    least: float


def unwind_on_sigterm() -> None:
    """End the contestants too when somebody ends the benchmark: SIGTERM unwinds as Ctrl-C does."""

    def unwind(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would leave contestants behind
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, unwind)


def spread(samples: Sequence[float]) -> Spread:
    """At least one sample. Quartiles are those of the samples as a whole population."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0], samples[0])
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high, min(samples))


def ratio(ours: float, theirs: float) -> float:
    """How many times as much as `theirs`; nothing is once as much as nothing."""
    if theirs:
        return ours / theirs
    return 1.0 if not ours else float("inf")


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted of procman: at most so much, or so many times what another row has."""

    most: float
    of: str | None = None
    plus: float = 0.0

    def limit(self, medians: Mapping[str, float]) -> float | None:
        """The figure not to be exceeded; None when the other row is missing."""
        if self.of is None:
            return self.most
        other = medians.get(self.of)
        return None if other is None else self.most * other + self.plus

    def __str__(self) -> str:
        if self.of is None:
            return f"at most {self.most:g}"
        share = f"{self.most:g} x {self.of}" if self.most != 1 else self.of
        return f"at most {share}" + (f" + {self.plus:g}" if self.plus else "")


@dataclass(slots=True)
class Metric:
    """One thing that was measured: the samples of every contestant, in the order of the rounds."""

    name: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    aim: Aim | None = None
    aimed: str = OURS  # whose figure the aim is about
    digits: int = 1

    def add(self, who: str, sample: float) -> None:
        """One more sample."""
        self.samples.setdefault(who, []).append(sample)

    def medians(self) -> dict[str, float]:
        """The median of every contestant that has samples."""
        return {who: spread(given).median for who, given in self.samples.items() if given}

    def is_met(self) -> bool | None:
        """Whether the aim is; None when there is none, or nothing to compare with."""
        medians = self.medians()
        limit = None if self.aim is None else self.aim.limit(medians)
        ours = medians.get(self.aimed)
        return None if limit is None or ours is None else ours <= limit

    def lines(self) -> list[str]:
        """A block of text: who, median, quartiles, least, ratio to procman."""
        medians = self.medians()
        width = max((len(who) for who in medians), default=0)
        ours = medians.get(self.aimed)
        shown = [f"{self.name}, {self.unit}"]
        for who, samples in self.samples.items():
            if not samples:
                continue
            found = spread(samples)
            text = (
                f"  {who:<{width}} {self._figure(found.median):>10}"
                f"   {self._figure(found.low):>9} … {self._figure(found.high):<9}"
                f" least {self._figure(found.least):<9}"
            )
            if ours is not None and who != self.aimed:
                text += f" {ratio(found.median, ours):7.2f} x {self.aimed}"
            shown.append(text.rstrip())
        met = self.is_met()
        if met is not None:
            shown.append(f"  aim: {self.aimed} {self.aim}: {'met' if met else 'MISSED'}")
        return shown

    def cells(self, columns: Sequence[str]) -> list[str]:
        """A row of a table: the name, then the median of every contestant."""
        medians = self.medians()
        figures = [
            self._figure(medians[column]) if column in medians else "-" for column in columns
        ]
        return [f"{self.name}, {self.unit}", *figures]

    def _figure(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


def in_turn(contestants: Mapping[str, T], number: int) -> list[tuple[str, T]]:
    """All of them, each round another one first, so that what the machine does hits all alike."""
    named = list(contestants.items())
    first = number % len(named) if named else 0
    return named[first:] + named[:first]


def take_turns(
    contestants: Mapping[str, T],
    rounds: int,
    measure: Callable[[T], R],
    keep: Callable[[str, R], None],
) -> None:
    """Measure all of them, round by round. Who fails says so, and sits out the later rounds."""
    left = dict(contestants)
    for number in range(rounds):
        for name, contestant in in_turn(left, number):
            try:
                measured = measure(contestant)
            except Failed as problem:
                note(f"{name} is left out: {problem.message}")
                del left[name]
            else:
                keep(name, measured)


def note(text: str) -> None:
    """Something to know beside the tables."""
    print(f"({text})", file=sys.stderr, flush=True)


def show(metrics: Iterable[Metric], *, markdown: bool) -> None:
    """Print what was measured: blocks of text, or one table to paste."""
    given = [metric for metric in metrics if any(metric.samples.values())]
    if markdown:
        print("\n".join(markdown_table(given)), flush=True)
        return
    for metric in given:
        print("\n" + "\n".join(metric.lines()), flush=True)


def markdown_table(metrics: Sequence[Metric]) -> list[str]:
    """A row for each metric, a column for each contestant, medians."""
    columns = list(dict.fromkeys(who for metric in metrics for who in metric.samples))
    rows = [["", *columns], *(metric.cells(columns) for metric in metrics)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" * (len(columns) + 1) + "|", *lines[1:]]
