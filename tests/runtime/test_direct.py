"""What is known of web dynos without a router, from the kernel and real sockets."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from procman.core.dyno import Idle, Policy, State
from procman.core.fleet import Fleet, ProcessType
from procman.runtime import direct
from procman.runtime.boots import Boots
from procman.runtime.direct import Direct
from procman.runtime.guardian import Guardian
from procman.runtime.listening import CannotDuplicate
from procman.runtime.loghub import LogHub, Source
from procman.runtime.process import HANDED_ON, Command, shell_argv, spawn
from procman.runtime.shared_socket import SharedSocket, handed_argv, with_socket
from procman.runtime.sock_diag import LISTEN, Endings, SockDiag
from procman.runtime.supervisor import Supervisor
from procman.runtime.vigil import Vigil
from tests.end_to_end.web import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tables are Linux's")
PATIENCE = 60.0


def visit(server: socket.socket) -> None:
    """A connection that comes and goes; the server has closed its end when this returns."""
    with socket.create_connection(server.getsockname()[:2], PATIENCE) as client:
        accepted, _ = server.accept()
        accepted.close()
        assert client.recv(1) == b""


def until_seen(endings: Endings) -> None:
    """The kernel tells of it a moment later."""
    select.select([endings.fileno()], [], [], PATIENCE)
    assert endings.seen()


# --- the kernel's word ---


def test_the_end_of_a_connection_to_the_port_is_seen_once_and_of_no_other() -> None:
    """Later, by who asks then."""
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.create_server(("::1", 0), family=10) as other,
    ):
        endings = Endings(ours.getsockname()[1])
        assert not endings.seen()
        visit(other)
        visit(ours)
        until_seen(endings)
        visit(other)
        assert not endings.seen()
        endings.close()


def test_more_endings_than_there_is_room_for_are_endings() -> None:
    """The kernel drops them and says so."""
    with socket.create_server(("127.0.0.1", 0)) as ours:
        endings = Endings(ours.getsockname()[1])
        for _ in range(300):
            visit(ours)
        until_seen(endings)
        while endings.seen():
            pass  # it tells of the last ones later still
        endings.close()


@pytest.mark.parametrize("only", [0, 1])
def test_the_kernel_tells_whether_a_wildcard_takes_ipv4(only: int) -> None:
    """IPV6_V6ONLY."""
    with socket.socket(socket.AF_INET6) as server, SockDiag() as diag:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        server.bind(("::", 0))
        server.listen()
        rows = diag.sockets(LISTEN, port=server.getsockname()[1])
        assert [(row.host, row.only_v6) for row in rows] == [("::", bool(only))]


# --- the watch ---


def test_a_watch_calls_once_and_holds_no_port_afterwards() -> None:
    """Whoever came before it began has come."""
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()
    client = socket.create_connection(address, PATIENCE)
    calls: list[bool] = []

    async def story() -> None:
        came = asyncio.Event()

        def come() -> None:
            calls.append(bool(vigil))
            came.set()

        vigil = Vigil(come)
        vigil.begin([server.dup()])
        server.close()
        async with asyncio.timeout(PATIENCE):
            await came.wait()
        await asyncio.sleep(0)
        assert not vigil

    asyncio.run(story())
    assert calls == [True]
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    client.close()


# --- the front ---


class Ground:
    """One web dyno, a real process, with a fleet and a supervisor."""

    def __init__(self, command: str, port: int) -> None:
        self.lines: list[str] = []
        self.listening = asyncio.Event()
        self.command, self.port = command, port
        self.hub = LogHub(lambda: 0.0)
        self.hub.add(self)
        self.guardian = Guardian("PROCMAN_COOKIE=test-direct.")
        self.boots = Boots(
            self.plan, Source, lambda _: port, self.hub, self.guardian, "test-direct"
        )
        policy = Policy(idle=Idle.SUSPEND)
        self.fleet = Fleet({"web": ProcessType("web", command, policy)}, idle_timeout=3600.0)

    def write(self, source: Source, lines: bytes, now: float) -> None:
        self.lines += lines.decode().splitlines()
        if b"listening" in lines:
            self.listening.set()

    def close(self) -> None: ...

    def plan(self, dyno: str, boot: int) -> Command:
        environment = {"PATH": os.environ["PATH"], "PORT": str(self.port)}
        return Command(shell_argv(self.command), environment, False, None, self.port)


SERVER = """
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"here")
    connection.close()
