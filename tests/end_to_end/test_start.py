"""`procman start` on real processes: exit statuses, signals, output, and nobody left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.end_to_end.conftest import Sandbox, wait_for_end
from tests.end_to_end.web import free_port

STUBBORN = "trap '' TERM INT HUP; echo ready; while :; do sleep 1; done"


# --- exit statuses ---


def test_the_status_of_an_app_that_keeps_failing_is_its_own(sandbox: Sandbox) -> None:
    """`a: exit 3` ends with 3 after its restarts, and says what happened."""
    running = sandbox.start("a: exit 3\n")
    assert running.finish() == 3
    assert "a.1 crashed, status 3 after" in running.text
    assert "restarting at once" in running.text


def test_without_restarts_the_first_failure_is_the_status(sandbox: Sandbox) -> None:
    """`--restart never` is a run to completion."""
    running = sandbox.start("a: exit 3\nb: exit 0\n", "--restart", "never")
    assert running.finish() == 3


def test_fail_fast_ends_the_app_with_the_first_exit(sandbox: Sandbox) -> None:
    """foreman's and honcho's rule, and the sleeper does not hold it up."""
    running = sandbox.start("a: exit 3\nb: exec sleep 20\n", "--fail-fast")
    assert running.finish() == 3
    assert not running.survivors()


def test_all_finished_is_success(sandbox: Sandbox) -> None:
    """Nothing pending, nothing failed: 0."""
    running = sandbox.start("a: echo one\nb: echo two\n")
    assert running.finish() == 0
    assert running.lines("a.1") == ["one"]
    assert running.lines("b.1") == ["two"]


@pytest.mark.parametrize(
    ("command", "status"),
    [("kill -SEGV $$", 139), ("there-is-no-such-command", 127), ("exit 255", 255)],
)
def test_statuses_are_those_of_a_shell(sandbox: Sandbox, command: str, status: int) -> None:
    """128 + n for a death by signal n, 127 for a command not found."""
    assert sandbox.start(f"a: {command}\n", "--restart", "never").finish() == status


def test_a_second_sighup_does_not_kill(sandbox: Sandbox) -> None:
    """Of a window that is closed one comes from the kernel and one from the shell."""
    os.mkfifo(sandbox.root / "gate")
    app = sandbox.start(
        "a: trap 'echo asked; read x <gate; echo done; exit' TERM; echo ready;"
        " while :; do sleep 0.1; done\n"
    )
    app.until("ready")
    app.send(signal.SIGHUP)
    app.until("asked")
    app.send(signal.SIGHUP)
    assert sandbox.procman("ps").finish() == 0  # it has been heard
    (sandbox.root / "gate").write_text("go\n")
    assert app.finish() == 129
    assert app.lines("a.1")[-1] == "done"


def test_nohup_holds(sandbox: Sandbox) -> None:
    """Who starts it with SIGHUP ignored wants it ignored, by the dynos as well."""
    sandbox.write("Procfile", "a: echo ready; exec sleep 60\n")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        app = sandbox.procman("start")
    finally:
        signal.signal(signal.SIGHUP, before)
    app.until("ready")
    app.send(signal.SIGHUP)
    for pid in app.survivors():
        os.kill(pid, signal.SIGHUP)
    assert sandbox.procman("ps").finish() == 0
    app.send(signal.SIGTERM)
    assert app.finish() == 143
    assert "SIGHUP" not in app.text


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_everything_and_is_the_status(
    sandbox: Sandbox, number: int, status: int
) -> None:
    """SIGINT, SIGTERM and SIGHUP: 130, 143, 129, and no child left."""
    running = sandbox.start("a: echo up; exec sleep 60\nb: sh -c 'sleep 61'; true\n")
    running.until("up")
    running.send(number)
    assert running.finish() == status
    assert not running.survivors()


def test_max_restarts_gives_a_dyno_up(sandbox: Sandbox) -> None:
    """One restart, then it is left; the rest runs on."""
    running = sandbox.start("a: exit 4\nb: echo up; exec sleep 60\n", "--max-restarts", "1")
    running.until("not restarted")
    assert running.text.count("a.1 crashed") == 2
    running.send(signal.SIGTERM)
    assert running.finish() == 143


# --- stopping ---


def test_a_stubborn_process_is_killed_at_the_grace(sandbox: Sandbox) -> None:
    """A child that ignores TERM, INT and HUP does not survive."""
    running = sandbox.start(f"a: {STUBBORN}\n", "--stop-timeout", "200ms")
    running.until("ready")
    running.send(signal.SIGTERM)
    assert running.finish() == 143
    assert "killing it (R12)" in running.text
    assert not running.survivors()


def test_the_second_signal_kills_at_once(sandbox: Sandbox) -> None:
    """Nobody waits for a grace of an hour."""
    running = sandbox.start(f"a: {STUBBORN}\n", "--stop-timeout", "1h")
    running.until("ready")
    running.send(signal.SIGINT)
    running.until("SIGINT received")
    running.send(signal.SIGINT)
    assert running.finish() == 130
    assert not running.survivors()


# Into the process of procman by Python's own door: with the first SIGCHLD comes a SIGTERM.
SIGTERM_WITH_SIGCHLD = """
import os, signal, sys
if "start" in sys.orig_argv:
    from procman.runtime.supervisor import Supervisor
    seen = Supervisor._child_ended
    def see_and_be_asked_to_end(self, number, frame):
        seen(self, number, frame)
        if not os.path.exists("asked"):
            open("asked", "w").close()
            os.kill(os.getpid(), signal.SIGTERM)
    Supervisor._child_ended = see_and_be_asked_to_end
