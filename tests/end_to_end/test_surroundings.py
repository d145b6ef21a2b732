"""Where procman finds itself: closed streams, other locales, few descriptors, a directory gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.conftest import (
    PATIENCE,
    PROCMAN,
    Sandbox,
    clean_environment,
    marked,
    new_mark,
)
from tests.end_to_end.web import free_port

MARK = new_mark()
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(autouse=True)
def _kill_what_was_left() -> Iterator[None]:
    yield
    for pid in marked(MARK):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # ended just now


def in_a_shell(sandbox: Sandbox, script: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the script in the app, where `$PROCMAN` is procman."""
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=sandbox.root,
        env={**clean_environment(MARK, extra, sandbox.root), "PROCMAN": " ".join(PROCMAN)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_commands_work_when_their_standard_streams_are_closed(sandbox: Sandbox) -> None:
    """As under some daemons and `>&-`: an app starts, is asked, and ends all the same."""
    sandbox.write("Procfile", "a: exec sleep 60\n")
    done = in_a_shell(
        sandbox,
        "set -e; $PROCMAN start -D <&- >&- 2>&-; $PROCMAN ps >&-; $PROCMAN logs -n 1 >&- 2>&-;"
        "$PROCMAN run true <&- >&- 2>&-; $PROCMAN ps; $PROCMAN stop <&- >&- 2>&-",
    )
    assert (done.returncode, done.stdout.count(" up ")) == (0, 1), done.stdout


def test_bytes_reach_a_command_as_they_were_written_whatever_the_locale(sandbox: Sandbox) -> None:
    """A Procfile and a `.env` are UTF-8, also where the locale knows ASCII only."""
    sandbox.write(".env", "WORD=☃\n")
    sandbox.write("Procfile", 'a: echo "wörk $WORD"\n')
    done = in_a_shell(sandbox, "$PROCMAN start --no-prefix; $PROCMAN run echo '☃'", **ASCII)
    assert "wörk ☃" in done.stdout
    assert done.stdout.endswith("\n☃\n"), done.stdout


def test_a_name_that_is_no_utf8_is_printed_as_it_is(sandbox: Sandbox) -> None:
    """Also in a locale in which Python would rather raise."""
    done = in_a_shell(
        sandbox,
        "d=$(printf 'app\\377'); mkdir \"$d\"; cd \"$d\"; echo 'a: true' >Procfile;"
        "export PYTHONPATH=ROOT; $PROCMAN releases | od -An -c".replace(
            "ROOT", str(Path(__file__).parents[2])
        ),
        PYTHONIOENCODING="utf-8:strict",
    )
    assert "377" in done.stdout, done.stdout


def test_a_terminal_of_another_session_finds_the_app(sandbox: Sandbox) -> None:
    """Started by cron or after a `su`, it has no runtime directory of a session, and the terminal
    that asks has; nor does a second start run it twice.
    """
    sandbox.write("Procfile", "a: exec sleep 60\n")
    runtime = sandbox.root.parent / "runtime"
    done = in_a_shell(
        sandbox,
        f"(unset XDG_RUNTIME_DIR; $PROCMAN start -D) && export XDG_RUNTIME_DIR={runtime};"
        "$PROCMAN ps; $PROCMAN start; $PROCMAN stop",
        TMPDIR=str(sandbox.root.parent),
    )
    assert " up " in done.stdout, done.stdout
    assert "this app is running already" in done.stdout
    assert done.stdout.endswith("Stopping the app... done\n")


def test_a_directory_that_is_gone_is_told(sandbox: Sandbox) -> None:
    """And is of no matter to who names the app's."""
    sandbox.write("Procfile", "a: true\n")
    sandbox.write(".env", "A=b\n")
    (sandbox.root / "gone").mkdir()
    away = f'cd gone; rmdir "$PWD"; export PYTHONPATH={Path(__file__).parents[2]};'
    for command in ("start", "ps", "check", "run true"):
        done = in_a_shell(sandbox, f"mkdir -p gone; {away} $PROCMAN {command}")
        assert done.returncode == 1
        assert done.stdout.startswith("procman: the directory that you are in is gone\n")
    done = in_a_shell(sandbox, f"mkdir -p gone; {away} $PROCMAN check -d {sandbox.root}")
    assert (done.returncode, done.stdout) == (0, "Valid procfile detected (a)\n")


@pytest.mark.parametrize("limit", [8, 16, 20, 30])
def test_too_few_descriptors_are_told_before_anything_is_started(
    sandbox: Sandbox, limit: int
) -> None:
    """Not in the middle of a start, by an event loop that cannot be had."""
    sandbox.write("Procfile", "a: echo begun; exec sleep 60\nb: exec sleep 60\n")
    done = in_a_shell(sandbox, f"ulimit -n {limit}; $PROCMAN start")
    assert done.returncode == 1
    assert f"only {limit} files may be open at once, and this app needs 35" in done.stdout
    assert "begun" not in done.stdout
    assert "Traceback" not in done.stdout


def test_as_many_as_it_asks_for_are_enough(sandbox: Sandbox) -> None:
    """For an app with a router that nobody asks anything."""
    sandbox.write("Procfile", f"web: exec {sys.executable} -m http.server -b 127.0.0.1 $PORT\n")
    done = in_a_shell(sandbox, "ulimit -n 33; $PROCMAN start -D -p auto && $PROCMAN stop")
    assert (done.returncode, "Traceback" in done.stdout) == (0, False), done.stdout


def test_more_dynos_than_fit_are_refused_before_any_is_started(sandbox: Sandbox) -> None:
    sandbox.write("Procfile", "a: exec sleep 60\n")
    done = in_a_shell(
        sandbox,
        "ulimit -n 64; $PROCMAN start -D >/dev/null && $PROCMAN scale a=40; $PROCMAN ps --json;"
        " $PROCMAN stop",
    )
    assert "only 64 files may be open at once, and this app needs 111" in done.stdout
    assert done.stdout.count('"dyno"') == 1
    assert done.returncode == 0


def test_a_crowd_that_takes_all_descriptors_keeps_nobody_from_asking_and_ending(
    sandbox: Sandbox,
) -> None:
    server = f"exec {sys.executable} -m http.server -b 127.0.0.1 $PORT"
    sandbox.write("Procfile", f"web: {server}\n")
    port = free_port()
    done = in_a_shell(sandbox, f"ulimit -n 50; $PROCMAN start -D -p {port}")
    assert done.returncode == 0, done.stdout
    with ExitStack() as stack:
        for _ in range(60):
            crowd = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            crowd.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(3):
            done = in_a_shell(sandbox, "$PROCMAN ps")
            assert (done.returncode, "web.1" in done.stdout) == (0, True), done.stdout
            for _ in range(4):  # who would take what has become free
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert in_a_shell(sandbox, "$PROCMAN stop --wait").returncode == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_history_that_may_not_be_read_is_told(sandbox: Sandbox) -> None:
    """Another user's app."""
    sandbox.write("Procfile", "a: true\n")
    in_a_shell(sandbox, "$PROCMAN start")
    (sandbox.root / ".procman" / "log").chmod(0)
    done = in_a_shell(sandbox, "$PROCMAN logs")
    (sandbox.root / ".procman" / "log").chmod(0o700)
    assert done.returncode == 1
    assert done.stdout.endswith(".procman/log: cannot be read: Permission denied\n")
