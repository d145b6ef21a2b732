"""Who listens where: found in real processes, by netlink and by each fallback."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from procman.runtime import listening, sock_diag
from procman.runtime.listening import (
    CannotDuplicate,
    duplicate_socket,
    established_count,
    holder_of,
    listening_sockets,
    waiting_count,
)
from procman.runtime.tree import tree

# Binds what each word of its input says, answers with the port, ends with its input.
SERVER = """
import os, socket, sys
held = []
for word in sys.stdin:
    host = word.strip()
    if host == "fork":
        if os.fork():
            os.wait()
            break
        print("forked", os.getpid(), flush=True)
        continue
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.bind((host, 0))
    listener.listen(5)
    held.append(listener)
    print(listener.getsockname()[1], flush=True)
"""


class Server:
    """The process and a way to tell it what to bind."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid

    def say(self, word: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def server() -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, "-S", "-u", "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Server(process)
        process.communicate()


@pytest.fixture(params=["netlink", "table", "psutil"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three ways to learn the sockets."""
    way = str(request.param)
    if way == "psutil":
        monkeypatch.setattr(listening, "IS_LINUX", False)
    elif way == "table":
        monkeypatch.setattr(sock_diag, "_NETLINK_SOCK_DIAG", 9999)  # no such protocol
    return way


def test_a_listener_is_found_on_any_address(way: str) -> None:
    """Bound to ::1 or 0.0.0.0 instead of 127.0.0.1: seen, with the host as bound."""
    with server() as running:
        hosts = ["127.0.0.1", "0.0.0.0", "::1", "::"]
        ports = [int(running.say(host)) for host in hosts]
        found = listening_sockets([running.pid])
    assert sorted((row.host, row.port) for row in found) == sorted(zip(hosts, ports, strict=True))
    assert {row.pid for row in found} == {running.pid}, way
    assert {row.family for row in found} == {socket.AF_INET, socket.AF_INET6}
    assert all(row.fd > 2 for row in found)


def test_a_shared_listener_comes_once_for_each_process(way: str) -> None:
    with server() as running:
        port = int(running.say("127.0.0.1"))
        child = int(running.say("fork").split()[1])
        found = listening_sockets(tree(running.pid))
    assert [(row.pid, row.port) for row in found] == [(running.pid, port), (child, port)], way
    assert len({row.inode for row in found}) == 1


def test_processes_without_a_listener_or_gone_have_none(way: str) -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    with server() as running:
        assert listening_sockets([running.pid, process.pid]) == [], way


def test_the_holder_of_a_busy_port_is_named(way: str) -> None:
    """With a command line that cannot trouble a terminal or fill it."""
    with server() as running:
        port = int(running.say("127.0.0.1"))
        holder = holder_of(port)
        assert holder is not None, way
        assert holder.pid == running.pid
        assert holder.command.startswith(sys.executable)
        assert holder.command.isprintable()
        assert len(holder.command) <= 80
    assert holder_of(port) is None


def test_a_connected_port_without_a_listener_has_no_holder(way: str) -> None:
    """A client's own end of a connection is not a busy port."""
    with server() as running:
        port = int(running.say("127.0.0.1"))
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert holder_of(client.getsockname()[1]) is None, way


def test_connections_count_until_the_client_has_closed(way: str) -> None:
    """Not accepted, open, and half closed by a client that waits for the answer: all count."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert established_count(port) == 0, way
        with (
            socket.create_connection(("127.0.0.1", port)),
            socket.create_connection(("127.0.0.1", port)) as second,
        ):
            if way != "psutil":
                assert waiting_count(port) == 2
                assert established_count(port) == 2
            taken = [listener.accept()[0] for _ in range(2)]
            second.shutdown(socket.SHUT_WR)
            assert taken[1].recv(1) == b""
            assert established_count(port) == 2
            assert waiting_count(port) == 0
            taken[1].close()
            assert established_count(port) == 1
            taken[0].close()


def test_connections_over_ipv6_and_to_a_dual_stack_listener_count(way: str) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with (
            socket.create_connection(("127.0.0.1", port)),
            socket.create_connection(("::1", port)),
        ):
            taken = [listener.accept()[0] for _ in range(2)]
            assert established_count(port) == 2, way
            for connection in taken:
                connection.close()


def test_a_copied_socket_sees_the_connection_to_a_stopped_server() -> None:
    """And holds the port until it is closed."""
    with server() as running:
        port = int(running.say("127.0.0.1"))
        [found] = listening_sockets([running.pid])
        copy = duplicate_socket(found.pid, found.fd)
        assert isinstance(copy, socket.socket)
        with copy:
            assert copy.getsockname() == ("127.0.0.1", port)
            assert not os.get_inheritable(copy.fileno())
            assert select.select([copy], [], [], 0)[0] == []
            with socket.create_connection(("127.0.0.1", port)):
                assert select.select([copy], [], [], 10)[0] == [copy]
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
        again.listen()


def test_why_a_socket_cannot_be_copied_is_said() -> None:
    with server() as running:
        bad = duplicate_socket(running.pid, 999)
    gone = duplicate_socket(running.pid, 0)
    assert isinstance(bad, CannotDuplicate)
    assert isinstance(gone, CannotDuplicate)
    assert (bad.reason, gone.reason) == (
        "pidfd_getfd: Bad file descriptor",
        "pidfd_open: No such process",
    )


def test_another_platform_says_that_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    refused = duplicate_socket(os.getpid(), 0)
    assert isinstance(refused, CannotDuplicate)
    assert "Linux" in refused.reason


def test_the_kernel_answers_in_more_than_one_datagram() -> None:
    """Six hundred listeners are all seen."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(600)]
    try:
        found = listening_sockets([os.getpid()])
        assert {row.port for row in found} >= {one.getsockname()[1] for one in held}
    finally:
        for one in held:
            one.close()


def test_the_usual_path_imports_neither_psutil_nor_ctypes() -> None:
    """`ps` must stay quick."""
    code = (
        "import sys; import procman.runtime.listening as l, procman.runtime.freezer;"
        "l.holder_of(1); print([m for m in ('psutil', 'ctypes', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
