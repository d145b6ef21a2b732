"""Freezing and thawing real trees, a real gunicorn among them."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from procman.runtime.freezer import Frozen, freeze
from procman.runtime.tree import state_of, tree


@contextmanager
def running(code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that leads a session; its whole tree is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-u", "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_tree(process)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    for pid in freeze(process.pid).processes:  # frozen, none can escape
        os.kill(pid.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def say(process: subprocess.Popen[bytes], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text.encode() + b"\n")
    process.stdin.flush()


def stopped(*pids: int) -> bool:
    """Whether all are stopped. SIGSTOP was sent; the kernel obeys when it next schedules them, and
    tells nobody but their parents, so this looks on until it has: a hang means that it was not."""
    for pid in pids:
        while state_of(pid) in ("R", "D", "S"):
            os.sched_yield()
    return all(state_of(pid) == "T" for pid in pids)


def runs(pid: int) -> bool:
    """SIGCONT ends a stop before kill() returns."""
    return state_of(pid) in ("R", "D", "S")


def pids_of(frozen: Frozen) -> list[int]:
    return [process.pid for process in frozen.processes]


# Says its pid and those of its children: one in the same group, one that called setsid.
FAMILY = """
import os, subprocess, sys
children = [subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=new)
            for new in (False, True)]
print(*(child.pid for child in children))
for line in sys.stdin:
    print("parent", line.strip())
"""


def test_a_tree_is_stopped_parents_first_and_wakes_leaves_first() -> None:
    """A child that called setsid is frozen with the rest."""
    with running(FAMILY) as parent:
        children = [int(word) for word in line_of(parent).split()]
        frozen = freeze(parent.pid)
        assert pids_of(frozen) == [parent.pid, *children]
        assert stopped(*pids_of(frozen))
        held = frozen.thaw_leaves()
        assert held
        assert [process.pid for process in held.processes] == [parent.pid]
        assert all(runs(pid) for pid in children)
        assert stopped(parent.pid)
        say(parent, "hello")
        held.release()
        assert line_of(parent) == "parent hello"


def test_a_lone_process_has_nobody_to_hold() -> None:
    with running("import sys\nfor line in sys.stdin: print(line)") as process:
        frozen = freeze(process.pid)
        assert stopped(process.pid)
        assert not frozen.thaw_leaves()
        say(process, "awake")
        assert line_of(process) == "awake"


def test_thawing_all_ends_every_stop_and_twice_is_harmless() -> None:
    """So that the SIGTERM that follows is not left pending."""
    with running(FAMILY) as parent:
        children = [int(word) for word in line_of(parent).split()]
        frozen = freeze(parent.pid)
        assert stopped(*pids_of(frozen))
        frozen.thaw_all()
        frozen.thaw_all()
        assert all(runs(pid) for pid in [parent.pid, *children])


# Every process forks one more and ends, for ever: the tree is another at each look.
RUNNER = """
import os, sys
print("go")
while True:
    child = os.fork()
    if child == 0:
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            os.wait()
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("attempt", range(10))
def test_a_fork_in_the_midst_of_freezing_does_not_escape(attempt: int) -> None:
    """After the freeze nothing of the tree runs, and no look finds more of it."""
    with running(RUNNER) as process:
        assert line_of(process) == "go", attempt
        frozen = freeze(process.pid)
        alive = [pid for pid in tree(process.pid) if state_of(pid) not in (None, "Z")]
        assert set(alive) <= set(pids_of(frozen))
        assert all(stopped(pid) or state_of(pid) in (None, "Z") for pid in alive)
        assert tree(process.pid) == tree(process.pid)


def test_strays_that_appear_while_freezing_are_frozen_too() -> None:
    """A process that lost its parent is not in the tree; who knows of it says so at each walk."""
    with running(FAMILY) as parent, running(FAMILY) as stray:
        line_of(parent)
        line_of(stray)
        walks = iter([[], [stray.pid], [stray.pid]])
        frozen = freeze(parent.pid, lambda: next(walks))
        assert pids_of(frozen) == [*tree(parent.pid), *tree(stray.pid)]
        frozen.thaw_all()


def test_a_process_that_died_while_frozen_is_passed_over() -> None:
    """And a tree that is gone freezes to nothing."""
    with running(FAMILY) as parent:
        children = [int(word) for word in line_of(parent).split()]
        frozen = freeze(parent.pid)
        os.kill(children[0], signal.SIGKILL)
        held = frozen.thaw_leaves()
        held.release()
        say(parent, "on")
        assert line_of(parent) == "parent on"
    assert freeze(parent.pid).processes == ()


# The parent alone listens, as a Node cluster's primary or Vite does; its child has no socket.
PARENT_SERVES = """
import socket, subprocess
helper = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1])
while True:
    connection, _ = listener.accept()
    connection.sendall(b"served")
    connection.close()
"""


