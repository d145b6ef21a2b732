"""From a save to the first instruction of the new process, beside the tools that watch; and what a
tree of 20,000 ignored files costs.

    python -m benchmarks.watch [--rounds N] [--quick] [--markdown]

Each tool runs the same program and is asked for a start by the same save, in turn. What counts is
the process that stays: some start one for each of a save's events, the first before all is written.
Between two saves there is a second of quiet, so that nobody is held back for the save before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import (
    OURS,
    Aim,
    Failed,
    Metric,
    in_turn,
    note,
    show,
    take_turns,
    unwind_on_sigterm,
)
from benchmarks.peers import Kind, Peer, cache, find_all, procman, versions
from benchmarks.runs import Run, child
from procman.errors import ProcmanError

SAVED = "app.py"  # as people write: a text file that changes so often is taken for the app's own
QUIET = 1.0  # seconds
FILES, PER_DIRECTORY = 20_000, 20
IGNORED = "node_modules"


def watching(ours: Peer) -> Peer:
    """procman with --watch."""

    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        return [*ours.configure(place, kinds), "--watch"]

    return replace(ours, configure=configure)


def python_peer(package: str, name: str, argv: Callable[[str, str], list[str]]) -> Peer:
    """A tool of PyPI: its argv, of its command and of what it is to run. Raises Failed."""
    place = cache() / "watchers"
    command = place / "bin" / name
    if not command.exists():
        try:
            if not (place / "bin" / "python").exists():
                subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            pip = [str(place / "bin" / "pip"), "install", "-q", package]
            subprocess.run(pip, check=True, capture_output=True)
        except subprocess.CalledProcessError as problem:
            raise Failed(f"{package} is not to be had: {problem}") from None
    found = subprocess.run(
        [str(place / "bin" / "pip"), "show", package.partition("[")[0]],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.partition("Version: ")[2]

    def configure(_place: Path, kinds: Sequence[Kind]) -> list[str]:
        return argv(str(command), kinds[0].command)

    return Peer(name, found.partition("\n")[0], configure)


def contestants() -> dict[str, Peer]:
    """All that can be had."""
    makers: dict[str, Callable[[], Peer]] = {
        OURS: lambda: watching(procman()),
        "watchfiles": lambda: python_peer(
            "watchfiles", "watchfiles", lambda tool, command: [tool, command, "."]
        ),
        "watchmedo": lambda: python_peer(
            "watchdog[watchmedo]",
            "watchmedo",
            lambda tool, command: [tool, "auto-restart", "-R", "-d", ".", "--", *command.split()],
        ),
        "pm2": pm2,
    }
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except Failed as problem:
            note(f"{name} is left out: {problem.message}")
    return found


def pm2() -> Peer:
    """pm2 with `watch`."""
    peers = find_all(["pm2"])
    if "pm2" not in peers:
        raise Failed("it needs node and npm")

    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        argv = peers["pm2"].configure(place, kinds)
        file = Path(argv[-1])
        file.write_text(file.read_text().replace("instances:", "watch: true, instances:"))
        return argv

    return replace(peers["pm2"], configure=configure)


def save(place: Path, text: str) -> float:
    """As an editor does; when it was done."""
    (place / SAVED).write_text(text)
    return time.monotonic()


def bench_saves(rounds: int) -> list[Metric]:
    """Milliseconds from the end of the save, and how many processes it took."""
    metric = Metric("save to the first instruction of the process that stays", "ms")
    starts = Metric("starts for one save", "processes", digits=0)
    with ExitStack() as stack:
        running: dict[str, Run] = {}
        for name, peer in contestants().items():
            run = Run(peer, lambda fifo: [Kind("app", (child(), fifo))])
            save(run.root, "0")
            try:
                stack.enter_context(run)
                run.wait_for_stamps(1)
                warm_up(run)
            except ProcmanError as problem:
                note(f"{name} is left out: {problem.message}")
                continue
            running[name] = run
        for number in range(rounds):
            for name, run in in_turn(running, number):
                run.wait_for_silence(QUIET)
                known = len(run.stamps)
                at = save(run.root, str(number + 1))
                run.wait_for_stamps(known + 1)
                run.wait_for_silence(QUIET)
                metric.add(name, (run.stamps[-1].at - at) * 1000)
                starts.add(name, len(run.stamps) - known)
    fastest = min((one for one in metric.samples if one != OURS), key=metric.medians().__getitem__)
    metric.aim = Aim(1, of=fastest)
    return [metric, starts]


def warm_up(run: Run) -> None:
    """Save until it is noticed: a watch may begin after the first process."""
    for number in range(50):
        known = len(run.stamps)
        save(run.root, f"warm {number}")
        try:
            run.wait_for(lambda known=known: len(run.stamps) > known, patience=2.0)  # type: ignore[misc]  # its default is the count
        except Failed:
            continue
        return
    raise Failed("it notices no save")


def grow(place: Path) -> None:
    """20,000 files in a directory that nobody watches."""
    for number in range(FILES):
        file = place / IGNORED / f"package{number // PER_DIRECTORY}" / f"file{number}.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def bench_tree(rounds: int) -> list[Metric]:
    """Start-up until it watches, and memory then, without and with the tree."""
    began = Metric("start until it watches", "ms", aimed="with it")
    memory = Metric("memory (PSS)", "MB", aimed="with it")
    began.aim, memory.aim = Aim(1.1, of="without"), Aim(1.05, of="without")
    template = cache() / "tree"
    if not template.exists():
        grow(template)
    peer = watching(procman())

    def measure(has_tree: bool) -> tuple[float, float]:
        run = Run(peer, lambda fifo: [Kind("app", (child(), fifo))])
        # Beside the app where it is to do without: the kernel writes it out while procman starts.
        place = run.root if has_tree else run.place / "beside"
        shutil.copytree(template, place, dirs_exist_ok=True)
        with run:
            run.wait_for(lambda: run.has_said(b"watching for changes"))
            return (run.read_at - run.began) * 1000, run.used().pss / 1e6

    def keep(name: str, measured: tuple[float, float]) -> None:
        began.add(name, measured[0])
        memory.add(name, measured[1])

    take_turns({"without": False, "with it": True}, rounds, measure, keep)
    return [began, memory]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.watch", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, help="default: 15; with --quick 3")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="tables to paste")
    given = parser.parse_args(arguments)
    rounds = given.rounds or (3 if given.quick else 15)
    os.umask(0o022)
    print(f"{versions({OURS: procman()})}; {rounds} rounds, medians", flush=True)
    show(bench_saves(rounds), markdown=given.markdown)
    show(bench_tree(rounds), markdown=given.markdown)


if __name__ == "__main__":
    unwind_on_sigterm()
    main()
