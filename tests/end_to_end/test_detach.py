"""`procman start --detach`: back when the app is up, or with the reason why it is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import (
    PROCMAN,
    Running,
    Sandbox,
    clean_environment,
    new_mark,
    wait_for_end,
)
from tests.end_to_end.terminal import Terminal, open_terminal


@pytest.fixture(autouse=True)
def _stop_what_was_detached(sandbox: Sandbox) -> Iterator[None]:
    """The parent has ended long ago: whoever it left running is killed by its mark."""
    yield
    for running in sandbox.running:
        for pid in running.survivors():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # ended just now


def start_detached(sandbox: Sandbox, procfile: str, *arguments: str) -> Running:
    """`procman start -D`, until it returns."""
    running = sandbox.start(procfile, "-D", *arguments)
    running.finish()
    return running


def pid_of(running: Running) -> int:
    """The pid that it told."""
    found = re.search(r"under pid (\d+)", running.text)
    assert found is not None, running.text
    return int(found[1])


def test_one_that_is_killed_while_it_comes_up_is_told_as_a_shell_would(sandbox: Sandbox) -> None:
    os.mkfifo(sandbox.root / "gate")
    running = sandbox.start("web: echo begun >gate; exec sleep 60\n", "-D", "-p", "auto")
    (sandbox.root / "gate").read_text()
    (child,) = psutil.Process(running.process.pid).children()
    child.kill()
    assert running.finish() == 137
    assert "the app did not come up: killed by SIGKILL" in running.text


def test_it_returns_when_all_are_up_and_says_how_to_go_on(sandbox: Sandbox) -> None:
    """Names, pid, and the commands that reach it; the app answers them."""
    running = start_detached(sandbox, "a: exec sleep 60\nb: exec sleep 60\n", "-c", "b=2")
    assert running.process.returncode == 0
    assert "done, a.1, b.1, b.2 up" in running.text
    for command in ("procman logs -f", "procman ps", "procman stop"):
        assert command in running.text
    ps = sandbox.procman("ps")
    assert ps.finish() == 0
    assert ps.text.count(" up ") == 3


def test_it_waits_for_the_web_dyno_to_listen(sandbox: Sandbox) -> None:
    """Up is what `wait` calls up."""
    sandbox.write(
        "web.py",
        "import os, socket\n"
        "open('gate').read()\n"
        "listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "open('listens', 'w').close()\n"
        "listener.accept()\n",
    )
    os.mkfifo(sandbox.root / "gate")
    running = sandbox.start("web: exec python3 web.py\n", "-D", "-p", "auto")
    (sandbox.root / "gate").write_text("")
    assert running.finish() == 0, running.text
    assert (sandbox.root / "listens").exists()
    assert "web.1 up on http://127.0.0.1:" in running.text


def test_it_has_a_session_of_its_own_and_no_terminal(sandbox: Sandbox) -> None:
    """Standard streams are /dev/null; nothing else of the caller's is open."""
    reading, writing = os.pipe()
    sandbox.write("Procfile", "a: exec sleep 60\n")
    environ = clean_environment(new_mark(), {}, sandbox.root)
    with open(sandbox.root / "said", "wb") as said:
        subprocess.run([*PROCMAN, "start", "-D"], cwd=sandbox.root, env=environ, check=True,
                       stdout=said, pass_fds=(writing,), timeout=60)  # fmt: skip
    os.close(writing)
    assert os.read(reading, 1) == b"", "the detached app holds the caller's pipe"
    os.close(reading)
    found = re.search(r"under pid (\d+)", (sandbox.root / "said").read_text())
    assert found is not None
    pid = int(found[1])
    try:
        assert os.getsid(pid) == pid
        for descriptor in "012":
            assert os.readlink(f"/proc/{pid}/fd/{descriptor}") == "/dev/null"
    finally:
        assert sandbox.procman("stop", "--wait").finish() == 0
    wait_for_end(pid)


def test_the_dynos_have_terminals(sandbox: Sandbox) -> None:
    """So that `attach` can reach them; --no-pty is kept."""
    running = start_detached(sandbox, "a: test -t 0 && echo a terminal; exec sleep 60\n")
    assert running.process.returncode == 0, running.text
    # It is up when it has not ended for a second, whatever it has come to by then.
    sandbox.procman("logs", "-f").until("| a terminal")


def test_its_log_is_in_the_history(sandbox: Sandbox) -> None:
    """What it says is not lost."""
    start_detached(sandbox, "a: echo hello; exec sleep 60\n")
    sandbox.procman("logs", "-f").until("| hello")  # it is up after a second, said or not
    logs = sandbox.procman("logs")
    assert logs.finish() == 0
    assert "| hello" in logs.text