def test_a_parent_that_alone_has_the_listening_socket_is_not_held() -> None:
    """It is the one that answers; held, it would let the visitor wait for 20 s."""
    with running(PARENT_SERVES) as parent:
        port = int(line_of(parent))
        frozen = freeze(parent.pid)
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert stopped(*pids_of(frozen))
            assert not frozen.thaw_leaves()
            assert client.recv(6) == b"served"


APP = """
import os
def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/hold":  # until the other end of the pipe is closed
        with open(os.environ["HOLD"], "rb") as pipe:
            pipe.read()
    return [b"%d" % os.getpid()]
"""
SETTINGS = """
bind = "127.0.0.1:0"
workers = {workers}
timeout = 5  # an awake worker that a busy machine holds up, or that has a request, lives
control_socket_disable = True
"""


class Gunicorn:
    """A real gunicorn with its log; `lines` until a word is how a test waits."""

    def __init__(self, place: Path, workers: int) -> None:
        place.mkdir()
        (place / "app.py").write_text(APP, "utf-8")
        (place / "settings.py").write_text(SETTINGS.format(workers=workers), "utf-8")
        self.gate = place / "gate"
        os.mkfifo(self.gate)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"{sys.executable} -m gunicorn -c settings.py app:app; true"],
            cwd=place,
            env={**os.environ, "HOLD": str(self.gate), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.seen: list[str] = []
        self.port = int(self.until("Listening at").split("127.0.0.1:")[1].split()[0])
        self.workers = {int(self.until("Booting worker").split(": ")[-1]) for _ in range(workers)}

    def until(self, word: str) -> str:
        while line := line_of(self.process):
            self.seen.append(line)
            if word in line:
                return line
        raise AssertionError(f"no {word!r} in {self.seen}")

    def connect(self, path: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return connection

    def answer(self, connection: socket.socket) -> int:
        """The pid of the worker that answered 200."""
        with connection, connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
        assert head.split()[1] == b"200"
        return int(body)

    def ask_two_workers(self) -> set[int]:
        """Two requests at a time, so that each worker has one."""
        held = self.connect("/hold")
        with self.gate.open("wb"):  # opens once a worker reads: that one is busy now
            other = self.answer(self.connect("/"))
        return {self.answer(held), other}

    def arbiter_has_looked(self) -> None:
        """Each look at the workers ends before the next signal is told: two are enough."""
        arbiter = tree(self.process.pid)[1]
        for _ in range(2):
            os.kill(arbiter, signal.SIGWINCH)
            self.until("winch")


@contextmanager
def gunicorn(place: Path, workers: int) -> Iterator[Gunicorn]:
    server = Gunicorn(place, workers)
    try:
        yield server
    finally:
        kill_tree(server.process)


def let_the_timeout_pass(clock: Gunicorn) -> None:
    """A worker that hangs from now on is given up when gunicorn's timeout is over."""
    hanging = clock.connect("/hold")
    with clock.gate.open("wb"):
        clock.until("WORKER TIMEOUT")
    hanging.close()


def test_gunicorn_frozen_for_longer_than_its_timeout_loses_no_worker_and_no_request(
    tmp_path: Path,
) -> None:
    """The shell and the arbiter are held while the workers answer."""
    with gunicorn(tmp_path / "frozen", 2) as server, gunicorn(tmp_path / "clock", 1) as clock:
        assert server.ask_two_workers() == server.workers
        frozen = freeze(server.process.pid)
        assert set(pids_of(frozen)) == {*tree(server.process.pid)}
        let_the_timeout_pass(clock)
        early = server.connect("/")  # waits in the backlog of the sleeping server
        assert select.select([early], [], [], 0)[0] == []
        held = frozen.thaw_leaves()
        assert [process.pid for process in held.processes] == tree(server.process.pid)[1::-1]
        assert server.answer(early) in server.workers
        assert server.ask_two_workers() == server.workers
        held.release()
        server.arbiter_has_looked()
        assert server.ask_two_workers() == server.workers
        assert not [line for line in server.seen if "TIMEOUT" in line or "Worker" in line]


@pytest.mark.parametrize("way", ["leaves", "all"])
def test_workers_that_had_no_time_to_prove_their_life_are_not_killed(
    tmp_path: Path, way: str
) -> None:
    """However soon the arbiter looks: with `-t 120` an idle worker is silent for a minute."""
    with gunicorn(tmp_path / "frozen", 2) as server, gunicorn(tmp_path / "clock", 1) as clock:
        frozen = freeze(server.process.pid)
        assert len(frozen.heartbeats) >= 2
        let_the_timeout_pass(clock)
        if way == "all":
            frozen.thaw_all()
        else:
            frozen.thaw_leaves().release()
        server.arbiter_has_looked()
        assert server.ask_two_workers() == server.workers
        assert not [line for line in server.seen if "TIMEOUT" in line or "Worker" in line]


def test_a_tree_without_gunicorn_has_no_heartbeats() -> None:
    with running(FAMILY) as parent:
        line_of(parent)
        frozen = freeze(parent.pid)
        assert frozen.heartbeats == ()
        frozen.thaw_all()
