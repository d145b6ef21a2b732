"""Each check of readiness on a real process that becomes ready when the test lets it."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import socket
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import cast

import pytest

from procman.core.dyno import Policy
from procman.core.fleet import Fleet, ProcessType
from procman.core.readiness import (
    Delay,
    Exec,
    Finished,
    Http,
    Log,
    Port,
    Readiness,
    Spawned,
)
from procman.errors import InputError
from procman.runtime import orphans, readiness
from procman.runtime.blueprint import free_ports
from procman.runtime.boots import Boots
from procman.runtime.front import Front
from procman.runtime.guardian import Guardian
from procman.runtime.listening import Listening, listening_sockets
from procman.runtime.loghub import LogHub, Source
from procman.runtime.process import Command, Process, kill_group, shell_argv
from procman.runtime.readiness import pauses, wait_until_ready
from procman.runtime.supervisor import Supervisor
from procman.runtime.taps import Taps

PATIENCE = 60.0  # until a test gives up; never what a test measures

LISTEN_LATER = """
import os, signal, socket, sys
open("go").read()
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(os.environ["PORT"])))
server.listen()
signal.pause()
"""

ANSWER_LATER = """
import http.server, os
statuses = [int(word) for word in os.environ["STATUSES"].split()]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as file:
            print(self.path, file=file)
        self.send_response(statuses.pop(0))
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Ground:
    """One dyno, db.1, on a port of its own, in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ports = free_ports()  # kept: the port is ours for as long
        self.port = self.ports("db", 1)
        self.command = ""
        self.environ = dict[str, str]()
        self.hub = LogHub(lambda: 0.0)
        self.source = Source("db.1")
        self.guardian = Guardian("PROCMAN_COOKIE=test-readiness.")
        self.boots = Boots(
            self.plan, lambda _: self.source, lambda _: self.port, self.hub, self.guardian, "test"
        )
        os.mkfifo(root / "go")

    def plan(self, dyno: str, boot: int) -> Command:
        """What to run."""
        environment = {"PATH": os.environ["PATH"], "PORT": str(self.port), **self.environ}
        return Command(shell_argv(self.command), environment, False, None, self.port)

    def spawn(self, command: str) -> Process:
        """Start the dyno."""
        self.command = command
        process = self.boots.spawn("db.1", 1)
        assert process is not None
        return process

    def spawn_python(self, script: str) -> Process:
        """Start the dyno as a child of its shell."""
        (self.root / "script.py").write_text(script)
        return self.spawn(f"{sys.executable} script.py; true")

    def go(self) -> None:
        """Let the dyno go on."""
        (self.root / "go").write_text("go\n")

    def connect(self) -> None:
        """Fails unless somebody listens."""
        socket.create_connection(("127.0.0.1", self.port)).close()

    def wait(self, check: Readiness, process: Process) -> None:
        """Until the dyno is ready."""
        asyncio.run(patiently(wait_until_ready(check, process, self.boots)))

    def close(self) -> None:
        """End all of it."""
        for process in self.boots.by_pid.values():
            kill_group(process)
            os.waitpid(process.pid, 0)
            os.close(process.output)
        self.guardian.dismiss()


async def patiently(awaitable: Awaitable[None]) -> None:
    """A hang is a failure."""
    async with asyncio.timeout(PATIENCE):
        await awaitable


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """The dyno to be; whatever was started is killed afterwards."""
    monkeypatch.chdir(tmp_path)
    ground = Ground(tmp_path)
    yield ground
    ground.close()


def ended(pid: int) -> bool:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])
    finally:
        os.close(descriptor)


# --- port ---


def test_a_dyno_is_not_ready_before_its_port_is_bound(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at often; by a descendant, not by the shell itself."""
    looks = itertools.count(1)

    def pauses_that_let_go(first: float, longest: float) -> Iterator[float]:
        for pause in pauses(first, longest):
            if next(looks) == 5:
                ground.go()
            yield pause

    monkeypatch.setattr(readiness, "pauses", pauses_that_let_go)
    process = ground.spawn_python(LISTEN_LATER)
    ground.wait(Port(), process)
    ground.connect()
    assert next(looks) > 5
    assert process.address == ("127.0.0.1", ground.port)


