"""The tree of processes, made of real ones that say where they are on a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from procman.runtime import tree as module
from procman.runtime.tree import started_at, state_of, tree, usage_of

WAIT = "import sys; sys.stdin.read()"

# Prints its pid and that of a child in a session of its own, which prints that of a grandchild.
THREE = """
import os, subprocess, sys, threading
def child():
    global process
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", sys.argv[1]], start_new_session=True, stdin=0)
thread = threading.Thread(target=child); thread.start(); thread.join()
print(os.getpid(), process.pid, flush=True)
process.wait()
"""
CHILD = """
import subprocess, sys
process = subprocess.Popen(["/bin/cat"], stdout=subprocess.DEVNULL)
print(process.pid, flush=True)
process.wait()
"""


@contextmanager
def three_generations() -> Iterator[list[int]]:
    """The pids of a process, of its child (another session) and of its grandchild."""
    command = [sys.executable, "-S", "-c", THREE, CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = sorted((process.stdout.readline().split() for _ in range(2)), key=len)
        yield [*map(int, lines[1]), *map(int, lines[0])]
        process.stdin.close()
        process.stdout.read()


@pytest.fixture(params=["children", "scan", "psutil"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three ways to learn the tree."""
    way = str(request.param)
    if way == "psutil":
        monkeypatch.setattr(module, "IS_LINUX", False)
    elif way == "scan":
        exists: Callable[[str], bool] = os.path.exists
        hidden = "/proc/thread-self/children"
        monkeypatch.setattr(os.path, "exists", lambda path: path != hidden and exists(path))
    return way


def test_a_tree_goes_through_sessions_and_comes_parents_first(way: str) -> None:
    """A child started by a thread and one in a session of its own belong to the tree."""
    with three_generations() as pids:
        assert tree(pids[0]) == pids, way
        assert tree(pids[1]) == pids[1:]


def test_several_roots_are_one_tree_without_doubles(way: str) -> None:
    with three_generations() as pids:
        assert sorted(tree(pids[0], pids[2])) == sorted(pids), way


def test_the_tree_of_a_process_that_ended_is_empty(way: str) -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert tree(process.pid) == [], way
    assert usage_of(process.pid) is None
    assert started_at(process.pid) in (None, 0)


BURN = """
import os, sys, time
if os.fork() == 0:
    while time.process_time() < 0.2: pass
    os._exit(0)
os.wait()
held = bytearray(os.urandom(1)) * 30_000_000
print("burnt", flush=True)
sys.stdin.read()
"""


def test_usage_counts_what_reaped_children_used_and_memory(way: str) -> None:
    """A dyno's CPU time does not fall when a helper of its ends."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"burnt\n", way
        used = usage_of(process.pid)
        process.communicate()
    assert used is not None
    assert used.cpu_seconds >= 0.19  # clock ticks are 10 ms
    assert used.rss_bytes >= 30_000_000


def test_a_pid_and_its_start_name_a_process_for_good() -> None:
    """The start stays while the process is stopped and goes with it."""
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    start = started_at(process.pid)
    assert start is not None
    assert start > 0
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert state_of(process.pid) == "T"
    assert started_at(process.pid) == start
    process.kill()
    process.wait()
    assert state_of(process.pid) is None
    if process.stdin is not None:
        process.stdin.close()
