"""Eight terminals at once do what they like to one app; it settles at what was last asked.

One of its types is web, behind the router and with a check of its readiness.

Replay a failure with its seed: `PROCMAN_STRESS_SEED=… pytest tests/end_to_end/test_stress.py`.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from procman.core.wire import LONGEST, request
from procman.errors import InputError
from procman.runtime.client import ask, connect
from tests.end_to_end.conftest import PATIENCE, Running, Sandbox
from tests.end_to_end.web import names_of_ports

CLIENTS = 8
TYPES = ["web", *(f"t{number}" for number in range(1, CLIENTS))]
OPERATIONS = 60  # of each client: some 500 in all, and as many boots

# A boot holds a lock by its dyno's name, and says so when another boot holds it. `sleep` inherits
# the descriptor, so that the lock is free when the last process of the boot has gone.
GUARD = 'exec 9>>"lock.$DYNO"; flock -n 9 || echo "TWO LIVE in $DYNO";'
KINDS = (
    f"{GUARD} exec sleep 1000",
    f"{GUARD} trap '' TERM; exec sleep 1000",  # dies of the kill after the grace
    f"{GUARD} sleep 1000 & wait",  # the shell dies at once, its child with the group
    f"{GUARD} sleep 0.05; exit 1",  # crashes, is backed off, and crashes again
)


@dataclass
class Client:
    """One terminal: scales the type that is its own, and does the rest to anybody's dynos."""

    root: str
    own: str
    chance: random.Random
    quantity: int = 1
    done: list[str] = field(default_factory=list)

    def run(self) -> None:
        """All its operations."""
        for _ in range(OPERATIONS):
            verb, fields = self._choose()
            self.done.append(f"{verb} {fields}")
            try:
                ask(self.root, verb, **fields)
            except InputError as error:
                if not error.message.startswith("no dyno matches"):  # scaled away meanwhile
                    raise

    def _choose(self) -> tuple[str, dict[str, object]]:
        now = self.chance.random() < 0.2
        target = self.chance.choice(["", f"{self.own}.1", self.chance.choice(TYPES), "*"])
        targets = [target] if target else []
        match self.chance.randrange(5):
            case 0 | 1:
                self.quantity = self.chance.randrange(5)
                return "scale", {"changes": [f"{self.own}={self.quantity}"]}
            case 2:
                return "restart", {"targets": targets, "now": now}
            case 3 if target:  # without a target it would stop the app
                return "stop", {"targets": targets, "now": now}
            case 4:
                return "wait", {"targets": targets, "timeout": 0.01}
            case _:
                return "ps", {"targets": targets}


