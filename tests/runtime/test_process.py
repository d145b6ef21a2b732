"""How a boot starts: its session, its streams, its signals, and nothing of ours."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from procman.runtime.process import (
    Command,
    Process,
    group_lives,
    keep_descriptors,
    kill_group,
    send,
    shell_argv,
    spawn,
)
from procman.runtime.standard_streams import take_standard_streams

PATIENCE = 60.0
FOR_US = (1 << 31) - 1  # of the signals' bits; above are the C library's own and real-time ones


class Watched:
    """Who must know the groups."""

    def __init__(self) -> None:
        self.groups: list[int] = []

    def watch(self, group: int) -> None:
        """A group exists."""
        self.groups.append(group)

    def forget(self, group: int) -> None:
        """A group is empty."""
        self.groups.remove(group)


Boot = Callable[..., Process]


@pytest.fixture
def boot() -> Iterator[Boot]:
    """Starts commands; what is left of them is killed in the end."""
    started: list[Process] = []
    keep_descriptors()

    def start(
        command: str,
        *,
        pty: bool = False,
        window: tuple[int, int] | None = None,
        path: str = "/usr/bin:/bin",
        pwd: str = "",
    ) -> Process:
        environment = {"PATH": path, "MARK": "1", "PWD": pwd}
        plan = Command(shell_argv(command), environment, pty, window)
        process = spawn("web.1", 1, plan, Watched())
        started.append(process)
        return process

    yield start
    for process in started:
        kill_group(process)
        try:
            os.waitpid(process.pid, 0)
        except ChildProcessError:
            pass  # the test has reaped it
        os.close(process.output)


def read(process: Process, until: bytes | None = None) -> str:
    """What it wrote, up to the end or a text."""
    data = b""
    while until is None or until not in data:
        ready, _, _ = select.select([process.output], [], [], PATIENCE)
        assert ready, data
        try:
            chunk = os.read(process.output, 1 << 16)
        except OSError:  # EIO: the end of a pty
            break
        if not chunk:
            break
        data += chunk
    return data.decode()


BOTH = pytest.mark.parametrize("pty", [False, True], ids=["pipe", "pty"])


@BOTH
def test_a_boot_leads_a_session_and_a_group_of_its_own(boot: Boot, pty: bool) -> None:
    """So that signals reach all of it, and our Ctrl-C none of it."""
    process = boot("exec cat /proc/self/stat", pty=pty)
    fields = read(process).rpartition(") ")[2].split()
    group, session = int(fields[2]), int(fields[3])
    assert (group, session) == (process.pid, process.pid)


@BOTH
def test_a_boot_sees_three_descriptors(boot: Boot, pty: bool) -> None:
    """Not a pipe of another dyno, nor our lock: the fourth is the looking itself."""
    others = [boot("exec sleep 60") for _ in range(3)]
    assert len(others) == 3
    assert read(boot("exec ls /proc/self/fd", pty=pty)).split() == ["0", "1", "2", "3"]


@BOTH
def test_signals_are_as_a_shell_would_give_them(boot: Boot, pty: bool) -> None:
    """None blocked, none ignored, though Python ignores SIGPIPE and a caller blocks some."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    try:
        process = boot("exec cat /proc/self/status", pty=pty)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = read(process)
    for name in ("SigBlk", "SigIgn", "SigCgt"):
        found = re.search(rf"{name}:\s*([0-9a-f]+)", status)
        assert found is not None
        assert int(found[1], 16) & FOR_US == 0, name


def test_on_a_pipe_stdin_is_empty_and_both_outputs_are_one_pipe(boot: Boot) -> None:
    """What was written first is read first."""
    process = boot("readlink /proc/self/fd/0; echo out; echo err >&2; echo out")
    assert read(process) == "/dev/null\nout\nerr\nout\n"


def test_a_pty_is_the_controlling_terminal_of_the_size_that_is_left(boot: Boot) -> None:
    """Programs that ask /dev/tty get it; a line ends without a carriage return."""
    process = boot("tty; tty </dev/tty; stty size; echo err >&2", pty=True, window=(30, 90))
    inner, outer, size, err = read(process).split("\n")[:4]
    assert inner.startswith("/dev/pts/")
    assert outer in ("/dev/tty", inner)
    assert (size, err) == ("30 90", "err")


