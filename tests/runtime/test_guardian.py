"""The guardian kills what procman left behind when it was killed itself."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from procman.runtime import guardian as module
from procman.runtime.guardian import Guardian

PATIENCE = 60.0


@pytest.fixture
def cookie() -> str:
    """An app's own."""
    return f"PROCMAN_COOKIE={uuid.uuid4().hex}."


@pytest.fixture
def guardian(cookie: str) -> Iterator[Guardian]:
    """One that has ended when the test has."""
    guardian = Guardian(cookie)
    yield guardian
    guardian.dismiss()


def sleeper(cookie: str | None = None) -> subprocess.Popen[bytes]:
    """A process in a session of its own that ignores what it is asked."""
    environ = {"PATH": "/usr/bin:/bin"}
    if cookie is not None:
        name, _, value = cookie.partition("=")
        environ[name] = value + "web.1.1."
    return subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do sleep 60; done"],
        env=environ,
        start_new_session=True,
    )


def abandon(guardian: Guardian) -> None:
    """As if procman had been killed: its end of the pipe is closed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, guardian._pipe)
    os.close(null)


def wait_for_end(guardian: Guardian) -> None:
    """Until it has done all that it does."""
    os.waitid(os.P_PID, guardian.pid, os.WEXITED | os.WNOWAIT)


def wait_for_pause(guardian: Guardian, paused: Path) -> None:
    """Until it rests between two rounds, which it tells there; it has not ended."""
    told = os.open(paused, os.O_RDONLY | os.O_NONBLOCK)
    ended = os.pidfd_open(guardian.pid)
    try:
        assert select.select([told, ended], [], [], PATIENCE)[0] == [told]
    finally:
        os.close(told)
        os.close(ended)


def kill(process: subprocess.Popen[bytes]) -> None:
    """And all its group."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def test_it_kills_the_groups_that_it_was_told_of(guardian: Guardian) -> None:
    """Whatever their environment: the group is enough."""
    process = sleeper()
    guardian.watch(process.pid)
    abandon(guardian)
    assert process.wait(PATIENCE) == -signal.SIGKILL


def test_what_it_is_told_at_once_it_knows_as_well(guardian: Guardian) -> None:
    """In one piece at the end, in the order in which it was said."""
    processes = [sleeper() for _ in range(3)]
    try:
        with guardian.told_at_once():
            for process in processes:
                guardian.watch(process.pid)
            guardian.forget(processes[0].pid)
        abandon(guardian)
        wait_for_end(guardian)
        assert processes[0].poll() is None
        assert [process.wait(PATIENCE) for process in processes[1:]] == [-signal.SIGKILL] * 2
    finally:
        kill(processes[0])


def test_it_kills_what_bears_the_cookie(guardian: Guardian, cookie: str) -> None:
    """Whatever its group: a daemon has left it."""
    process = sleeper(cookie)
    abandon(guardian)
    assert process.wait(PATIENCE) == -signal.SIGKILL


def test_it_finds_a_process_that_had_no_environment_yet(
    cookie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is just being executed; here it gets its cookie after the first look for it: the
    pause that follows is over when the test says so.
    """
    paused, go = tmp_path / "paused", tmp_path / "go"
    os.mkfifo(paused)
    os.mkfifo(go)
    held = f"if [ $round = 1 ]; then echo >'{paused}'; read -r go <'{go}'; else sleep 0.1; fi"
    assert module._SCRIPT.count("sleep 0.1") == 1
    monkeypatch.setattr(module, "_SCRIPT", module._SCRIPT.replace("sleep 0.1", held))
    name, _, value = cookie.partition("=")
    script = f"read -r go; exec env {name}={value}web.1.1. sh -c 'echo here; exec sleep 60'"
    with subprocess.Popen(
        ["/bin/sh", "-c", script],
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        guardian = Guardian(cookie)
        try:
            abandon(guardian)
            wait_for_pause(guardian, paused)
            process.stdin.write(b"go\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"here\n"
            go.write_text("go\n")
            wait_for_end(guardian)
            assert process.wait(PATIENCE) == -signal.SIGKILL
        finally:
            process.kill()
            os.kill(guardian.pid, signal.SIGKILL)  # it may wait for the test for ever
            guardian.dismiss()


def test_it_spares_what_it_was_told_to_forget_and_strangers(guardian: Guardian) -> None:
    """A group's number may be somebody else's by now."""
    forgotten, stranger, other = sleeper(), sleeper("PROCMAN_COOKIE=somebody."), sleeper()
    try:
        for process in (other, forgotten):
            guardian.watch(process.pid)
        guardian.forget(forgotten.pid)
        guardian.forget(1234567)
        abandon(guardian)
        assert other.wait(PATIENCE) == -signal.SIGKILL
        wait_for_end(guardian)
        assert forgotten.poll() is None
        assert stranger.poll() is None
    finally:
        kill(forgotten)
        kill(stranger)


def test_dismissed_it_kills_nobody(cookie: str) -> None:
    """And is gone when dismiss returns."""
    guardian, process = Guardian(cookie), sleeper(cookie)
    try:
        guardian.watch(process.pid)
        guardian.dismiss()
        assert process.poll() is None
        assert not Path(f"/proc/{guardian.pid}").exists()
    finally:
        kill(process)


def test_it_is_in_a_session_of_its_own_and_deaf_to_what_ends_us(guardian: Guardian) -> None:
    """Neither Ctrl-C nor a closed terminal takes it away first."""
    assert os.getsid(guardian.pid) == guardian.pid
    guardian.watch(999999)
    process = sleeper()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        os.kill(guardian.pid, number) if _traps(guardian) else None
    guardian.watch(process.pid)
    abandon(guardian)
    assert process.wait(PATIENCE) == -signal.SIGKILL


def _traps(guardian: Guardian) -> bool:
    """Once its shell has come so far: SIGTERM is ignored."""
    descriptor = os.pidfd_open(guardian.pid)
    try:
        while not select.select([descriptor], [], [], 0)[0]:
            status = Path(f"/proc/{guardian.pid}/status").read_text()
            ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
            if ignored >> (signal.SIGTERM - 1) & 1:
                return True
    finally:
        os.close(descriptor)
    return False


def test_killed_itself_it_does_not_take_us_with_it(cookie: str) -> None:
    """The app runs on unguarded."""
    guardian = Guardian(cookie)
    os.kill(guardian.pid, signal.SIGKILL)
    os.waitpid(guardian.pid, 0)
    guardian.watch(12345)
    guardian.forget(12345)
    guardian.dismiss()


def test_thousands_of_boots_are_no_burden(guardian: Guardian, cookie: str) -> None:
    """It reads as fast as they come, and knows the last."""
    for group in range(100_000, 103_000):
        guardian.watch(group)
        guardian.forget(group)
    process = sleeper()
    guardian.watch(process.pid)
    abandon(guardian)
    assert process.wait(PATIENCE) == -signal.SIGKILL
