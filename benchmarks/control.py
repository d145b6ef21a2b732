"""How quickly a running app answers another terminal, and grows when it is asked to.

    python -m benchmarks.control [--rounds N] [--quick] [--markdown]

`procman ps` against what its one large import costs alone, `python -c "import click"` in the same
virtual environment, in turn; a scale-up from the request's sending, and from the command's exec, to
the new process's first instruction.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable, Sequence

from benchmarks.measure import OURS, Aim, Metric, in_turn, show, unwind_on_sigterm
from benchmarks.peers import Kind, procman, procman_venv, versions
from benchmarks.runs import Run, child

DYNOS = 5
IMPORT = "import click"
REQUEST = "from the request"
COMMAND = "from the command"


def timed(command: Sequence[str], run: Run) -> float:
    """Seconds that a command takes in the app's directory."""
    begin = time.monotonic()
    subprocess.run(
        command,
        cwd=run.root,
        env=dict(run.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - begin


def bench_ps(run: Run, rounds: int) -> Metric:
    """The command, and Python with click alone."""
    bin_directory = procman_venv() / "bin"
    commands = {
        OURS: [str(bin_directory / "procman"), "ps"],
        IMPORT: [str(bin_directory / "python"), "-c", IMPORT],
    }
    metric = Metric(f"procman ps of {DYNOS} dynos", "ms", aim=Aim(1, IMPORT, plus=20))
    for number in range(rounds):
        for name, command in in_turn(commands, number):
            metric.add(name, timed(command, run) * 1000)
    return metric


def bench_scale(run: Run, rounds: int) -> Metric:
    """One dyno more, by a request over the control socket and by the command; and back."""

    def by_request() -> None:
        run.ask("scale", changes=["idler+1"])

    command = [str(procman_venv() / "bin" / "procman"), "scale", "idler+1"]
    ways: dict[str, Callable[[], object]] = {
        REQUEST: by_request,
        COMMAND: lambda: timed(command, run),
    }
    metric = Metric("scale-up to the first instruction", "ms", aim=Aim(20), aimed=REQUEST)
    for number in range(rounds):
        for name, grow in in_turn(ways, number):
            known = len(run.stamps)
            begin = time.monotonic()
            grow()
            run.wait_for_stamps(known + 1)
            metric.add(name, (run.stamps[known].at - begin) * 1000)
            run.ask("scale", changes=["idler-1"], wait=True)
    return metric


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.control", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, help="default: 30; with --quick 5")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="one table to paste")
    given = parser.parse_args(arguments)
    rounds = given.rounds or (5 if given.quick else 30)
    ours = procman()
    print(f"{versions({OURS: ours})}; {rounds} rounds, medians", flush=True)
    with Run(ours, lambda fifo: [Kind("idler", (child(), fifo), DYNOS)]) as run:
        run.wait_for(lambda: run.has_said(b"started"))  # whoever reads that may ask
        run.ask("wait")
        show([bench_ps(run, rounds), bench_scale(run, rounds)], markdown=given.markdown)


if __name__ == "__main__":
    unwind_on_sigterm()
    main()