@pytest.mark.parametrize(
    ("bound", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1"), ("127.0.0.2", "127.0.0.2")],
)
def test_it_is_known_where_a_dyno_listens(ground: Ground, bound: str, reached: str) -> None:
    """Some servers bind only IPv6's `localhost`; its http check asks there as well."""
    family = "AF_INET6" if ":" in bound else "AF_INET"
    script = ANSWER_LATER.replace("127.0.0.1", bound).replace(
        "http.server.HTTPServer((",
        f"http.server.HTTPServer.address_family = __import__('socket').{family}\n"
        "http.server.HTTPServer((",
    )
    ground.environ["STATUSES"] = "200"
    process = ground.spawn_python(script)
    ground.wait(Http("/"), process)
    assert process.address == (reached, ground.port)


def test_somebody_elses_socket_on_the_port_does_not_make_it_ready(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connect would have been answered."""
    looks = itertools.count(1)
    foreign = socket.create_server(("127.0.0.1", ground.port))

    def look(pids: list[int]) -> list[Listening]:
        if next(looks) == 5:
            foreign.close()
            ground.go()
        return listening_sockets(pids)

    monkeypatch.setattr(readiness, "listening_sockets", look)
    ground.wait(Port(), ground.spawn_python(LISTEN_LATER))
    ground.connect()
    assert next(looks) > 5


def test_a_socket_that_others_open_in_its_name_makes_it_ready(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker listens by a process outside of the dyno's tree."""
    looks = itertools.count(1)
    opened = list[socket.socket]()

    def pauses_that_open(first: float, longest: float) -> Iterator[float]:
        for pause in pauses(first, longest):
            if next(looks) == 5:
                opened.append(socket.create_server(("127.0.0.1", ground.port)))
            yield pause

    monkeypatch.setattr(readiness, "pauses", pauses_that_open)
    ground.wait(Port(), ground.spawn("exec sleep 60"))
    assert next(looks) > 5
    for server in opened:
        server.close()


def test_a_boot_past_its_timeout_is_looked_at_seldom() -> None:
    """From 1 ms to 20 ms, and after a minute once a second."""
    looked, total = 0, 0.0
    for pause in pauses(0.001, 0.020):
        if total >= 60.0:
            assert pause == readiness.PATIENT
            break
        assert 0.001 <= pause <= 0.020
        total += pause
        looked += 1
    assert looked < 3200


# --- http ---


@pytest.mark.parametrize(
    ("statuses", "asked"), [("200", 1), ("302", 1), ("204", 1), ("500 404 399", 3)]
)
def test_a_status_below_400_is_ready(ground: Ground, statuses: str, asked: int) -> None:
    """Asked again until then, at the path that was given."""
    ground.environ["STATUSES"] = f"{statuses} 500"
    ground.wait(Http("/up?x=1"), ground.spawn_python(ANSWER_LATER))
    assert (ground.root / "asked").read_text().splitlines() == ["/up?x=1"] * asked


@pytest.mark.parametrize(
    "first", [b"", b"\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 many\r\n", b"x" * 99999]
)
def test_what_is_no_http_is_asked_again(ground: Ground, first: bytes) -> None:
    """A server that is half up may say anything."""
    script = f"""
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
for answer in ({first!r}, b"HTTP/1.1 200 OK\\r\\n\\r\\n"):
    connection, _ = server.accept()
    connection.recv(65536)
    connection.sendall(answer)
    connection.close()
open("done", "w").close()
open("go").read()
"""
    ground.wait(Http("/"), ground.spawn_python(script))
    ground.go()
    assert (ground.root / "done").exists()


# --- log ---


def test_a_line_makes_it_ready_whenever_it_was_written(ground: Ground) -> None:
    """Before anybody waits, or later; colours do not hide it; the next boot begins anew."""
    taps = Taps({"db": r"^ready on \d+$"})
    ground.boots.taps = taps
    ground.hub.add(taps)
    process = ground.spawn("exec sleep 60")

    source, predecessor = Source("db.1"), Source("db.1")
    others = {"web.1": Source("web.1"), "db.2": Source("db.2")}

    def write(text: str, to: Source = source) -> None:
        taps.write(to, text.encode(), 0.0)

    async def story() -> None:
        for each in (*others.values(), source):
            taps.begin(each)
        write("nothing\nready on x\n")
        write("ready on 1\n", others["web.1"])
        write("ready on 1\n", others["db.2"])
        write("ready on 1\n", predecessor)
        waiting = asyncio.ensure_future(wait_until_ready(Log(), process, ground.boots))
        await asyncio.sleep(0)
        assert not waiting.done()
        write("more\n\x1b[32mready on 5432\x1b[0m\nand more\n")
        await waiting
        await wait_until_ready(Log(), process, ground.boots)
        taps.begin(source)
        waiting = asyncio.ensure_future(wait_until_ready(Log(), process, ground.boots))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        write("ready on 5432\n")

    asyncio.run(patiently(story()))


# --- exec ---


def test_a_command_is_run_until_it_ends_with_zero(ground: Ground) -> None:
    """In the dyno's environment, and silent."""
    process = ground.spawn("exec sleep 60")
    command = 'echo "$PORT" >> tries; echo noise; test "$(wc -l < tries)" -ge 3'
    ground.wait(Exec(command), process)
    assert (ground.root / "tries").read_text() == f"{ground.port}\n" * 3
    assert ground.boots.probes == set()


def test_a_command_that_hangs_is_killed_with_all_it_started_and_tried_again(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once is not for ever."""
    monkeypatch.setattr(readiness, "ONE_TRY", 0.2)
    process = ground.spawn("exec sleep 60")
    ground.wait(Exec("test -s hung || { sleep 1000 & echo $! > hung; wait; }"), process)
    assert ended(int((ground.root / "hung").read_text()))


def test_a_command_does_not_outlive_the_wait(ground: Ground) -> None:
    """The dyno has ended, or the app."""
    process = ground.spawn("exec sleep 60")

    async def story() -> None:
        check = Exec("echo $$ > go; exec sleep 1000")
        waiting = asyncio.ensure_future(wait_until_ready(check, process, ground.boots))
        pid = int(await asyncio.to_thread((ground.root / "go").read_text))
        assert ground.boots.probes == {pid}
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert ended(pid)
        left.append(pid)

    left = list[int]()
    asyncio.run(patiently(story()))
    assert ground.boots.probes == set()
    assert os.waitpid(left[0], 0) == (left[0], signal.SIGKILL)  # as procman reaps its orphans


def test_procman_leaves_the_exit_of_a_command_to_who_waits_for_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All other unknown children are reaped as orphans."""
    monkeypatch.setattr(orphans, "_is_subreaper", True)
    ground.spawn("exec sleep 60")
    pid = os.posix_spawn("/bin/true", ["true"], {})
    ground.boots.probes.add(pid)
    assert ended(pid)
    ground.boots.reap()
    assert os.waitpid(pid, 0) == (pid, 0)


# --- the supervisor ---


def test_what_ends_a_supervised_block_is_raised_as_it_is_and_ends_the_checks(
    ground: Ground,
) -> None:
    """An error of the user's, not a group of errors; nobody goes on asking."""
    ground.spawn("exec sleep 60")
    check = Exec("echo $$ > go; exec sleep 1000")
    fleet = Fleet({"db": ProcessType("db", "", ready=check)})
    fleet.scale({"db": 1}, 0.0)
    asked = list[int]()

    async def story() -> None:
        async with Supervisor(fleet, ground.boots, ground.hub):
            asked.append(int(await asyncio.to_thread((ground.root / "go").read_text)))
            raise InputError("no")

    with pytest.raises(InputError):
        asyncio.run(patiently(story()))
    assert ended(asked[0])
    assert ground.boots.probes == set()


class Told:
    """A front that remembers what is told to it."""

    def __init__(self) -> None:
        self.ups: list[tuple[str, int] | None] = []

    def up(self, process: Process) -> None:
        """Ready, and reached there."""
        self.ups.append(process.reached_at)

    def changed(self) -> None:
        """It does not look."""

    def gone(self, dyno: str, boot: int) -> None:
        """Nor does it lease."""


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_router_is_told_again_of_who_was_ready_early_only_where_it_listens_elsewhere(
    ground: Ground, is_elsewhere: bool
) -> None:
    """It would take it for another, and cut off whom it serves there already."""
    host = "127.0.0.2" if is_elsewhere else "127.0.0.1"
    (ground.root / "script.py").write_text(LISTEN_LATER.replace("127.0.0.1", host))
    ground.command = f"{sys.executable} script.py; true"
    fleet = Fleet({"db": ProcessType("db", "", Policy(routed=True), ready=Spawned())})
    front = Told()

    async def story() -> None:
        async with Supervisor(fleet, ground.boots, ground.hub) as supervisor:
            supervisor.front = cast(Front, front)
            supervisor.perform(fleet.scale({"db": 1}, supervisor.now))
            (process,) = ground.boots.by_pid.values()
            assert front.ups == [("127.0.0.1", ground.port)]
            await asyncio.to_thread(ground.go)
            while process.address is None:
                assert process.pid in ground.boots.by_pid
                await asyncio.sleep(0)

    asyncio.run(patiently(story()))
    assert front.ups[1:] == ([(host, ground.port)] if is_elsewhere else [])


# --- the others ---


def test_spawned_is_ready_and_finished_never_is(ground: Ground) -> None:
    """The end of a one-shot is its exit."""
    process = ground.spawn("exec sleep 60")
    ground.wait(Spawned(), process)
    ground.wait(Delay("0s"), process)

    async def story() -> None:
        waiting = asyncio.ensure_future(wait_until_ready(Finished(), process, ground.boots))
        os.kill(process.pid, signal.SIGKILL)
        assert ended(process.pid)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(patiently(story()))


def test_a_delay_is_waited_for(ground: Ground) -> None:
    """On the loop's clock, never less."""
    process = ground.spawn("exec sleep 60")

    async def story() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await wait_until_ready(Delay("50ms"), process, ground.boots)
        assert loop.time() - begun >= 0.05

    asyncio.run(patiently(story()))
