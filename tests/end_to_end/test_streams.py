"""Commands whose standard streams are closed, or lead to a full disk."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from tests.end_to_end.conftest import PATIENCE, PROCMAN, Sandbox, clean_environment, new_mark

COMMANDS = ["ps", "ps --json", "scale", "logs", "logs -f", "restart", "attach echo.1"]


@pytest.fixture(autouse=True)
def app(sandbox: Sandbox) -> None:
    """A dyno that says what it hears, until there is a file `bad`; and one that stays."""
    listen = "! test -e bad && while read line; do echo heard $line; done"
    running = sandbox.start(
        f"echo: {listen}\nother: exec sleep 600\n", "--pty", "--restart", "never"
    )
    running.until("echo.1 started")


def call(sandbox: Sandbox, command: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """`procman COMMAND`, redirected as a shell does it."""
    return subprocess.run(
        ["sh", "-c", f"exec {shlex.join(PROCMAN)} {command} {redirection}"],
        cwd=sandbox.root,
        env=clean_environment(new_mark(), {}, sandbox.root),
        input="a line\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def unread(
    sandbox: Sandbox, command: str, *, both: bool = False
) -> subprocess.CompletedProcess[str]:
    """`procman COMMAND`, its standard output a pipe that nobody reads; with `both` all it says."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [*PROCMAN, *command.split()],
            cwd=sandbox.root,
            env=clean_environment(new_mark(), {}, sandbox.root),
            input="a line\n",
            stdout=writing,
            stderr=writing if both else subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_told_in_a_line(sandbox: Sandbox, command: str) -> None:
    """Status 1, and no traceback."""
    done = call(sandbox, command, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith("procman: No space left on device\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["ps", "ps --json", "scale", "logs", "releases", "restart", "--help", "ps --help"]
)
def test_a_reader_that_went_away_is_no_failure(sandbox: Sandbox, command: str) -> None:
    """`procman releases | head -1`: it has seen enough."""
    done = unread(sandbox, command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "status"),
    [("check", 0), ("--bogus", 2), ("scale a=x", 1), ("run no-such-command a", 127)],
)
def test_a_reader_of_both_streams_that_went_away_changes_no_status(
    sandbox: Sandbox, command: str, status: int
) -> None:
    """`procman check 2>&1 | head -1`."""
    assert unread(sandbox, command, both=True).returncode == status


def test_who_attaches_and_reads_nothing_leaves(sandbox: Sandbox) -> None:
    """With the first word of the dyno, which runs on."""
    done = unread(sandbox, "attach echo.1")
    assert (done.returncode, done.stderr) == (0, "procman: attached to echo.1\n")


def test_a_reader_that_went_away_hides_no_failure(sandbox: Sandbox) -> None:
    """What is found out after the first word is the status all the same."""
    sandbox.write("bad", "")
    done = unread(sandbox, "restart --wait echo")
    assert done.returncode == 1
    assert done.stderr.startswith("procman: echo.1 is not up: ")


@pytest.mark.parametrize("command", ["ps", "ps --json", "scale", "logs", "restart"])
def test_a_closed_standard_output_is_no_failure(sandbox: Sandbox, command: str) -> None:
    """Nor does it end in whatever was opened next."""
    done = call(sandbox, command, ">&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_standard_input_types_nothing_into_a_dyno(sandbox: Sandbox) -> None:
    """Its end is Ctrl-D, as that of an empty one; the control socket is not taken for it."""
    done = call(sandbox, "attach echo.1", "<&-")
    assert done.returncode == 0
    assert done.stderr == "procman: attached to echo.1\nprocman: echo.1 ended, status 0\n"
    assert "heard" not in done.stdout