@pytest.mark.parametrize(
    ("procfile", "reason"),
    [
        ("a: exit 3\n", "a.1 is not up: crashed, status 3"),
        ("a: there-is-no-such-command\n", "a.1 is not up: crashed, status 127"),
        ("a: exit 3\nb: exec sleep 60\n", "a.1 is not up: keeps crashing, status 3"),
    ],
)
def test_an_app_that_does_not_come_up_is_stopped(
    sandbox: Sandbox, procfile: str, reason: str
) -> None:
    """The reason, status 1, and nothing left."""
    running = start_detached(sandbox, procfile)
    assert running.process.returncode == 1
    assert reason in running.text
    assert "hint: `procman logs` shows what it said" in running.text
    running.wait_for_survivors_to_end()


def test_what_does_not_come_up_is_shown_with_its_last_lines(sandbox: Sandbox) -> None:
    """The cause stands below the reason: the end of what it wrote, tamed for the terminal."""
    running = start_detached(sandbox, "a: seq 1 40; printf '\\033[2Jbroken\\n'; exit 3\n")
    assert running.process.returncode == 1
    told = running.text[running.text.index("a.1 is not up") :].splitlines()
    assert told[1] == "     its last lines:"
    lines = [line.removeprefix("     | ") for line in told[2:17]]
    assert lines == [*map(str, range(27, 41)), "broken"]
    assert told[17] == "procman: the app did not come up"


def test_where_no_history_can_be_kept_that_is_said_and_nobody_is_sent_to_it(
    sandbox: Sandbox,
) -> None:
    """A directory that takes no files: why an app failed is shown at once, and only there."""
    sandbox.write(".procman", "in the way")
    failed = start_detached(sandbox, "a: echo no luck; exit 3\n")
    assert failed.process.returncode == 1
    up = start_detached(sandbox, "a: exec sleep 60\n")
    assert up.process.returncode == 0
    assert "     | no luck" in failed.text
    for running in (failed, up):
        assert running.text.count("no history from here on") == 1
        assert "procman logs" not in running.text
    assert "`procman ps` shows how they are" in up.text
    assert sandbox.procman("stop", "--wait").finish() == 0


def test_a_dyno_that_gave_up_is_not_waited_for(sandbox: Sandbox) -> None:
    """--restart never: the first failure decides."""
    running = start_detached(sandbox, "a: exit 4\nb: exec sleep 60\n", "--restart", "never")
    assert running.process.returncode == 1
    assert "a.1 is not up: gave up, status 4" in running.text
    running.wait_for_survivors_to_end()


def test_an_app_that_has_finished_is_no_failure(sandbox: Sandbox) -> None:
    """All done with status 0 before anybody could be told that it was up."""
    running = start_detached(sandbox, "a: true\n")
    assert running.process.returncode == 0
    assert "the app has finished already" in running.text


def test_a_dyno_that_has_finished_is_up_enough(sandbox: Sandbox) -> None:
    """A one-shot type beside a server."""
    running = start_detached(sandbox, "migrate: true\nb: exec sleep 60\n")
    assert running.process.returncode == 0
    assert "up" in running.text


def test_errors_before_the_start_are_those_without_it(sandbox: Sandbox) -> None:
    """Same words, same status; a second start too."""
    assert start_detached(sandbox, "no colon\n").process.returncode == 1
    assert "Procfile" in sandbox.running[-1].text
    assert start_detached(sandbox, "a: exec sleep 60\n").process.returncode == 0
    again = start_detached(sandbox, "a: exec sleep 60\n")
    assert again.process.returncode == 1
    assert f"under pid {pid_of(sandbox.running[-2])}" in again.text


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_while_it_comes_up_stops_it(sandbox: Sandbox, number: int, status: int) -> None:
    """Ctrl-C in the caller's terminal reaches the app, which is in another session."""
    os.mkfifo(sandbox.root / "gate")
    running = sandbox.start("web: echo > gate; exec sleep 60\n", "-D", "-p", "auto")
    (sandbox.root / "gate").read_text()
    running.send(number)
    assert running.finish() == status
    running.wait_for_survivors_to_end()


def test_closing_the_terminal_leaves_it_running(sandbox: Sandbox) -> None:
    """The SIGHUP of the caller's terminal is not for it."""
    sandbox.write("Procfile", "a: exec sleep 60\n")
    screen: Terminal = open_terminal(sandbox, "start", "-D")
    try:
        assert screen.finish() == 0, screen.text
    finally:
        screen.close()
    assert sandbox.procman("ps").finish() == 0
    assert sandbox.procman("stop", "--wait").finish() == 0


def test_stop_ends_it_and_leaves_no_zombie(sandbox: Sandbox) -> None:
    """Nobody has to reap it: its parent ended first."""
    running = start_detached(sandbox, "a: exec sleep 60\n")
    pid = pid_of(running)
    assert sandbox.procman("stop", "--wait").finish() == 0
    wait_for_end(pid)
    assert not running.survivors()
    status = Path(f"/proc/{pid}/status")
    assert not status.exists() or "procman" not in status.read_text()
