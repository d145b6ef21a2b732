"""`procman start` in a terminal, and with outputs that fail: what a user at a keyboard sees."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import subprocess
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
from tests.end_to_end.keyboard import CTRL_C, at_keyboard, procman

STUBBORN = "trap '' TERM INT HUP; echo ready; while :; do sleep 1; done"


def test_on_a_terminal_prefixes_have_colours_and_dynos_see_a_terminal(sandbox: Sandbox) -> None:
    """So that programs keep their own colours; each type has its colour."""
    sandbox.write("Procfile", "a: test -t 0 && test -t 1 && test -t 2 && echo tty\nb: echo two\n")
    with at_keyboard(procman("start"), sandbox.root) as terminal:
        assert terminal.finish() == 0
        assert re.search(r"\x1b\[0m\x1b\[36m[0-9:]{8} a\.1 +\| \x1b\[0mtty", terminal.text)
        assert re.search(r"\x1b\[33m[0-9:]{8} b\.1 +\| \x1b\[0mtwo", terminal.text)


@pytest.mark.parametrize(("env", "options"), [({"NO_COLOR": "1"}, []), ({}, ["--no-colour"])])
def test_colour_can_be_refused(sandbox: Sandbox, env: dict[str, str], options: list[str]) -> None:
    """NO_COLOR, --no-color and its other spelling; the dyno's own colours stay."""
    sandbox.write("Procfile", r"a: printf '\033[35mown\033[0m\n'" + "\n")
    with at_keyboard(procman("start", *options), sandbox.root, env=env) as terminal:
        assert terminal.finish() == 0
        assert "\x1b[35mown\x1b[0m" in terminal.text
        assert "\x1b[" not in terminal.text.replace("\x1b[35mown\x1b[0m", "")


def test_a_dynos_terminal_is_its_own_and_controls_it(sandbox: Sandbox) -> None:
    """Not the user's: a keystroke for procman is none for a dyno."""
    command = "sh -c 'tty; echo ctty </dev/tty && echo mine=$(ps -o tty= -p $$)'"
    sandbox.write("Procfile", f"a: {command}\n")
    with at_keyboard(procman("start"), sandbox.root) as terminal:
        assert terminal.finish() == 0
        assert "ctty" in terminal.text
        name = re.search(r"\| \x1b\[0m/dev/(pts/\d+)", terminal.text)
        assert name is not None
        assert f"mine={name[1]}" in terminal.text


def test_what_a_shell_leads_has_its_grace_on_a_terminal_as_well(sandbox: Sandbox) -> None:
    """The shell dies of the SIGTERM at once; nobody is hung up by that."""
    sandbox.write(
        "server.py",
        "import signal, sys, time\n"
        # A handler would miss what comes just before `pause`, or in the midst of a print.
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "print('ready', sys.stdout.isatty(), flush=True)\n"
        "signal.sigwait({signal.SIGTERM})\n"
        "print('finishing', flush=True)\n"
        "time.sleep(0.3)\n"
        "print('finished', flush=True)\n",
    )
    sandbox.write("Procfile", "a: cd . && python3 server.py\n")
    with at_keyboard(procman("start"), sandbox.root) as terminal:
        terminal.until("ready True")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
        assert "finished" in terminal.text


def test_what_would_wreck_the_screen_is_taken_out(sandbox: Sandbox) -> None:
    """Clear, alternate screen, title, cursor."""
    sandbox.write(
        "Procfile", r"a: printf '\033[2J\033[?1049h\033]0;t\007\033[5Aleft\r\nok\n'" + "\n"
    )
    with at_keyboard(procman("start", "--no-color"), sandbox.root) as terminal:
        assert terminal.finish() == 0
        assert re.search(r"a\.1 +\| left\r\n", terminal.text)
        assert "\x1b" not in terminal.text


def test_an_unfinished_line_is_shown_after_a_silence(sandbox: Sandbox) -> None:
    """A prompt has no newline."""
    sandbox.write("Procfile", "a: printf 'Continue? '; exec sleep 60\n")
    with at_keyboard(procman("start"), sandbox.root) as terminal:
        terminal.until("Continue? ")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130


def test_ctrl_c_stops_everything_with_sigterm_and_reaches_no_dyno_itself(sandbox: Sandbox) -> None:
    """Dynos are asked once, by procman, in its order."""
    sandbox.write(
        "Procfile",
        "a: trap 'echo got-int' INT; trap 'echo got-term; exit 0' TERM; echo ready;"
        " while :; do sleep 1; done\n",
    )
    with at_keyboard(procman("start"), sandbox.root) as terminal:
        terminal.until("ready")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
        assert "got-term" in terminal.text
        assert "got-int" not in terminal.text
        assert not terminal.survivors()


def test_a_second_ctrl_c_kills_at_once(sandbox: Sandbox) -> None:
    """Nobody waits for a grace of an hour; the terminal is left as it was."""
    sandbox.write("Procfile", f"a: {STUBBORN}\n")
    with at_keyboard(procman("start", "--stop-timeout", "1h"), sandbox.root) as terminal:
        terminal.until("ready")
        terminal.press(CTRL_C)
        terminal.until("SIGINT received")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
        assert not terminal.survivors()
        assert terminal.modes_now() == terminal.modes


def test_a_dyno_may_fill_what_the_prefix_leaves_of_the_window(sandbox: Sandbox) -> None:
    """Rows as they are, columns less the prefix; also after the window has changed."""
    sandbox.write("Procfile", "a: trap 'stty size' WINCH; stty size; while :; do sleep .1; done\n")
    with at_keyboard(procman("start", "--no-color"), sandbox.root, size=(30, 100)) as terminal:
        line = terminal.until("30 ").splitlines()[-1]
        terminal.until("\r\n", line.count("\r\n") + 2)
        shown = next(
            text for text in terminal.text.splitlines() if "a.1" in text and "| 30 " in text
        )
        prefix = len(shown.partition("| ")[0]) + 2
        assert shown.endswith(f"| 30 {100 - prefix}")
        terminal.resize(40, 120)
        terminal.until(f"| 40 {120 - prefix}")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130


