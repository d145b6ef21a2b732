"""Web apps behind a running procman, and clients that ask them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from procman.runtime.drawn_port import DrawnPort, draw_port
from tests.end_to_end.conftest import PATIENCE, Running, Sandbox

PYTHON = sys.executable
SITE = Path(__file__).parent / "site.py"

NODE = """
require("http").createServer((request, answer) => answer.end("web.1 " + process.pid))
  .listen(Number(process.argv[2]), "127.0.0.1");
"""

# Each as a line of a Procfile. What is shared by all: `site.py` beside it.
SERVERS = {
    "gunicorn sync": f"{PYTHON} -m gunicorn -b 127.0.0.1:$PORT site_app:application",
    "gunicorn gthread": (
        f"{PYTHON} -m gunicorn -k gthread --threads 4 -b 127.0.0.1:$PORT site_app:application"
    ),
    "uvicorn": f"{PYTHON} -m uvicorn --port $PORT --log-level error site_app:asgi",
    "hypercorn": f"{PYTHON} -m hypercorn -b 127.0.0.1:$PORT site_app:asgi",
    "waitress": f"{PYTHON} -m waitress --listen 127.0.0.1:$PORT site_app:application",
    "http.server": f"{PYTHON} -m http.server -b 127.0.0.1 $PORT",
    "node": "node site.js $PORT",
}
GUNICORN = SERVERS["gunicorn gthread"]


def require(server: str) -> None:
    """Skip the test where the server is not installed."""
    module = server.split()[0]
    if module == "node":
        found = shutil.which("node") is not None
    else:
        found = module == "http.server" or importlib.util.find_spec(module) is not None
    if not found:
        pytest.skip(f"{module} is not installed")


drawn: deque[DrawnPort] = deque(maxlen=100)


def free_port() -> int:
    """One that nobody has now, and that no procman of another test draws soon."""
    drawn.append(draw_port())
    return drawn[-1].number


def names_of_ports() -> set[str]:
    """The inodes of the sockets that keep drawn ports from other procmans: one for each dyno that
    ever had such a port, which it has again when it is scaled up again.
    """
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {row[6] for row in rows if row[7:] and row[7].startswith("@procman-port-")}


@dataclass
class Site:
    """A web app that runs, and its port."""

    sandbox: Sandbox
    app: Running
    port: int

    def get(self, path: str = "/", *headers: str) -> tuple[int, str]:
        """Status and body; status 0 when nobody answers. Its server has closed the connection when
        this returns, so that nothing of it is left that could keep the dyno awake.
        """
        lines = [f"GET {path} HTTP/1.0", "Host: localhost", *headers, "", ""]
        try:
            with self.connected("\r\n".join(lines).encode()) as client:
                answer = read_all(client)
        except ConnectionError:
            return 0, ""
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body.decode()

    def call(self, *arguments: str) -> tuple[int, str]:
        """The status and the words of a command."""
        running = self.sandbox.procman(*arguments)
        return running.finish(), running.text

    def done(self, *arguments: str) -> str:
        """The words of a command that went well."""
        status, text = self.call(*arguments)
        assert status == 0, text
        return text

    def row(self, dyno: str = "web.1") -> dict[str, object]:
        """What `ps --json` says of it."""
        found = json.loads(self.done("ps", "--json", dyno))["dynos"][0]
        assert isinstance(found, dict)
        return found

    def state(self, dyno: str = "web.1") -> object:
        """Its state."""
        return self.row(dyno)["state"]

    def sleep(self) -> None:
        """By hand."""
        self.done("idle", "--wait")

    @contextmanager
    def connected(self, request: bytes) -> Iterator[socket.socket]:
        """A connection on which this has been sent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            client.sendall(request)
            yield client

    def open_gate(self) -> None:
        """Let a held request go on."""
        (self.sandbox.root / "gate").write_text("go\n")

    def stop(self) -> None:
        """End the app; nobody is left."""
        self.done("stop", "--wait")
        assert self.app.finish() == 0, self.app.text
        assert not self.app.survivors()


def start_site(sandbox: Sandbox, command: str, *arguments: str, more: str = "") -> Site:
    """`procman start` with this as web, up and asked for nothing yet."""
    sandbox.write("site_app.py", SITE.read_text())
    sandbox.write("site.js", NODE)
    if not (sandbox.root / "gate").exists():
        os.mkfifo(sandbox.root / "gate")
    port = free_port()
    app = sandbox.start(f"web: {command}\n{more}", "-p", str(port), *arguments)
    app.until("web.1 started")
    site = Site(sandbox, app, port)
    site.done("wait", "web")
    return site


def read_all(client: socket.socket) -> bytes:
    """Until the other side closes."""
    received = b""
    while part := client.recv(65536):
        received += part
    return received


class Load:
    """Clients that ask again and again, until told to stop; every answer is kept."""

    def __init__(self, site: Site, clients: int) -> None:
        self._site = site
        self._over = threading.Event()
        self.answers: list[tuple[int, str]] = []
        self._pool = ThreadPoolExecutor(clients)
        self._clients = clients

    def __enter__(self) -> Load:
        for _ in range(self._clients):
            self._pool.submit(self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()

    def until_answered(self, more: int) -> None:
        """So many answers from now on."""
        wanted = len(self.answers) + more
        with self._more:
            assert self._more.wait_for(lambda: len(self.answers) >= wanted, PATIENCE)

    _more = threading.Condition()

    def _ask(self) -> None:
        import httpx

        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            while not self._over.is_set():
                try:
                    answer = client.get(f"http://127.0.0.1:{self._site.port}/")
                    kept = answer.status_code, answer.text
                except httpx.HTTPError as error:
                    kept = 0, repr(error)
                with self._more:
                    self.answers.append(kept)
                    self._more.notify_all()