"""


@contextmanager
def serving() -> Iterator[Ground]:
    """A dyno that listens."""
    port = free_port()
    ground = Ground(f"exec {sys.executable} -c '{SERVER}'", port)
    yield ground
    for process in tuple(ground.boots.by_pid.values()):
        ground.boots.kill(process.dyno, process.boot)
        os.waitpid(process.pid, 0)
        ground.boots.bury(process)
    ground.guardian.dismiss()


@asynccontextmanager
async def watched(ground: Ground) -> AsyncIterator[tuple[Supervisor, Direct]]:
    """A dyno that is up, and its front."""
    async with Supervisor(ground.fleet, ground.boots, ground.hub) as supervisor:
        front = Direct(supervisor, ground.boots, ground.hub)
        supervisor.front = front
        supervisor.perform(ground.fleet.scale({"web": 1}, supervisor.now))
        try:
            async with asyncio.timeout(PATIENCE):
                await ground.listening.wait()
            assert ground.fleet.dynos["web.1"].state is State.UP
            yield supervisor, front
        finally:
            front.close()


def test_where_no_socket_can_be_copied_it_is_said_once_and_the_dyno_stays_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A seccomp profile, another system: no sleep rather than one that nobody ends."""
    refusal = CannotDuplicate("pidfd_getfd: refused")
    monkeypatch.setattr(direct, "duplicate_socket", lambda pid, fd: refusal)

    async def story(ground: Ground) -> None:
        async with watched(ground) as (supervisor, _):
            for _ in range(2):
                reason = supervisor.keeps_awake("web.1", lately=True)
                assert reason is not None
                assert "refused" in reason

    with serving() as ground:
        asyncio.run(story(ground))
        told = [line for line in ground.lines if "do not sleep without a router" in line]
        assert len(told) == 1
        assert ground.fleet.dynos["web.1"].state is State.UP


def test_who_is_there_and_who_was_there_keep_it_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand only who is there; by the clock also who was, since it struck last."""

    async def story(ground: Ground) -> None:
        async with watched(ground) as (supervisor, front):
            process = ground.boots.by_dyno["web.1"]
            front.up(process)
            assert supervisor.keeps_awake("web.1", lately=True) is None
            with socket.create_connection(("127.0.0.1", ground.port), PATIENCE) as client:
                while client.recv(1024):
                    pass
            endings = front._endings
            assert endings is not None
            select.select([endings.fileno()], [], [], PATIENCE)
            assert supervisor.keeps_awake("web.1", lately=True) == "somebody was there"
            assert supervisor.keeps_awake("web.1", lately=True) is None
            os.kill(process.pid, 19)  # SIGSTOP: nobody closes the next one
            with socket.create_connection(("127.0.0.1", ground.port), PATIENCE):
                assert supervisor.keeps_awake("web.1") == "a connection is open"
            os.kill(process.pid, 18)  # SIGCONT

    with serving() as ground:
        asyncio.run(story(ground))


def test_whom_the_dyno_had_accepted_when_it_was_frozen_wakes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody would come to the listening socket for him: he is in already."""

    async def story(ground: Ground) -> None:
        async with watched(ground) as (supervisor, _):
            with socket.create_connection(("127.0.0.1", ground.port), PATIENCE) as client:
                assert client.recv(4) == b"here"
                supervisor.perform(ground.fleet.idle(["web.1"], supervisor.now))
                assert ground.fleet.dynos["web.1"].state is State.SUSPENDED
                async with asyncio.timeout(PATIENCE):
                    await supervisor.until(lambda: ground.fleet.dynos["web.1"].state is State.UP)

    with serving() as ground:
        ground.command = ground.command.replace("connection.close()", "server.accept()")
        asyncio.run(story(ground))


# --- the shared socket ---


class NoGuardian:
    """Nobody must know the groups of these tests."""

    def watch(self, group: int) -> None: ...

    def forget(self, group: int) -> None: ...


@pytest.mark.parametrize("pty", [False, True])
def test_a_process_is_handed_the_socket_as_its_descriptor_3_by_its_own_pid(pty: bool) -> None:
    """Whose flags stay as they are, or an accept that another one was quicker at would hang."""
    shared = SharedSocket("127.0.0.1", 0)
    shared.open().setblocking(False)
    script = (
        "import os, socket; s = socket.socket(fileno=3); "
        "print(os.environ['LISTEN_FDS'], os.environ['LISTEN_PID'] == str(os.getpid()), "
        "s.getsockname()[1], os.get_blocking(3))"
    )
    command = Command(
        handed_argv(f'{sys.executable} -c "{script}"'),
        with_socket({"PATH": os.environ["PATH"]}),
        pty,
        None,
        socket=shared.open().fileno(),
    )
    shared.copy().close()
    process = spawn("web.1", 1, command, NoGuardian())
    os.set_blocking(process.output, True)
    _, status = os.waitpid(process.pid, 0)
    said = os.read(process.output, 65536).decode().split()
    os.close(process.output)
    port = shared.open().getsockname()[1]
    assert status == 0, said
    assert said == ["1", "True", str(port), "False"]
    assert shared.open().fileno() > HANDED_ON
    shared.close()


def test_the_shared_socket_is_refused_when_closed_and_opened_when_needed() -> None:
    """On the same port."""
    port = free_port()
    shared = SharedSocket("127.0.0.1", port)
    assert not shared.is_open
    for _ in range(2):
        assert shared.open() is shared.open()
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        shared.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), PATIENCE)
