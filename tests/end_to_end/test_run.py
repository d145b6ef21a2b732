"""`procman run`: one command in the app's environment, in this terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import (
    PATIENCE,
    PROCMAN,
    Running,
    Sandbox,
    clean_environment,
    marked,
    new_mark,
    wait_for_end,
)
from tests.end_to_end.keyboard import CTRL_C, CTRL_D, at_keyboard, procman

PROCFILE = "web: printf '<%s>' web-args\nworker: echo $DYNO\n"


def run(
    sandbox: Sandbox, *arguments: str, stdin: bytes = b"", before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """`procman run ARGUMENTS…` to its end, stdout and stderr apart."""
    if not (sandbox.root / "Procfile").exists():
        sandbox.write("Procfile", PROCFILE)
    mark = new_mark()
    done = subprocess.run(
        [*PROCMAN, *before, "run", *arguments],
        cwd=sandbox.root,
        env=clean_environment(mark, {}, sandbox.root),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert not marked(mark)
    return done


# --- streams and status ---


def test_stdout_and_stderr_stay_apart_and_nothing_of_ours_is_in_them(sandbox: Sandbox) -> None:
    """So that `procman run dump > file` is the dump."""
    done = run(sandbox, "sh", "-c", "echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")


def test_stdin_is_passed_on(sandbox: Sandbox) -> None:
    """`procman run restore < dump`, bytes as they are."""
    data = bytes(range(256)) * 4096
    assert run(sandbox, "cat", stdin=data).stdout == data


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -SEGV $$"], 139),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["there-is-no-such-command", "x"], 127),
        (["there-is-no-such-command"], 127),
        (["./there-is-no-such-file", "x"], 127),
        (["./plain", "x"], 126),
        (["./directory", "x"], 126),
        (["./no-interpreter", "x"], 126),
    ],
)
def test_the_status_is_the_commands(sandbox: Sandbox, argv: list[str], status: int) -> None:
    """128 + n for a death by signal n, 127 not found, 126 not executable."""
    sandbox.write("plain", "text")
    sandbox.write("directory/file", "")
    sandbox.write("no-interpreter", "\0\1\2").chmod(0o755)
    done = run(sandbox, *argv)
    assert done.returncode == status
    if status in (126, 127) and len(argv) == 2:
        assert done.stderr.startswith(f"procman: {argv[0]}: ".encode())
        assert done.stderr.count(b"\n") == 1


def test_a_script_that_names_no_interpreter_is_the_shells(sandbox: Sandbox) -> None:
    """With arguments as without: the system refuses it, a shell runs it itself."""
    sandbox.write("script", "echo ran $1\n").chmod(0o755)
    assert run(sandbox, "./script", "a").stdout == b"ran a\n"
    assert run(sandbox, "./script").stdout == b"ran\n"


# --- what is run ---


def test_a_process_type_brings_the_variables_of_its_settings(sandbox: Sandbox) -> None:
    """Its name stands for what start would run; `-e` beats them, and other commands have none."""
    sandbox.write("Procfile", "web: echo $X $Y\n")
    sandbox.write("procman.toml", "[types.web]\nenv = { X = 'set', Y = 'set' }\n")
    assert run(sandbox, "-e", "Y=given", "web").stdout == b"set given\n"
    assert run(sandbox, "echo $X $Y").stdout == b"\n"


def test_a_type_of_a_procfile_that_is_not_valid_is_an_error(sandbox: Sandbox) -> None:
    """Which of two commands was meant?"""
    sandbox.write("Procfile", "web: echo one\nweb: echo two\n")
    done = run(sandbox, "web")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Procfile:2: " in done.stderr
    assert run(sandbox, "echo", "hi").stdout == b"hi\n"


def test_it_is_told_where_it_runs(sandbox: Sandbox) -> None:
    """PWD is not the caller's."""
    sandbox.write("app/Procfile", "web: true\n")
    done = run(sandbox, "-d", "app", "printenv", "PWD")
    assert done.stdout.decode().strip() == os.path.realpath(sandbox.root / "app")


def test_a_process_types_name_stands_for_its_command(sandbox: Sandbox) -> None:
    """And arguments are appended, each one word, whatever it holds."""
    assert run(sandbox, "web").stdout == b"<web-args>"
    extra = ["a b", "$HOME", "'", '"', ";", "*", "", "\n"]
    wanted = b"".join(b"<%s>" % word.encode() for word in ["web-args", *extra])
    assert run(sandbox, "web", *extra).stdout == wanted