"""


@pytest.mark.parametrize("router", [True, False])
def test_a_signal_that_comes_with_another_counts_once(sandbox: Sandbox, router: bool) -> None:
    """uvloop tells its handlers twice of a signal that comes while it handles another."""
    sandbox.write("sitecustomize.py", SIGTERM_WITH_SIGCHLD)
    web = "web: trap 'sleep .2; echo done; exit 0' TERM; echo ready; while :; do sleep .1; done"
    arguments = ("-p", "auto") if router else ("-p", "auto", "--no-router")
    running = sandbox.start(web, *arguments, env={"PYTHONPATH": str(sandbox.root)})
    running.until("ready")
    assert sandbox.procman("ps").finish() == 0  # its loop runs
    running.send(signal.SIGCHLD)
    assert running.finish() == 143
    assert "done" in running.lines("web.1")
    assert "again" not in running.text


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'sleep 77 & wait'; true",
        "sleep 78 >/dev/null 2>&1 & sleep .1; exit 0",
        "setsid sleep 79 & sleep .1; exit 0",
        "(setsid sh -c 'sleep 80; true' >/dev/null 2>&1 &) ; sleep .1; exit 0",
        "(setsid env -i /bin/sleep 81 &) ; sleep .1; exit 0",
    ],
)
def test_nobody_is_left_behind(sandbox: Sandbox, command: str) -> None:
    """Not a shell's grandchild, not a background child whose leader ended, not a daemon."""
    running = sandbox.start(f"a: {command}\nb: echo up; exec sleep 60\n")
    running.until("up")
    if "exit 0" in command:
        running.until("a.1 finished")
    running.send(signal.SIGTERM)
    assert running.finish() == 143
    assert not running.survivors()


def test_a_background_child_is_gone_when_its_leader_has_ended(sandbox: Sandbox) -> None:
    """A dyno's exit takes all that it started with it, while the app runs on."""
    running = sandbox.start(
        "a: sleep 78 & echo bg=$!; (setsid sleep 79 & echo bg=$!); exit 0\nb: exec sleep 60\n"
    )
    running.until("a.1 finished")
    pids = [int(pid) for pid in re.findall(r"bg=(\d+)", running.text)]
    assert len(pids) == 2
    for pid in pids:
        wait_for_end(pid)
    assert not [pid for pid in running.survivors() if pid in pids]
    running.send(signal.SIGTERM)
    assert running.finish() == 143