def test_off_linux_a_pty_goes_by_fork_and_is_the_same(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session leader there does not get a terminal by opening it."""
    monkeypatch.setattr(sys, "platform", "darwin")
    process = boot("tty </dev/tty && exec ls /proc/self/fd && exit 7", pty=True)
    text = read(process)
    assert "/dev/" in text
    assert text.split()[1:] == ["0", "1", "2", "3"]
    other = boot("exec cat /proc/self/status", pty=True)
    status = read(other)
    assert re.search(r"SigIgn:\s*[0-9a-f]{8}[08]0000000\n", status)
    stat = boot("exec cat /proc/self/stat", pty=True)
    fields = read(stat).rpartition(") ")[2].split()
    assert int(fields[3]) == stat.pid


def test_off_linux_a_program_that_is_not_there_is_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork has happened: what went wrong is told by 126."""
    monkeypatch.setattr(sys, "platform", "darwin")
    plan = Command(["/no/such/shell", "-c", "true"], {}, True)
    process = spawn("web.1", 1, plan, Watched())
    os.close(process.output)
    assert os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]) == 126


@BOTH
def test_what_the_system_refuses_is_an_error_and_leaves_no_descriptor(pty: bool) -> None:
    """Five hundred times over."""
    before = len(os.listdir("/proc/self/fd"))
    watched = Watched()
    for _ in range(500):
        with pytest.raises(FileNotFoundError):
            spawn("web.1", 1, Command(["/no/such/shell", "-c", "true"], {}, pty), watched)
    assert len(os.listdir("/proc/self/fd")) == before
    assert watched.groups == []


def test_a_signal_reaches_the_whole_group_and_a_stopped_one_too(boot: Boot) -> None:
    """SIGCONT follows it, or it would stay pending."""
    process = boot(
        "sh -c 'trap \"echo child\" TERM; echo up; kill -STOP 0; echo on; exec sleep .1'"
    )
    read(process, b"up")
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    send(process, signal.SIGTERM)
    assert "child" in read(process)


def test_a_group_lives_until_its_last_member_is_gone(boot: Boot) -> None:
    """The leader's end is not the group's."""
    process = boot("sleep 60 & echo up; exit 3")
    read(process, b"up")
    assert os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]) == 3
    assert group_lives(process)
    kill_group(process)
    read(process)  # the end of the pipe: nobody holds it
    send(process, signal.SIGTERM)  # to nobody, and no error
    kill_group(process)


def test_standard_streams_that_were_closed_are_taken() -> None:
    """Or a dyno's pipe would become somebody's stdin."""
    pid = os.fork()
    if pid == 0:
        try:
            os.closerange(0, 3)
            take_standard_streams()
            names = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
            inherited = all(os.get_inheritable(number) for number in range(3))
            os._exit(0 if names == [os.devnull] * 3 and inherited else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@BOTH
def test_a_literal_command_is_run_as_a_shell_would_run_it(
    boot: Boot, pty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its path from the app's root, with the root as PWD, whatever the caller's was."""
    (tmp_path / "show").write_text('#!/bin/sh\necho "$0 $1 $PWD $MARK"\n')
    (tmp_path / "show").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert read(boot("./show a=b", pty=pty)).strip() == f"./show a=b {tmp_path} 1"


@pytest.mark.parametrize(
    "told", ["", "by", "elsewhere", "nowhere", "relative"], ids=lambda told: told or "nothing"
)
def test_where_it_is_is_told_as_a_shell_tells_it(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """POSIX: what PWD was, by a link as well, if that is here and absolute."""
    (tmp_path / "by").symlink_to(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    pwd = "." if told == "relative" else str(tmp_path / told) if told else ""
    shown = ["/bin/sh", "-c", "env | grep ^PWD="]
    by_shell = subprocess.run(
        shown, env={"PATH": "/usr/bin:/bin", "PWD": pwd}, stdout=subprocess.PIPE, check=True
    )
    assert by_shell.stdout.decode().strip() in read(boot("env", pwd=pwd)).splitlines()


@pytest.mark.parametrize("path", ["", ":", "/nowhere::/usr/bin"])
def test_a_path_of_nothing_is_this_directory(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """As POSIX has it for PATH."""
    (tmp_path / "uname").write_text("#!/bin/sh\necho ours\n")
    (tmp_path / "uname").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    argv = ["/bin/sh", "-c", "uname -s"]
    by_shell = subprocess.run(argv, env={"PATH": path}, stdout=subprocess.PIPE, check=True)
    assert by_shell.stdout == b"ours\n"
    assert read(boot("uname -s", path=path)) == "ours\n"


def test_a_script_that_names_no_interpreter_is_the_shells(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses it, a shell runs it itself."""
    (tmp_path / "show").write_text("echo ran\n")
    (tmp_path / "show").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert read(boot("./show")) == "ran\n"


def test_what_there_is_not_is_told_by_the_shell_with_its_status(boot: Boot) -> None:
    """127, as everywhere."""
    process = boot("no-such-program --at-all")
    assert "no-such-program" in read(process)
    _, status = os.waitpid(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 127
