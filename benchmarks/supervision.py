"""Starting, showing, restarting, stopping and watching over processes, against the peers.

    python -m benchmarks.supervision [--rounds N] [--quick] [--markdown] [--only PEER,…]
                                     [--measure start,lines,crash,stop,rest]

The children are of C and tell their first instruction through a fifo; the tools' output is a pipe.
CPU and memory are those of the tool's own processes, without the children's.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.lines import Verdict, check_lines
from benchmarks.measure import Aim, Metric, note, show, take_turns, unwind_on_sigterm
from benchmarks.peers import Kind, Peer, find_all, versions
from benchmarks.runs import Run, child

TAGS = ("alpha", "beta", "gamma", "delta")
CRASHES = 10  # dynos that are killed once each: a second crash would meet the back-off
SETTLED = 0.3  # seconds without a sign of life: everything is up


def waiting(quantity: int) -> Callable[[str], Sequence[Kind]]:
    """Children that say a line and wait."""
    return lambda fifo: [Kind("idler", (child(), fifo), quantity)]


def talking(count: int) -> Callable[[str], Sequence[Kind]]:
    """Four children that write so many lines each."""
    return lambda fifo: [Kind(tag, (child(), fifo, str(count), tag)) for tag in TAGS]


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the exec to the last child's first instruction, and to the first line."""

    up: float
    line: float


def measure_start(quantity: int, peer: Peer) -> Start:
    """One start."""
    with Run(peer, waiting(quantity)) as run:
        run.wait_for_stamps(1)
        run.wait_for(lambda: run.has_said(b"hello"))
        line = run.read_at - run.began
        return Start(run.wait_for_stamps(quantity) - run.began, line)


@dataclass(frozen=True, slots=True)
class Flood:
    """What a million lines cost, and what became of them."""

    wall: float
    cpu: float
    verdict: Verdict