# A process that dies gives back its memory first and closes its files only then (exit_mm and
# exit_files in kernel/exit.c): this one holds the lock for a while yet when it was killed.
SLOW_TO_DIE = """
import fcntl, mmap, os, signal, sys

def lead(leaves):
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    argv = ["python", "-I", "-S", "slow.py", str(writing)]
    environ = os.environ if leaves == "session" else {}
    os.posix_spawn(sys.executable, argv, environ, setsid=leaves == "session")
    os.read(reading, 1)
    open("crashed", "w").close()
    sys.exit(1)

if not sys.argv[1].isdigit():
    lead(sys.argv[1])
memory = mmap.mmap(-1, 512 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
lock = os.open("lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(int(sys.argv[1]), b".")
signal.pause()
"""


@pytest.mark.parametrize("leaves", ["session", "environment"])
def test_the_next_boot_meets_nobody_of_the_last(sandbox: Sandbox, leaves: str) -> None:
    """What a leader left is killed, and waited for: a lock or a port is its own until then."""
    sandbox.save("slow.py", SLOW_TO_DIE)
    sandbox.save(
        "dyno.sh",
        "flock --nonblock lock echo alone || echo two live\n"
        "test -e crashed && exec sleep 60\n"
        f"exec {sys.executable} -I -S slow.py {leaves}\n",
    )
    running = sandbox.start("a: sh dyno.sh\n")
    running.until("a.1 ", 5)
    running.send(signal.SIGTERM)
    assert running.finish() == 143
    assert running.lines("a.1") == ["alone", "alone"]


def test_nothing_survives_a_kill_of_procman_itself(sandbox: Sandbox) -> None:
    """SIGKILL cannot be handled: the guardian kills what procman no longer can."""
    running = sandbox.start(
        f"a: {STUBBORN}\nb: (setsid sh -c 'sleep 82; true' &) ; echo ready; exec sleep 60\n"
    )
    running.until("ready", 2)
    running.send(signal.SIGKILL)
    assert running.process.wait(60) == -signal.SIGKILL
    running.wait_for_survivors_to_end()


def test_a_second_start_is_refused_and_a_dead_one_is_no_hindrance(sandbox: Sandbox) -> None:
    """The lock tells, not a file's existence."""
    first = sandbox.start("a: echo up; exec sleep 60\n")
    first.until("up")
    second = sandbox.procman("start")
    assert second.finish() == 1
    assert f"under pid {first.process.pid}" in second.text
    first.send(signal.SIGKILL)
    first.process.wait(60)
    first.wait_for_survivors_to_end()
    third = sandbox.procman("start")
    third.until("up")
    third.send(signal.SIGTERM)
    assert third.finish() == 143


# --- output ---


def test_an_unfinished_last_line_is_shown(sandbox: Sandbox) -> None:
    """`printf NOEOL` loses nothing."""
    running = sandbox.start("a: printf NOEOL\n")
    assert running.finish() == 0
    assert running.lines("a.1") == ["NOEOL"]


@pytest.mark.parametrize("option", ["--no-pty", "--pty"])
def test_a_burst_before_the_exit_is_complete_and_in_order(sandbox: Sandbox, option: str) -> None:
    """`seq 1 20000`, twenty times over, by pipe and by pty."""
    running = sandbox.start("a: seq 1 20000\n", option, "-c", "a=20")
    assert running.finish() == 0
    wanted = [str(number) for number in range(1, 20001)]
    lines = running.lines_of_all()
    for number in range(1, 21):
        assert lines[f"a.{number}"] == wanted