def test_options_after_the_command_are_its_own(sandbox: Sandbox) -> None:
    """Even those that procman knows."""
    words = ["-e", "x", "--help", "-d", "/", "--"]
    assert run(sandbox, "printf", "<%s>", *words).stdout == b"<-e><x><--help><-d></><-->"


def test_two_dashes_end_our_options(sandbox: Sandbox) -> None:
    """`procman run -- CMD`."""
    assert run(sandbox, "--", "echo", "-n", "hi").stdout == b"hi"
    assert run(sandbox, "--", "web", "--", "-x").stdout == b"<web-args><--><-x>"


def test_a_single_argument_is_a_line_for_the_shell(sandbox: Sandbox) -> None:
    """As with `heroku run 'echo $X | tr'`; several are taken as they stand."""
    assert run(sandbox, "-e", "X=abc", "echo $X | tr a-c A-C").stdout == b"ABC\n"
    assert run(sandbox, "-e", "X=abc", "echo", "$X").stdout == b"$X\n"


def test_without_a_procfile_a_command_runs_all_the_same(sandbox: Sandbox) -> None:
    """A one-off needs none."""
    mark = new_mark()
    done = subprocess.run(
        [*PROCMAN, "run", "echo", "hi"],
        cwd=sandbox.root,
        env=clean_environment(mark, {}, sandbox.root),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"hi\n")


def test_run_what_is_an_error(sandbox: Sandbox) -> None:
    """No command at all, or an empty one."""
    assert run(sandbox).returncode == 2
    assert run(sandbox, "").returncode == 1


# --- the environment ---


def test_it_has_the_apps_config_vars_directory_and_a_name_of_its_own(sandbox: Sandbox) -> None:
    """`.env`, then the caller's, then `-e K=V`; `DYNO` is `run.1`."""
    sandbox.write("Procfile", PROCFILE)
    sandbox.write(".env", "A=file\nB=file\n")
    sandbox.write("other.env", "A=other\n")
    line = "echo $DYNO $PS $A $B; pwd"
    root = os.path.realpath(sandbox.root)
    assert run(sandbox, line).stdout.decode() == f"run.1 run.1 file file\n{root}\n"
    assert run(sandbox, "-e", "B=b=1", line).stdout.decode().startswith("run.1 run.1 file b=1\n")
    both = run(sandbox, "-e", ".env,other.env", "-e", "B=b", line)
    assert both.stdout.decode().startswith("run.1 run.1 other b\n")
    before = run(sandbox, line, before=("-e", "other.env"))
    assert before.stdout.decode().startswith("run.1 run.1 other\n")


def test_an_env_file_that_is_not_there_is_an_error(sandbox: Sandbox) -> None:
    """It was named."""
    done = run(sandbox, "-e", "missing.env", "true")
    assert done.returncode == 1
    assert b"missing.env" in done.stderr


def one_off(sandbox: Sandbox, line: str) -> Running:
    """A one-off that runs on, its outputs in one pipe."""
    if not (sandbox.root / "Procfile").exists():
        sandbox.write("Procfile", PROCFILE)
    return sandbox.procman("run", line)


def test_two_at_once_have_numbers_of_their_own(sandbox: Sandbox) -> None:
    """run.1 and run.2; a number is free again when its one-off has ended."""
    first = one_off(sandbox, "echo $DYNO; exec sleep 60")
    first.until("run.1\n")
    second = one_off(sandbox, "echo $DYNO; exec sleep 60")
    second.until("run.2\n")
    first.send(signal.SIGTERM)
    assert first.finish() == 143
    assert run(sandbox, "echo $DYNO").stdout == b"run.1\n"
    second.send(signal.SIGTERM)
    assert second.finish() == 143


def test_a_command_sees_no_descriptor_of_ours(sandbox: Sandbox) -> None:
    """0, 1 and 2, and the one that the looking itself opens."""
    assert run(sandbox, "ls", "/proc/self/fd").stdout == b"0\n1\n2\n3\n"


# --- signals ---

COUNTING = (
    'for s in INT TERM HUP QUIT USR1 USR2; do trap "echo $s" $s; done;'
    " trap 'echo TERM; exit 9' TERM; echo ready; while :; do sleep .05; done"
)


