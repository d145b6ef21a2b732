"""Requests per second through the router against nginx, haproxy, Caddy and a direct connection.

    python -m benchmarks.router [--rounds N] [--seconds N] [--install]

One fast backend in C behind all of them, wrk in front, one thread or process for each. The
contestants take turns within each round; shown are the medians, and the medians of the ratios to a
direct connection and to nginx of the same round, since a machine's speed drifts. The processor time
that a contestant takes for a request hardly does, also where others use the machine. A contestant
that is not installed is skipped and named; `--install` asks apt-get for all that are missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.measure import unwind_on_sigterm
from procman.core.routing import Backend, Outlook, Waiting
from procman.runtime.bind import listen
from procman.runtime.router import Router

PACKAGES = {"wrk": "wrk", "cc": "gcc", "nginx": "nginx", "haproxy": "haproxy", "caddy": "caddy"}

# A path for each request, so that no memory of heads helps anybody.
NEW_PATHS = """
local n = 0
request = function() n = n + 1; return wrk.format("GET", "/a/" .. n) end
"""

NGINX = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Request-Id $request_id;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server one 127.0.0.1:{backend}
"""

CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  reverse_proxy 127.0.0.1:{backend}
}}
"""


@dataclass(frozen=True)
class Case:
    """One way to ask."""

    name: str
    connections: int
    options: tuple[str, ...] = ()


def cases(script: Path) -> list[Case]:
    return [
        Case("1 connection", 1),
        Case("32 connections", 32),
        Case("32 connections, new paths", 32, ("-s", str(script))),
        Case("256 connections", 256),
        Case("1 connection, no keep-alive", 1, ("-H", "Connection: close")),
        Case("32 connections, no keep-alive", 32, ("-H", "Connection: close")),
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@dataclass(frozen=True)
class Contestant:
    """Where one listens, and its first process."""

    port: int
    pid: int


@dataclass(frozen=True)
class Result:
    """Of one run; 0 requests when there were errors."""

    requests: float  # per second
    cpu: float  # µs per request


def family(pid: int) -> list[int]:
    """A process and its descendants: nginx's worker is its master's child."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid,
        *(
            one
            for task in tasks
            for child in task.read_text().split()
            for one in family(int(child))
        ),
    ]


def cpu_seconds(pid: int) -> float:
    """User and system time of all of them, proc(5)."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[int]:
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            wait_for(port)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


class Awake:
    """A supervisor whose dyno is always up."""

    def outlook(self) -> Outlook:
        return Waiting.SERVE_SOON

    def wake(self) -> None: ...

    def busy(self) -> None: ...

    def quiet(self) -> None: ...

    def drained(self, dyno: str, boot: int) -> None: ...

    def log(self, line: str) -> None: ...


async def serve(port: int, backend: int) -> None:
    """The contestant: the router as the supervisor runs it."""
    router = Router(Awake(), listen("127.0.0.1", port, "the router"))
    await router.start()
    router.add(Backend("web.1", 1, "127.0.0.1", backend))
    await asyncio.Event().wait()


def contestants(directory: Path, backend: Contestant, stack: ExitStack) -> dict[str, Contestant]:
    """Everything that could be started, by name."""
    started = {"direct": backend}

    def enter(name: str, port: int, *command: str) -> None:
        started[name] = Contestant(port, stack.enter_context(running(command, port)))

    port = free_port()
    enter("procman", port, sys.executable, "-m", __spec__.name, "--serve", f"{port}:{backend.port}")
    for name, template, command in (
        ("nginx", NGINX, ("nginx", "-c")),
        ("haproxy", HAPROXY, ("haproxy", "-db", "-f")),
        ("caddy", CADDY, ("caddy", "run", "--adapter", "caddyfile", "--config")),
    ):
        if shutil.which(name) is None:
            print(f"{name} is skipped: it is not installed (--install)", file=sys.stderr)
            continue
        port = free_port()
        config = directory / f"{name}.conf"
        config.write_text(template.format(directory=directory, port=port, backend=backend.port))
        enter(name, port, *command, str(config))
    return started


def measure(case: Case, contestant: Contestant, seconds: int) -> Result:
    """One run of wrk."""
    before = cpu_seconds(contestant.pid)
    said = subprocess.run(
        [
            *("wrk", "-t1", f"-c{case.connections}", f"-d{seconds}"),
            *case.options,
            f"http://127.0.0.1:{contestant.port}/",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in said or re.search(r"Socket errors: connect [1-9]|timeout [1-9]", said):
        print(said, file=sys.stderr)
        return Result(0.0, 0.0)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    number = re.search(r"(\d+) requests in", said)
    if rate is None or number is None or number[1] == "0":
        return Result(0.0, 0.0)
    spent = cpu_seconds(contestant.pid) - before
    return Result(float(rate[1]), spent / int(number[1]) * 1e6)


def report(case: Case, results: dict[str, list[Result]]) -> None:
    print(f"\n{case.name}")
    rates = {name: [run.requests for run in runs] for name, runs in results.items()}
    for name, figures in rates.items():
        shares = [
            statistics.median(own / other for own, other in zip(figures, rates[base], strict=True))
            if base in rates and all(rates[base])
            else 0.0
            for base in ("direct", "nginx")
        ]
        print(
            f"  {name:8} {statistics.median(figures):9,.0f}/s"
            f"   {shares[0]:4.2f} of direct   {shares[1]:4.2f} of nginx"
            f"   {statistics.median(run.cpu for run in results[name]):5.1f} µs of CPU each"
        )


def run(rounds: int, seconds: int) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o755)  # nginx's worker is another user when root starts it
        source = Path(__file__).with_name("backend.c")
        binary = directory / "backend"
        subprocess.run(["cc", "-O2", "-o", str(binary), str(source)], check=True)
        script = directory / "paths.lua"
        script.write_text(NEW_PATHS)
        port = free_port()
        pid = stack.enter_context(running([str(binary), str(port)], port))
        started = contestants(directory, Contestant(port, pid), stack)
        for case in cases(script):
            results: dict[str, list[Result]] = {name: [] for name in started}
            for number in range(rounds):
                names = list(started)
                turn = number % len(names)
                for name in names[turn:] + names[:turn]:
                    results[name].append(measure(case, started[name], seconds))
            report(case, results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--serve", metavar="PORT:BACKEND", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        port, backend = map(int, options.serve.split(":"))
        uvloop.run(serve(port, backend))
        return
    unwind_on_sigterm()  # and not while serving, where a callback would swallow the exception
    missing = [package for name, package in PACKAGES.items() if shutil.which(name) is None]
    if options.install and missing:
        subprocess.run(["apt-get", "install", "--yes", "--quiet", *missing], check=True)
    needed = [name for name in ("wrk", "cc") if shutil.which(name) is None]
    if needed:
        sys.exit(f"{' and '.join(needed)} is needed: apt-get install wrk gcc, or --install")
    run(options.rounds, options.seconds)


if __name__ == "__main__":
    main()