def test_half_a_line_stalls_nobody(sandbox: Sandbox) -> None:
    """Another dyno's lines come while one holds its line open."""
    running = sandbox.start("a: printf half; exec sleep 60\nb: for i in 1 2 3; do echo t$i; done\n")
    running.until("t3")
    running.send(signal.SIGTERM)
    running.finish()
    assert running.lines("a.1") == ["half"]


def test_stdin_of_dynos_is_empty(sandbox: Sandbox) -> None:
    """Nobody waits for a terminal that others read as well."""
    running = sandbox.start("a: cat; readlink /proc/self/fd/0\n")
    assert running.finish() == 0
    assert running.lines("a.1") == ["/dev/null"]


def test_stdout_and_stderr_are_merged_in_order(sandbox: Sandbox) -> None:
    """One pipe takes both."""
    running = sandbox.start("a: for i in 1 2 3; do echo o$i; echo e$i >&2; done\n")
    assert running.finish() == 0
    assert running.lines("a.1") == ["o1", "e1", "o2", "e2", "o3", "e3"]


def test_bytes_that_are_no_utf8_pass_through(sandbox: Sandbox) -> None:
    """A log line is bytes."""
    running = sandbox.start(r"a: printf '\377\376\n'" + "\n")
    assert running.finish() == 0
    assert b"| \xff\xfe\n" in running.output


def test_quiet_types_are_not_shown_and_the_prefix_can_go(sandbox: Sandbox) -> None:
    """`-q`, `--no-prefix`."""
    running = sandbox.start("a: echo one\nb: echo two\n", "-q", "b", "--no-prefix")
    assert running.finish() == 0
    assert "one" in running.text.splitlines()
    assert "two" not in running.text


def test_json_is_one_object_a_line(sandbox: Sandbox) -> None:
    """time, source, dyno, line, and nothing else in standard output."""
    sandbox.write("Procfile", 'a: echo "say \\"hi\\""\n')
    running = sandbox.procman("start", "--log-format", "json", stderr=subprocess.DEVNULL)
    assert running.finish() == 0
    objects = [json.loads(line) for line in running.text.splitlines()]
    assert all(set(item) == {"time", "source", "dyno", "line"} for item in objects)
    assert [o["line"] for o in objects if o["source"] == "app"] == ['say "hi"']


def test_no_colour_of_ours_goes_into_a_pipe_unless_asked(sandbox: Sandbox) -> None:
    """ANSI only on a terminal, or with --color."""
    assert b"\x1b" not in _output(sandbox, ())
    assert b"\x1b[36m" in _output(sandbox, ("--color",))


def _output(sandbox: Sandbox, arguments: tuple[str, ...]) -> bytes:
    running = sandbox.start("a: echo one\n", *arguments)
    assert running.finish() == 0
    return bytes(running.output)


def test_a_reader_that_goes_away_is_a_clean_stop(sandbox: Sandbox) -> None:
    """EPIPE, as in `procman start | head -1`: status 0 and nobody left."""
    running = sandbox.start("a: while :; do echo line; done\n")
    running.until("line")
    assert running.process.stdout is not None
    running.process.stdout.close()
    assert running.process.wait(60) == 0
    assert not running.survivors()


def test_a_reader_that_goes_away_hides_no_dyno_that_failed_for_good(sandbox: Sandbox) -> None:
    """The first one's status, as if the app had ended by itself."""
    procfile = "a: exit 3\nb: while read line <gate; do echo line; done\n"
    os.mkfifo(sandbox.root / "gate")
    running = sandbox.start(procfile, "--restart", "never")
    running.until("a.1 crashed, status 3")
    assert running.process.stdout is not None
    running.process.stdout.close()
    (sandbox.root / "gate").write_text("go\n")
    assert running.process.wait(60) == 3
    assert not running.survivors()


# --- formation, ports, environment ---