def test_a_closed_window_leaves_nothing_behind(sandbox: Sandbox) -> None:
    """The kernel sends SIGHUP, and every write fails from then on."""
    sandbox.write("Procfile", "a: echo ready; while :; do echo line; sleep .01; done\n")
    with at_keyboard(procman("start"), sandbox.root) as terminal:
        terminal.until("ready")
        assert terminal.hang_up() in (129, 1)
        assert not terminal.survivors()


def test_the_arrow_into_head_is_a_clean_stop(sandbox: Sandbox) -> None:
    """`procman start | head -1`: the status of both is 0."""
    sandbox.write("Procfile", "a: while :; do echo line; done\n")
    line = f"{shlex.join(PROCMAN)} start 2>err | head -1"
    mark = new_mark()
    environ = clean_environment(mark, {}, sandbox.root)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=sandbox.root,
        env=environ,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    assert (sandbox.root / "err").read_text() == ""
    assert not marked(mark)


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_hindrance(sandbox: Sandbox, closed: str) -> None:
    """No dyno's pipe takes the place of a standard stream."""
    sandbox.write("Procfile", "a: readlink /proc/self/fd/0 >seen; echo line; echo err >&2\n")
    line = f"{shlex.join(PROCMAN)} start {closed}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=sandbox.root,
        env=clean_environment(new_mark(), {}, sandbox.root),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert (sandbox.root / "seen").read_text() == "/dev/null\n"
    assert b"Traceback" not in done.stderr


def test_a_procfile_from_a_closed_standard_input_is_an_empty_one(sandbox: Sandbox) -> None:
    """`-f - <&-`, an error that names where it was read."""
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(PROCMAN)} start -f - <&-"],
        cwd=sandbox.root,
        env=clean_environment(new_mark(), {}, sandbox.root),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"procman: standard input: there is no process type in it" in done.stderr


def test_what_our_caller_left_open_is_handed_on_to_no_dyno(sandbox: Sandbox) -> None:
    """A lock that a script holds by descriptor 9 is not held by the dynos."""
    sandbox.write("Procfile", "a: exec ls /proc/self/fd\n")
    line = f"exec 9</dev/null; exec {shlex.join(PROCMAN)} start --no-prefix"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=sandbox.root,
        env=clean_environment(new_mark(), {}, sandbox.root),
        capture_output=True,
        text=True,
        check=False,
    )
    found = [word for word in done.stdout.split("\n") if word.isdigit()]
    assert found == ["0", "1", "2", "3"]  # 3 is what `ls` itself opened


def test_a_full_disk_is_an_error_that_is_told(sandbox: Sandbox) -> None:
    """Status 1, one line on standard error, and nobody left."""
    sandbox.write("Procfile", "a: echo line; exec sleep 60\n")
    done = _into(sandbox, Path("/dev/full"))
    assert done.returncode == 1
    assert done.stderr == b"procman: standard output: No space left on device\n"


def test_a_file_that_may_not_grow_is_an_error_that_is_told(sandbox: Sandbox) -> None:
    """RLIMIT_FSIZE: the signal of the kernel kills neither us nor anybody in silence."""
    sandbox.write("Procfile", "a: while :; do echo line; done\n")
    done = _into(sandbox, sandbox.root / "out", limit=1 << 16)
    assert done.returncode == 1
    assert done.stderr.count(b"procman: standard output: File too large\n") == 1
    assert (sandbox.root / "out").stat().st_size == 1 << 16


def _into(
    sandbox: Sandbox, path: Path, limit: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    mark = new_mark()

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with path.open("wb") as out:
        done = subprocess.run(
            [*PROCMAN, "start"],
            cwd=sandbox.root,
            env=clean_environment(mark, {}, sandbox.root),
            stdout=out,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            preexec_fn=restrict,
            check=False,
        )
    assert not marked(mark)
    return done


def test_a_reader_that_does_not_read_neither_fills_memory_nor_prevents_the_end(
    sandbox: Sandbox,
) -> None:
    """The dynos wait as at a full pipe; a second signal ends at once what waits for the reader."""
    os.mkfifo(sandbox.root / "done")
    running = sandbox.start(
        "a: exec seq 1 1000000000\nb: seq 1 20000000 >/dev/null; echo b >done; exec sleep 60\n"
    )
    running.until("a.1     | 1\n")
    assert (sandbox.root / "done").read_text() == "b\n"
    resident = int((Path("/proc") / str(running.process.pid) / "statm").read_text().split()[1])
    assert resident * resource.getpagesize() < 100 << 20, "what nobody reads is piled up"
    running.send(signal.SIGTERM)
    running.send(signal.SIGINT)
    assert running.process.wait(PATIENCE) in (130, 143)
    assert not running.survivors()


@pytest.mark.parametrize("how", [["--wait"], ["--wait", "--now"]])
def test_a_reader_that_does_not_read_does_not_hold_up_a_stop(
    sandbox: Sandbox, how: list[str]
) -> None:
    """As after a Ctrl-S in the terminal of `start`."""
    running = sandbox.start("a: exec seq 1 1000000000\n")
    running.until("a.1     | 1\n")
    assert sandbox.procman("stop", *how).finish() == 0
    assert running.process.wait(PATIENCE) == 0
    assert not running.survivors()