@pytest.mark.parametrize("name", ["INT", "HUP", "QUIT", "USR1", "USR2"])
def test_a_signal_is_forwarded_once(sandbox: Sandbox, name: str) -> None:
    """To the command; it decides what comes of it."""
    running = one_off(sandbox, COUNTING)
    running.until("ready")
    running.send(signal.Signals[f"SIG{name}"])
    running.until(f"{name}\n")
    running.send(signal.SIGTERM)
    assert running.finish() == 9
    assert running.text == f"ready\n{name}\nTERM\n"


def test_ctrl_c_reaches_the_command_exactly_once(sandbox: Sandbox) -> None:
    """By the terminal: we do not send it a second time, nor end before it."""
    sandbox.write("Procfile", f"count: {COUNTING}\n")
    with at_keyboard(procman("run", "count"), sandbox.root) as keyboard:
        keyboard.until("ready")
        keyboard.press(CTRL_C)
        keyboard.until("INT\r\n")
        keyboard.press(CTRL_C)
        keyboard.until("INT\r\n", 2)
        keyboard.process.send_signal(signal.SIGTERM)
        assert keyboard.finish() == 9
        assert keyboard.text.replace("^C", "").split() == ["ready", "INT", "INT", "TERM"]


def test_the_terminal_is_handed_on(sandbox: Sandbox) -> None:
    """The command reads keys, sees the window, and ends with end-of-file."""
    sandbox.write("Procfile", PROCFILE)
    line = "tty; stty size; read x; echo got=$x; cat; echo eof"
    with at_keyboard(procman("run", line), sandbox.root, size=(31, 99)) as keyboard:
        keyboard.until("31 99")
        assert "/dev/pts/" in keyboard.text
        keyboard.press(b"hello\n")
        keyboard.until("got=hello")
        keyboard.press(CTRL_D)
        assert keyboard.finish() == 0
        assert "eof" in keyboard.text
        assert keyboard.modes_now() == keyboard.modes


def test_a_closed_window_ends_the_command(sandbox: Sandbox) -> None:
    """SIGHUP, and nobody stays."""
    sandbox.write("Procfile", PROCFILE)
    with at_keyboard(procman("run", "echo ready; exec sleep 60"), sandbox.root) as keyboard:
        keyboard.until("ready")
        keyboard.hang_up()
        assert not keyboard.survivors()


# --- leftovers ---


@pytest.mark.parametrize(
    "line",
    [
        "sleep 77 & echo pid=$!",
        "setsid sh -c 'echo >told; exec sleep 78' & echo pid=$!; read -r x <told",
        "(setsid sh -c 'echo pid=$$; echo >told; exec sleep 79' &); read -r x <told",
        "(setsid env -i sh -c 'echo pid=$$; echo >told; exec /bin/sleep 80' &); read -r x <told",
    ],
)
def test_what_the_command_leaves_behind_is_killed(sandbox: Sandbox, line: str) -> None:
    """Background children, and daemons that cleared their environment."""
    sandbox.write("Procfile", PROCFILE)
    os.mkfifo(sandbox.root / "told")  # a daemon is one before its leader ends
    running = sandbox.procman("run", f"exec 2>/dev/null; {line}")
    running.until("pid=")
    pid = int(running.until("\n").partition("pid=")[2].split()[0])
    assert running.process.wait(PATIENCE) == 0
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_background_child_that_holds_the_output_does_not_hold_us(sandbox: Sandbox) -> None:
    """The exit is the command's."""
    running = one_off(sandbox, "sleep 60 & exit 3")
    assert running.finish() == 3


def test_nothing_survives_a_kill_of_procman_itself(sandbox: Sandbox) -> None:
    """The guardian kills the command."""
    running = one_off(sandbox, "trap '' TERM INT HUP; echo ready $$; while :; do sleep 1; done")
    pid = int(running.until("\n").split()[1])
    running.send(signal.SIGKILL)
    assert running.process.wait(PATIENCE) == -signal.SIGKILL
    wait_for_end(pid)
    running.wait_for_survivors_to_end()


def test_it_runs_in_a_pipeline(sandbox: Sandbox) -> None:
    """A reader that goes away is the command's SIGPIPE, as without us."""
    sandbox.write("Procfile", PROCFILE)
    line = f"{shlex.join(PROCMAN)} run yes | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}}"],
        cwd=sandbox.root,
        env=clean_environment(new_mark(), {}, sandbox.root),
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"y\n141\n"
    assert done.stderr == b""