def test_the_formation_and_its_ports_follow_foremans_rule(sandbox: Sandbox) -> None:
    """base + 100 x index + number - 1, counted over the whole Procfile."""
    procfile = "web: echo $DYNO $PS $PORT\nworker: echo $DYNO $PORT $PROCMAN_WEB_PORT\n"
    running = sandbox.start(procfile, "-c", "worker=2", "-p", "7000", "--no-router")
    assert running.finish() == 0
    assert running.lines("web.1") == ["web.1 web.1 7000"]
    assert running.lines("worker.2") == ["worker.2 7101 7000"]
    alone = sandbox.procman("start", "worker")
    assert alone.finish() == 0
    assert alone.lines("worker.1") == ["worker.1 5100 5000"]
    assert alone.lines("web.1") == []


@pytest.mark.parametrize(
    ("arguments", "hundred"), [([], 1), (["worker"], 1), (["worker", "--no-router"], 0)]
)
def test_a_type_before_web_has_webs_place_where_the_router_has_the_base_port(
    sandbox: Sandbox, arguments: list[str], hundred: int
) -> None:
    """Whether web is started or not."""
    base = free_port()
    running = sandbox.start("worker: echo $PORT\nweb: true\n", *arguments, "-p", str(base))
    assert running.finish() == 0
    assert running.lines("worker.1") == [str(base + 100 * hundred)]


def test_free_ports_are_free_and_differ(sandbox: Sandbox) -> None:
    """`-p auto` never collides, with others or with itself."""
    running = sandbox.start("a: echo $PORT\n", "-c", "a=5", "-p", "auto")
    assert running.finish() == 0
    ports = {int(running.lines(f"a.{n}")[0]) for n in range(1, 6)}
    assert len(ports) == 5


def test_an_unknown_type_is_an_error_with_the_nearest_right_name(sandbox: Sandbox) -> None:
    """Never an app that idles in silence."""
    for arguments in (["worke"], ["-c", "worke=2"], ["-x", "worke"], ["-q", "worke"]):
        running = sandbox.start("web: true\nworker: true\n", *arguments)
        assert running.finish() == 2
        assert "worker" in running.text.partition("hint")[2]


@pytest.mark.parametrize("arguments", [["web.1"], ["-x", "web.1"]])
def test_a_dyno_where_a_type_belongs_is_an_error(sandbox: Sandbox, arguments: list[str]) -> None:
    """It is neither left out in silence, nor an app of nothing."""
    running = sandbox.start("web: echo never\na: echo never\n", *arguments)
    assert running.finish() == 2
    assert "'web.1' is a dyno, not a process type" in running.text
    assert "never" not in running.text


def test_a_port_past_the_last_is_an_error_and_that_of_a_type_that_does_not_run_is_none(
    sandbox: Sandbox,
) -> None:
    """Nothing is booted to crash for it."""
    running = sandbox.start("a: true\nb: echo never\n", "-p", "65500")
    assert running.finish() == 1
    assert "b.1 would get port 65600" in running.text
    assert "started" not in running.text
    running = sandbox.start("a: echo here\nb: true\n", "a", "-p", "65500")
    assert running.finish() == 0
    assert running.lines("a.1") == ["here"]


def test_release_is_not_run_by_start_and_says_so(sandbox: Sandbox) -> None:
    """It belongs to a release."""
    running = sandbox.start("release: echo migrated\nweb: echo up\n", "-p", "auto")
    assert running.finish() == 0
    assert "release type" in running.text
    assert "migrated" not in running.text


def test_the_callers_environment_beats_dotenv_and_dotenv_can_be_preferred(
    sandbox: Sandbox,
) -> None:
    """As twelve-factor has it; `--env-override` is foreman's way."""
    sandbox.write(".env", "A=file\nB=file\nPORT=6100\n")
    env = {"A": "shell"}
    running = sandbox.start("a: echo $A $B $PORT\n", env=env)
    assert running.finish() == 0
    assert running.lines("a.1") == ["shell file 6100"]
    running = sandbox.start("a: echo $A $B\n", "--env-override", env=env)
    assert running.finish() == 0
    assert running.lines("a.1") == ["file file"]


