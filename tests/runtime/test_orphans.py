"""What left its process group is found, and what is not ours is spared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from procman.runtime import orphans

PATIENCE = 60.0


def in_a_fork(body: Callable[[], bool]) -> None:
    """Run where becoming a subreaper harms nobody; the body says whether all was well."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = 0 if body() else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def daemon(cookie: str | None, script: str = "exec sleep 60") -> int:
    """A process whose parent has ended, in a session of its own; its pid."""
    reading, writing = os.pipe()
    environ = {"PATH": "/usr/bin:/bin"} | ({"COOKIE": cookie} if cookie else {})
    starter = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", f"setsid sh -c 'echo $$ >&9; exec 9>&-; {script}' & wait $! & exit 0"],
        environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 9)],
    )
    os.close(writing)
    with os.fdopen(reading) as file:
        pid = int(file.readline())
    os.waitpid(starter, 0)
    return pid


def is_alive(pid: int) -> bool:
    """Not even a zombie."""
    return os.path.exists(f"/proc/{pid}")


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")


@needs_linux
def test_a_daemon_becomes_our_child_and_is_killed_by_its_cookie() -> None:
    """And reaped: no zombie stays."""
    cookie = uuid.uuid4().hex

    def body() -> bool:
        orphans.become_subreaper()
        pid = daemon(cookie)
        found = pid in orphans.adopted(set()) and pid in orphans.marked(cookie)
        killed = orphans.kill_escaped(cookie, set(), is_followed=True)
        while orphans.are_dying(killed, os.getpgrp(), set()):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            orphans.reap_adopted(set())
        return found and pid in killed and not is_alive(pid)

    in_a_fork(body)


@needs_linux
def test_another_boots_daemon_is_spared() -> None:
    """Only the cookie of the boot that ended counts."""

    def body() -> bool:
        orphans.become_subreaper()
        pid = daemon("other.web.2.1.")
        orphans.kill_escaped("mine.web.1.1.", set(), is_followed=True)
        alive = is_alive(pid)
        orphans.kill_adopted(set())
        return alive and not is_alive(pid)

    in_a_fork(body)


@needs_linux
def test_at_the_end_of_the_app_what_has_no_cookie_falls_as_well() -> None:
    """Adopted is ours, and so is what stems from it; what is known is spared."""

    def body() -> bool:
        orphans.become_subreaper()
        known = subprocess.Popen(["sleep", "60"])
        pid = daemon(None, "(setsid env -i sleep 60 &); exec sleep 60")
        orphans.kill_adopted({known.pid})
        spared = known.poll() is None and orphans.adopted({known.pid}) == []
        known.kill()
        known.wait(PATIENCE)
        return spared and not is_alive(pid)

    in_a_fork(body)


def no_proc(path: str) -> list[str]:
    raise FileNotFoundError(path)


@pytest.mark.parametrize("has_proc", [True, False])
def test_marked_are_those_with_the_cookie_and_never_we(
    monkeypatch: pytest.MonkeyPatch, has_proc: bool
) -> None:
    """It is looked for in environments, not in command lines."""
    if not has_proc:
        monkeypatch.setattr(orphans, "list_directory", no_proc)
    cookie = uuid.uuid4().hex
    bearer = subprocess.Popen(
        ["sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={f"FILL{i}": "x" * 1000 for i in range(100)} | {"COOKIE": f"before {cookie} after"},
    )
    assert bearer.stdout is not None
    bearer.stdout.readline()
    namesake = subprocess.Popen(["sh", "-c", f"sleep 60; : {cookie}"], env={})
    try:
        assert orphans.marked(cookie) == [bearer.pid]
        assert orphans.kill_marked(cookie) == {bearer.pid}
        assert bearer.wait(PATIENCE) == -signal.SIGKILL
        assert namesake.poll() is None
        assert orphans.kill_marked(cookie) == set()
    finally:
        for process in (bearer, namesake):
            process.kill()
            process.communicate()
        for pid in orphans.marked(cookie):
            os.kill(pid, signal.SIGKILL)


@needs_linux
def test_a_process_is_found_while_it_executes_a_program(tmp_path: Path) -> None:
    """Its environment is empty for a moment then; this one does nothing else."""
    script = tmp_path / "again"
    script.write_text('exec /bin/sh "$0"\n')
    cookie = uuid.uuid4().hex
    restless = subprocess.Popen(["/bin/sh", script], env={"COOKIE": cookie})
    try:
        assert all(orphans.marked(cookie) == [restless.pid] for _ in range(100))
        assert orphans.kill_marked(cookie) == {restless.pid}
        assert restless.wait(PATIENCE) == -signal.SIGKILL
    finally:
        restless.kill()
        restless.wait(PATIENCE)


@needs_linux
def test_what_has_no_environment_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`env -i`, the dead, the kernel's own threads: waiting for theirs would have no end here."""
    monkeypatch.setattr(orphans, "LOOKS", sys.maxsize)
    bare = subprocess.Popen(["/bin/sleep", "60"], env={})
    dead = subprocess.Popen(["/bin/sh", "-c", "exit"])
    try:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        assert orphans.marked(uuid.uuid4().hex) == []
    finally:
        bare.kill()
        bare.wait(PATIENCE)
        dead.wait(PATIENCE)


def test_a_group_heeds_a_signal_that_one_of_it_does_not_ignore() -> None:
    """A shell's background jobs ignore SIGINT; zombies heed nothing."""
    script = "{ echo; exec sleep 60; } & wait"  # told when it ignores
    group = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert group.stdout is not None
    try:
        group.stdout.readline()
        assert orphans.heeding({group.pid: signal.SIGINT}) == {group.pid}
        group.kill()
        group.wait(PATIENCE)
        assert orphans.heeding({group.pid: signal.SIGINT}) == set()
        assert orphans.heeding({group.pid: signal.SIGTERM}) == {group.pid}
        assert orphans.heeding({group.pid: None}) == set()
    finally:
        os.killpg(group.pid, signal.SIGKILL)
        group.stdout.close()
