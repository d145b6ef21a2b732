"""What a sleeping web dyno costs the request that wakes it, and an awake one nothing.

    python -m benchmarks.wake [--rounds N] [--quick] [--markdown]

One request, on a connection of its own, to the awake dyno and to the sleeping one in turn: behind
the router, on its own port, and on the shared socket. A stopped one has to boot, so what counts is
what is added to the boot. Where procman is in nobody's way, wrk shows that it is not: the same
server alone, on its own port under procman, and on the shared socket, in turn.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measure import OURS, Aim, Failed, Metric, in_turn, note, show, unwind_on_sigterm
from benchmarks.peers import Kind, Peer, procman, versions
from benchmarks.runs import PATIENCE, Run, compiled
from procman.errors import ProcmanError

AWAKE = "awake"
SLEEPING = "asleep"
PLAIN = "without procman"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
END = b"Hello, world!"  # as backend.c answers


@dataclass(frozen=True, slots=True)
class Mode:
    """One way of a request to the dyno. `most` is the aim, in ms more than awake."""

    name: str
    options: tuple[str, ...]
    most: float
    port: str = "$PORT"  # what the server is told
    settings: str = ""


ROUTER = Mode("behind the router", ("--router",), 2.0)
DIRECT = Mode("on its own port", ("--no-router",), 1.0)
SHARED = Mode("on a shared socket", ("--no-router",), 1.0, "fd", "[types.web]\nsocket = true\n")


def web(mode: Mode, idle: str, ours: Peer) -> tuple[Peer, int]:
    """procman so that it runs one web dyno of the fast server, and the port to ask."""
    port = free_port()

    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        (place / "procman.toml").write_text(mode.settings)
        argv = ours.configure(place, kinds)
        return [*argv, *mode.options, "-p", str(port), "--idle", idle]

    return replace(ours, configure=configure), port


def server(mode: Mode) -> Callable[[str], Sequence[Kind]]:
    """The dyno."""
    return lambda _fifo: [Kind("web", (compiled("backend.c"), mode.port))]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def request(port: int) -> float:
    """Seconds from before the connect to the end of the answer."""
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(END):
            part = connection.recv(65536)
            if not part:
                raise ConnectionError(f"an answer without an end: {answer!r}")
            answer += part
    return time.monotonic() - begin


def boot(argv: Sequence[str], port: int) -> float:
    """Seconds from the exec of the plain server to the end of its first answer."""
    begin = time.monotonic()
    with subprocess.Popen([*argv, str(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it listens
        request(port)
        took = time.monotonic() - begin
        process.terminate()
    return took


def wait_until_up(run: Run) -> None:
    """Whoever reads its first line may ask. Raises Failed when the dyno does not come up."""
    run.wait_for(lambda: run.has_said(b"started"))
    unsettled = run.ask("wait")["unsettled"]
    if unsettled:
        raise Failed(f"procman's dyno is not up: {unsettled}")


def fall_asleep(run: Run) -> None:
    """Ask for it until the last request's connection is gone, which its closing only begins."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            run.ask("idle", wait=True)
        except ProcmanError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def bench_suspended(mode: Mode, ours: Peer, rounds: int) -> Metric:
    """Awake and suspended in turn."""
    peer, port = web(mode, "suspend", ours)
    metric = Metric(
        f"request, dyno suspended, {mode.name}",
        "ms",
        aim=Aim(1, AWAKE, plus=mode.most),
        aimed=SLEEPING,
        digits=2,
    )
    with Run(peer, server(mode)) as run:
        wait_until_up(run)
        request(port)
        for _ in range(rounds):
            metric.add(AWAKE, request(port) * 1000)
            fall_asleep(run)
            metric.add(SLEEPING, request(port) * 1000)
    return metric


def bench_stopped(mode: Mode, ours: Peer, rounds: int) -> Metric:
    """A boot by hand, and a request that causes one."""
    peer, port = web(mode, "stop", ours)
    metric = Metric(
        f"request, dyno stopped, {mode.name}",
        "ms",
        aim=Aim(1, PLAIN, plus=5),
        aimed=SLEEPING,
        digits=2,
    )
    argv = ["/bin/sh", "-c", 'exec "$0" "$1"', compiled("backend.c")]
    with Run(peer, server(mode)) as run:
        wait_until_up(run)
        for _ in range(rounds):
            metric.add(PLAIN, boot(argv, free_port()) * 1000)
            fall_asleep(run)
            metric.add(SLEEPING, request(port) * 1000)
    return metric


def wrk(port: int, seconds: int) -> float:
    """Requests a second over 32 connections."""
    said = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{seconds}", f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    return float(found[1]) if found and "Socket errors" not in said else 0.0


def bench_pace(ours: Peer, rounds: int, seconds: int) -> list[Metric]:
    """The same server in three ways, which should be one."""
    if shutil.which("wrk") is None:
        note("the pace is left out: wrk is not installed")
        return []
    metric = Metric("requests a second, 32 connections", "thousands")
    with ExitStack() as stack:
        ports = {PLAIN: free_port()}
        plain = subprocess.Popen([compiled("backend.c"), str(ports[PLAIN])], stdout=subprocess.PIPE)
        stack.callback(plain.wait)
        stack.callback(plain.send_signal, signal.SIGKILL)
        assert plain.stdout is not None
        stack.callback(plain.stdout.close)
        plain.stdout.readline()
        for mode in (DIRECT, SHARED):
            peer, ports[mode.name] = web(mode, "suspend", ours)
            run = stack.enter_context(Run(peer, server(mode)))
            wait_until_up(run)
        for number in range(rounds):
            for name, port in in_turn(ports, number):
                metric.add(name, wrk(port, seconds) / 1000)
    return [replace(metric, aimed=PLAIN)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wake", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, help="default: 50; with --quick 10")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="one table to paste")
    given = parser.parse_args(arguments)
    rounds = given.rounds or (10 if given.quick else 50)
    ours = procman()
    print(f"{versions({OURS: ours})}; {rounds} rounds, medians", flush=True)
    metrics = [bench_suspended(mode, ours, rounds) for mode in (ROUTER, DIRECT, SHARED)]
    metrics += [bench_stopped(mode, ours, rounds) for mode in (ROUTER, SHARED)]
    metrics += bench_pace(ours, 1 if given.quick else 5, 1 if given.quick else 3)
    show(metrics, markdown=given.markdown)


if __name__ == "__main__":
    unwind_on_sigterm()
    main()