def test_the_base_port_is_taken_in_order(sandbox: Sandbox) -> None:
    """`-p`, then PORT of the environment, then of `.env`, then 5000; `--env-override` turns the
    second and the third round.
    """
    sandbox.write(".env", "PORT=6100\n")
    for arguments, env, port in (
        (["-p", "8000"], {"PORT": "7000"}, "8000"),
        ([], {"PORT": "7000"}, "7000"),
        (["--env-override"], {"PORT": "7000"}, "6100"),
        ([], {}, "6100"),
    ):
        running = sandbox.start("a: echo $PORT\n", *arguments, env=env)
        assert running.finish() == 0
        assert running.lines("a.1") == [port]


def test_settings_per_type_count(sandbox: Sandbox) -> None:
    """`[tool.procman.types.worker]`: command, env, stop_signal, restart."""
    sandbox.write(
        "pyproject.toml",
        "[tool.procman]\nstop_timeout = '1h'\n"
        "[tool.procman.types.worker]\n"
        "command = 'trap \"echo got int; exit 0\" INT; echo $GREETING; sleep 60 & wait'\n"
        "env = { GREETING = 'hello' }\nstop_signal = 'INT'\n",
    )
    running = sandbox.start("worker: false\n")
    running.until("hello")
    running.send(signal.SIGTERM)
    assert running.finish() == 143
    assert "got int" in running.lines("worker.1")


def test_a_settings_mistake_is_an_error_with_the_nearest_right_name(sandbox: Sandbox) -> None:
    """Unknown keys are not ignored."""
    sandbox.write("procman.toml", "stop_timout = '1s'\n")
    running = sandbox.start("a: true\n")
    assert running.finish() == 1
    assert "stop_timeout" in running.text


def test_children_run_in_the_procfiles_directory_and_read_its_dotenv(sandbox: Sandbox) -> None:
    """The app root is the Procfile's directory, wherever procman was called."""
    sandbox.write("sub/Procfile", "a: pwd; echo $X\n")
    sandbox.write("sub/.env", "X=sub\n")
    running = sandbox.procman("-f", "sub/Procfile", "start")
    assert running.finish() == 0
    assert running.lines("a.1") == [os.path.realpath(sandbox.root / "sub"), "sub"]


@pytest.mark.parametrize("key", ["app_root", "app-root"])
def test_a_settings_file_can_name_the_app_root(sandbox: Sandbox, key: str) -> None:
    """As every option can stand there; other commands find the app from there as well."""
    sandbox.write("procman.toml", f"{key} = 'sub'\ntypes.a.env = {{ X = 'set' }}\n")
    sandbox.write("sub/Procfile", "a: pwd; echo $X; exec sleep 60\n")
    running = sandbox.procman("start")
    running.until("| set")
    assert running.lines("a.1") == [os.path.realpath(sandbox.root / "sub"), "set"]
    assert sandbox.procman("ps").finish() == 0
    assert sandbox.procman("stop", "--wait").finish() == 0
    assert running.finish() == 0


def test_a_procfile_can_come_from_standard_input(sandbox: Sandbox) -> None:
    """`-f -`."""
    running = sandbox.procman("start", "-f", "-", stdin=b"a: echo piped\n")
    assert running.finish() == 0
    assert running.lines("a.1") == ["piped"]


def test_a_line_that_is_no_entry_is_a_warning_with_its_number(sandbox: Sandbox) -> None:
    """Eleven of twelve peers drop it in silence."""
    running = sandbox.start("a: echo one\n\nnonsense here\n")
    assert running.finish() == 0
    assert "Procfile:3:" in running.text


def test_a_busy_port_is_an_error_that_names_its_holder(sandbox: Sandbox) -> None:
    """Before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        running = sandbox.start("web: echo never\n", "-p", str(port))
        assert running.finish() == 1
        assert str(port) in running.text
        assert str(os.getpid()) in running.text
        assert "never" not in running.lines("web.1")