@pytest.fixture
def app(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Running:
    """An app of eight types, in which this process is a client."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sandbox.root.parent / "runtime"))
    lines = [f"{name}: {KINDS[number % len(KINDS)]}\n" for number, name in enumerate(TYPES)]
    lines[0] = f"web: {GUARD} exec python3 -m http.server $PORT --bind 127.0.0.1\n"
    running = sandbox.start("".join(lines), "--stop-timeout", "200ms", "-p", "auto")
    running.until("started with pid", CLIENTS)
    return running


def resources(pid: int) -> tuple[list[str], int]:
    """What procman has open, by kind, but for the names of ports; and its threads."""
    directory, names = f"/proc/{pid}/fd", names_of_ports()
    kinds = []
    for name in os.listdir(directory):
        try:
            kind, _, inode = os.readlink(f"{directory}/{name}").rstrip("]").partition(":[")
        except FileNotFoundError:
            continue  # the one that lists
        if inode not in names:
            kinds.append(kind)
    return sorted(kinds), len(os.listdir(f"/proc/{pid}/task"))


def require_same_resources(root: str, pid: int, before: tuple[list[str], int]) -> None:
    """The other ends of connections that were closed are closed soon after: some looks are granted,
    each of them a whole conversation.
    """
    for _ in range(200):
        converse_to_the_end(root)
        if resources(pid)[0] == before[0]:
            break
    kinds, threads = resources(pid)
    assert kinds == before[0]
    assert threads <= before[1] + 1  # the screen gets one when nobody reads: its pipe is full here


def converse_to_the_end(root: str) -> None:
    """Ask something, and wait until procman has closed its end, as it has of all before."""
    with connect(root) as connection:
        connection.sendall(request("ps"))
        while connection.recv(65536):
            pass


def at_rest(root: str, formation: dict[str, int]) -> dict[str, object]:
    """Bring the app to a formation of dynos that stay up, and wait until it is there."""
    ask(root, "scale", changes=[f"{name}={n}" for name, n in formation.items()], wait=True)
    ask(root, "restart", wait=True)
    answer = ask(root, "ps")
    rows = answer["dynos"]
    assert isinstance(rows, list)
    converse_to_the_end(root)
    return {row["dyno"]: row["state"] for row in rows}


def children_of(pid: int) -> set[int]:
    """Its child processes, zombies included."""
    found: set[int] = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
        found.update(map(int, text.split()))
    return found


def test_eight_terminals_at_once_do_no_harm(sandbox: Sandbox, app: Running) -> None:
    """The formation is what each asked for last; never two live processes in one dyno; nothing
    leaks, and nothing goes wrong unseen.
    """
    root, pid = str(sandbox.root), app.process.pid
    seed = int(os.environ.get("PROCMAN_STRESS_SEED") or secrets.randbits(32))
    print(f"PROCMAN_STRESS_SEED={seed}")
    calm = {TYPES[number]: int(number % len(KINDS) != 3) for number in range(CLIENTS)}
    expected = {f"{name}.1": "up" for name, quantity in calm.items() if quantity}
    assert at_rest(root, calm) == expected
    before, children = resources(pid), len(children_of(pid))

    clients = [
        Client(root, TYPES[number], random.Random(f"{seed} {number}")) for number in range(CLIENTS)
    ]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for future in [pool.submit(client.run) for client in clients]:
            future.result(PATIENCE)

    asked = {client.own: client.quantity for client in clients}
    answer = ask(root, "scale", changes=[])
    assert answer["formation"] == asked
    ask(root, "restart")  # those that were stopped as well
    calm_types = [name for name, n in asked.items() if n and calm[name]]
    if calm_types:
        waited = ask(root, "wait", targets=calm_types, timeout=PATIENCE)
        assert waited["unsettled"] == {}
    for name, n in asked.items():
        of_type = ask(root, "ps", targets=[name])["dynos"] if n else []
        assert isinstance(of_type, list)
        assert [row["dyno"] for row in of_type if row["state"] != "stopping"] == [
            f"{name}.{number + 1}" for number in range(n)
        ]

    assert at_rest(root, calm) == expected
    require_same_resources(root, pid, before)
    assert len(children_of(pid)) == children
    app.send(signal.SIGTERM)
    assert app.finish() == 143
    assert "TWO LIVE" not in app.text
    assert "Traceback" not in app.text
    assert "exception" not in app.text.lower()
    assert not app.survivors()


GARBAGE = (
    b"",
    b"\n",
    b"\0" * 1000,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b'{"v":1,"do":"ps"',  # cut short
    b'{"v":1,"do":"ps"}',  # no end of line
    b'{"v":99,"do":"ps"}\n',
    b'{"v":1,"do":"signal","number":NaN}\n',
    b'{"v":1,"do":"wait","timeout":NaN}\n',
    b'{"v":1,"do":"wait","timeout":1e999}\n',
    b'{"v":1,"do":"scale","changes":["\\ud800=1"]}\n',
    b'{"v":1,"do":"attach","dyno":""}\n',
    b'{"v":1,"do":' + b"[" * 900 + b"]" * 900 + b"}\n",
    b"x" * (LONGEST + 1),
    b"x" * 16 * LONGEST,  # the answer comes before its end
    b'{"v":1,"do":"ps"}\n' * 3,  # more than one
)


def received(connection: socket.socket) -> bytes:
    """What came next; nothing once the other end has closed, read to the end or not."""
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def test_garbage_is_answered_with_an_error_and_never_hurts(sandbox: Sandbox, app: Running) -> None:
    """Cut short, oversized, too new, no JSON: each gets its words, the app runs on."""
    root = str(sandbox.root)
    calm = {TYPES[number]: int(number % len(KINDS) != 3) for number in range(CLIENTS)}
    at_rest(root, calm)
    before = resources(app.process.pid)
    idle = [connect(root) for _ in range(20)]  # those that never say anything
    for data in GARBAGE:
        with connect(root) as connection:
            connection.settimeout(PATIENCE)
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was told already, and has closed
            answer = b"".join(iter(lambda: received(connection), b""))
            assert answer.startswith((b'{"ok":false,"error":', b'{"ok":true,"app":')), data[:50]
            assert answer.count(b"\n") == 1
    with connect(root) as connection:  # a client that does not wait for its answer
        connection.sendall(request("wait", timeout=60))
    for connection in idle:
        connection.close()
    at_rest(root, calm)
    require_same_resources(root, app.process.pid, before)
    app.send(signal.SIGTERM)
    assert app.finish() == 143
    assert "Traceback" not in app.text
    assert "exception" not in app.text.lower()