def measure_lines(total: int, peer: Peer) -> Flood:
    """Four children write as fast as they may; the time ends with the last of it."""
    with Run(peer, talking(total // len(TAGS))) as run:
        begin = run.wait_for_stamps(len(TAGS))
        first = min(stamp.at for stamp in run.stamps) if run.stamps else begin
        run.wait_for_silence(2.0, patience=240.0)
        used = run.used()
        verdict = check_lines(b"".join(run.output), TAGS, total // len(TAGS))
        return Flood(run.read_at - first, used.cpu, verdict)


def measure_crashes(peer: Peer) -> list[float]:
    """Seconds from a SIGKILL to the successor's first instruction, of each dyno once."""
    found = []
    with Run(peer, waiting(CRASHES)) as run:
        run.wait_for_stamps(CRASHES)
        run.wait_for_silence(1.5)  # supervisor takes a second to call them running
        for number in range(CRASHES):
            begin = time.monotonic()
            os.kill(run.stamps[number].pid, signal.SIGKILL)
            run.wait_for_stamps(CRASHES + number + 1)
            found.append(run.stamps[CRASHES + number].at - begin)
            run.wait_for_silence(0.05)
    return found


def measure_stop(quantity: int, peer: Peer) -> float:
    """Seconds until a tool and its children are gone."""
    with Run(peer, waiting(quantity)) as run:
        run.wait_for_stamps(quantity)
        run.wait_for_silence(SETTLED)
        return run.stop()


@dataclass(frozen=True, slots=True)
class Rest:
    """What a tool does a second while nothing happens, and what it holds."""

    cpu: float
    wakes: float
    pss: int


def measure_rest(quantity: int, seconds: float, peer: Peer) -> Rest:
    """After everything is up."""
    with Run(peer, waiting(quantity)) as run:
        run.wait_for_stamps(quantity)
        run.wait_for_silence(2.0)
        before, begin = run.used(), time.monotonic()
        run.wait_for_silence(seconds)
        after, lasted = run.used(), time.monotonic() - begin
        return Rest(
            (after.cpu - before.cpu) / lasted,
            (after.switches - before.switches) / lasted,
            after.pss,
        )


def bench_start(peers: Mapping[str, Peer], rounds: int) -> list[Metric]:
    """1, 20 and 100 processes."""
    metrics = []
    line = Metric("first line of a child", "ms", aim=Aim(1, "honcho"))
    for quantity in (1, 20, 100):
        aim = Aim(1 / 3, "honcho") if quantity == 100 else None
        up = Metric(f"{quantity} up" if quantity > 1 else "1 process up", "ms", aim=aim)

        def keep(name: str, start: Start, quantity: int = quantity, up: Metric = up) -> None:
            up.add(name, start.up * 1000)
            if quantity == 1:
                line.add(name, start.line * 1000)

        take_turns(peers, rounds, partial(measure_start, quantity), keep)
        metrics.append(up)
    return [line, *metrics]


def bench_lines(peers: Mapping[str, Peer], rounds: int, total: int) -> list[Metric]:
    """A million lines from four processes."""
    share = 1e6 / total
    cpu = Metric("CPU for a million lines", "s", aim=Aim(0.1, "honcho"), digits=2)
    pace = Metric("lines a second", "thousands", digits=0)
    lost = Metric("lines lost", "of a million", aim=Aim(0), digits=0)
    torn = Metric("lines torn", "of a million", aim=Aim(0), digits=0)

    def keep(name: str, flood: Flood) -> None:
        cpu.add(name, flood.cpu * share)
        pace.add(name, flood.verdict.expected / flood.wall / 1000)
        lost.add(name, flood.verdict.lost * share)
        torn.add(name, flood.verdict.torn * share)
        if flood.verdict.doubled or flood.verdict.disordered:
            note(f"{name}: {flood.verdict}")

    take_turns(peers, rounds, partial(measure_lines, total), keep)
    return [cpu, pace, lost, torn]


def bench_crashes(peers: Mapping[str, Peer], rounds: int) -> list[Metric]:
    """Those that restart."""
    metric = Metric("crash to next first instruction", "ms", aim=Aim(10), digits=1)

    def keep(name: str, seconds: list[float]) -> None:
        for sample in seconds:
            metric.add(name, sample * 1000)

    restarting = {name: peer for name, peer in peers.items() if peer.restarts}
    take_turns(restarting, rounds, measure_crashes, keep)
    return [metric]


def bench_stop(peers: Mapping[str, Peer], rounds: int) -> list[Metric]:
    """Twenty processes."""
    metric = Metric("20 stopped", "ms", aim=Aim(1 / 3, "honcho"))
    take_turns(
        peers,
        rounds,
        partial(measure_stop, 20),
        lambda name, seconds: metric.add(name, seconds * 1000),
    )
    return [metric]


def bench_rest(peers: Mapping[str, Peer], rounds: int, seconds: float) -> list[Metric]:
    """With 100 processes, and the memory with one."""
    cpu = Metric("CPU at rest, 100 processes", "ms a minute", aim=Aim(0))
    wakes = Metric("wake-ups at rest, 100 processes", "a second", aim=Aim(0), digits=2)
    large = Metric("memory with 100 processes", "MB (PSS)", aim=Aim(1, "honcho"))
    small = Metric("memory with 1 process", "MB (PSS)", aim=Aim(1, "honcho"))

    def keep(name: str, rest: Rest) -> None:
        cpu.add(name, rest.cpu * 60_000)
        wakes.add(name, rest.wakes)
        large.add(name, rest.pss / 1e6)

    take_turns(peers, rounds, partial(measure_rest, 100, seconds), keep)
    take_turns(
        peers,
        rounds,
        partial(measure_rest, 1, 0.5),
        lambda name, rest: small.add(name, rest.pss / 1e6),
    )
    return [cpu, wakes, large, small]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.supervision", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, help="default: 7; with --quick 1")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="one table to paste")
    parser.add_argument("--only", default="", metavar="PEER,…", help="against these peers")
    parser.add_argument("--measure", default="start,lines,crash,stop,rest", metavar="WHAT,…")
    given = parser.parse_args(arguments)
    rounds = given.rounds or (1 if given.quick else 7)
    peers = find_all([name for name in given.only.split(",") if name])
    benches: dict[str, Callable[[], list[Metric]]] = {
        "start": partial(bench_start, peers, rounds),
        "lines": partial(bench_lines, peers, min(rounds, 3), 100_000 if given.quick else 1_000_000),
        "crash": partial(bench_crashes, peers, min(rounds, 3)),
        "stop": partial(bench_stop, peers, rounds),
        "rest": partial(bench_rest, peers, min(rounds, 3), 3.0 if given.quick else 20.0),
    }
    print(f"{versions(peers)}; {rounds} rounds at most, medians", flush=True)
    metrics: list[Metric] = []
    for what in given.measure.split(","):
        if what not in benches:
            parser.error(f"there is no {what!r} to measure: {', '.join(benches)}")
        found = benches[what]()
        metrics += found
        if not given.markdown:
            show(found, markdown=False)
    if given.markdown:
        show(metrics, markdown=True)


if __name__ == "__main__":
    unwind_on_sigterm()
    main()
