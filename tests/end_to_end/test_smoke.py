"""`procman smoke` on the examples, good and broken: the right status, and the cause."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import (
    PATIENCE,
    PROCMAN,
    Running,
    Sandbox,
    clean_environment,
    new_mark,
)
from tests.end_to_end.keyboard import at_keyboard, procman

EXAMPLES = Path(__file__).parents[2] / "examples"


def smoke(sandbox: Sandbox, example: str, *arguments: str, **env: str) -> Running:
    """Run `procman smoke` on a copy of an example; `python` is the one of the tests."""
    shutil.copytree(EXAMPLES / example, sandbox.root, dirs_exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return sandbox.procman("smoke", *arguments, env={"PATH": path, **env})


def test_a_good_app_passes_and_the_report_tells_of_each_dyno(sandbox: Sandbox) -> None:
    """hello: ready, answered, steady."""
    running = smoke(sandbox, "hello", "--path", "/", "--for", "100ms")
    assert running.finish() == 0
    assert "ok   web.1" in running.text
    assert "ok   GET /  200" in running.text
    assert "smoke test passed" in running.text
    assert not running.survivors()


def test_web_and_worker_and_a_command_that_uses_them(sandbox: Sandbox) -> None:
    """queue: the command gets PROCMAN_URL and PORT, and its status is the test's."""
    check = "import os,urllib.request as u;u.urlopen(os.environ['PROCMAN_URL']+'/health')"
    command = ["--", "python", "-c", f"{check};assert os.environ['PORT']"]
    running = smoke(sandbox, "queue", "--path", "/health", "--for", "0s", *command)
    assert running.finish() == 0
    assert "ok   the command ended with status 0" in running.text


@pytest.mark.parametrize(
    ("env", "cause"),
    [
        ({"CRASHY_WEB": "unbound"}, "not ready yet: it listens on no port"),
        ({"CRASHY_WEB": "crash", "CRASHY_AFTER": "0.5"}, "crashed, status 3"),
        ({"CRASHY_WEB": "crash", "CRASHY_AFTER": "3"}, "crashed, status 3"),
        ({"CRASHY_WEB": "error"}, "500"),
        ({"CRASHY_WEB": "hang"}, ": out of time"),
        ({"CRASHY_WEB": "finish"}, "ended, status 0"),
        ({"CRASHY_WEB": "fatal"}, "RuntimeError: cannot start, as asked for"),
        ({"CRASHY_WORKER": "segv", "CRASHY_AFTER": "0.5"}, "SIGSEGV"),
        ({"CRASHY_WORKER": "fatal"}, "FAIL worker.1"),
    ],
)
def test_a_broken_app_fails_with_1_and_its_cause(
    sandbox: Sandbox, env: dict[str, str], cause: str
) -> None:
    """Does not bind, crashes later, answers 500, hangs, exits 0 at once."""
    env = {"CRASHY_WEB": "ok", "CRASHY_WORKER": "ok", **env}
    running = smoke(sandbox, "crashy", "--timeout", "4s", "--path", "/", "--for", "30s", **env)
    assert running.finish() == 1
    report = running.text[running.text.index("web.1     ") :]
    assert cause in report
    assert not running.survivors()


def test_when_time_runs_out_no_path_is_left_unsaid(sandbox: Sandbox) -> None:
    """The one that was waited for, and those that nobody asked any more."""
    paths = ["--path", "/", "--path", "/later"]
    running = smoke(sandbox, "crashy", "--timeout", "3s", *paths, CRASHY_WEB="hang")
    assert running.finish() == 1
    assert "FAIL GET /later  no answer in 0ms: not asked, the time had run out" in running.text


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"CRASHY_WEB": "unbound", "CRASHY_WORKER": "ok"}, "not asked, the time had run out"),
        ({"CRASHY_WEB": "fatal", "CRASHY_WORKER": "ok"}, "not asked, a dyno had failed"),
        ({"CRASHY_WEB": "unbound", "CRASHY_WORKER": "fatal"}, "not asked, a dyno had failed"),
    ],
)
def test_the_paths_that_nobody_came_to_ask_are_in_every_report(
    sandbox: Sandbox, env: dict[str, str], why: str
) -> None:
    """A dyno was late, or had crashed: whoever counts test cases misses none."""
    arguments = ["--timeout", "3s", "--path", "/", "--path", "/b", "--json", "--junit", "out.xml"]
    shutil.copytree(EXAMPLES / "crashy", sandbox.root, dirs_exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    running = sandbox.procman(
        "smoke", *arguments, env={"PATH": path, **env}, stderr=subprocess.DEVNULL
    )
    assert running.finish() == 1
    answers = json.loads(running.text)["answers"]
    assert [(answer["path"], answer["reason"]) for answer in answers] == [("/", why), ("/b", why)]
    suite = ET.fromstring((sandbox.root / "out.xml").read_text())
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert {"GET /", "GET /b"} <= set(failed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dyno_that_never_was_ready_is_not_ok_when_a_signal_ends_the_run(
    sandbox: Sandbox, number: int
) -> None:
    """Nor are the paths that wait for it; the type that had done its work is."""
    sandbox.write("procman.toml", "[types]\njob = { ready = 'log:never said' }\n")
    sandbox.write("Procfile", "web: trap '' TERM INT; echo deaf; exec sleep 60\njob: true\n")
    arguments = ["smoke", "--path", "/", "--junit", "out.xml"]
    running = sandbox.procman(*arguments, env={"PROCMAN_STOP_TIMEOUT": "100ms"})
    running.until("| deaf")
    running.until("job.1 finished")
    running.until("web is at")
    running.send(number)
    assert running.finish() == 1
    assert "FAIL web.1  stopping: not ready yet" in running.text
    assert "ok   job.1" in running.text
    suite = ET.fromstring((sandbox.root / "out.xml").read_text())
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["web.1", "GET /", "smoke"]


def test_a_reader_that_goes_before_the_test_is_done_is_told_of_on_standard_error(
    sandbox: Sandbox,
) -> None:
    """`| head -1`: status 1 has its line there, and its cause in the file."""
    os.mkfifo(sandbox.root / "gate")
    sandbox.write("Procfile", "job: cat gate; echo unread; exec sleep 60\n")
    arguments = ["smoke", "--for", "60s", "--junit", "out.xml"]
    running = sandbox.procman(*arguments, stderr=subprocess.PIPE)
    running.until("started with pid")
    assert running.process.stdout is not None
    assert running.process.stderr is not None
    running.process.stdout.close()
    (sandbox.root / "gate").write_text("")
    told = running.process.stderr.read().decode()
    assert running.process.wait(PATIENCE) == 1
    assert told == "procman: standard output was gone before the smoke test was done\n"
    suite = ET.fromstring((sandbox.root / "out.xml").read_text())
    assert [case.get("name") for case in suite] == ["job.1", "smoke"]


def test_an_end_at_once_is_told_as_the_cause(sandbox: Sandbox) -> None:
    """A program that ends before anybody looks; web may not, and a type that is done may."""
    sandbox.write("Procfile", "web: true\n")
    running = sandbox.procman("smoke", "--timeout", "20s", "--for", "0s")
    assert running.finish() == 1
    assert "FAIL web.1  finished: ended, status 0" in running.text
    sandbox.write("Procfile", "job: true\n")
    running = sandbox.procman("smoke", "--timeout", "20s", "--for", "0s")
    assert running.finish() == 0
    assert "ok   job.1  finished" in running.text


def test_the_commands_status_is_the_tests_own(sandbox: Sandbox) -> None:
    """CI sees what the user's own tests say; a missing command is 127, as to a shell."""
    running = smoke(sandbox, "hello", "--for", "0s", "--", "sh", "-c", "exit 7")
    assert running.finish() == 7
    running = smoke(sandbox, "hello", "--for", "0s", "--", "sh", "-c", "kill -SEGV $$")
    assert running.finish() == 139
    running = smoke(sandbox, "hello", "--for", "0s", "--", "there-is-none")
    assert running.finish() == 127
    assert "FAIL there-is-none: No such file or directory" in running.text


def test_the_command_is_found_and_begun_as_run_does_it(sandbox: Sandbox) -> None:
    """In the PATH that it is given, which may be the app's; and as a shell begins a script."""
    sandbox.write("Procfile", "job: true\n")
    sandbox.write(".env", f"PATH={sandbox.root}/tools:${{PATH}}\n")
    sandbox.write("tools/check", "echo checked $1; exit 7\n").chmod(0o755)
    arguments = ["--env-override", "--for", "0s", "--", "check", "it"]
    running = sandbox.procman("smoke", *arguments)
    assert running.finish() == 7
    assert "checked it" in running.text


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 129", 129), ("exit 130", 130), ("exit 143", 143), ("kill -TERM $$", 143)],
)
def test_a_commands_status_that_looks_like_a_signals_is_the_tests_own(
    sandbox: Sandbox, script: str, status: int
) -> None:
    """Nobody has stopped the test: somebody stopped what the command runs, perhaps."""
    sandbox.write("Procfile", "job: true\n")
    running = sandbox.procman("smoke", "--for", "0s", "--", "sh", "-c", script)
    assert running.finish() == status
    assert f"FAIL the command ended with status {status}" in running.text
    assert "stopped by a signal" not in running.text


def test_a_dynos_status_that_looks_like_a_signals_is_none(sandbox: Sandbox) -> None:
    """With fail_fast it is the app's; the dyno is what failed."""
    sandbox.write("procman.toml", "fail_fast = true\n")
    sandbox.write("Procfile", "job: exit 143\n")
    running = sandbox.procman("smoke", "--for", "60s")
    assert running.finish() == 1
    assert "FAIL job.1" in running.text
    assert "stopped by a signal" not in running.text


def test_a_command_that_asks_the_terminal_does_not_hang(sandbox: Sandbox) -> None:
    """In the background of the user's it would be stopped, and nobody would wake it."""
    sandbox.write("Procfile", "job: true\n")
    command = ["sh", "-c", "stty -echo </dev/tty; exit 5"]
    with at_keyboard(procman("smoke", "--for", "0s", "--", *command), sandbox.root) as terminal:
        assert terminal.finish() == 5
        assert not terminal.survivors()


def test_a_command_is_told_in_which_directory_it_is(sandbox: Sandbox) -> None:
    """The app's: `run` says the same."""
    sandbox.write("app/Procfile", "job: true\n")
    running = sandbox.procman(
        *["smoke", "-d", "app", "--for", "0s", "--", "env"], env={"PWD": str(sandbox.root)}
    )
    assert running.finish() == 0
    assert f"PWD={sandbox.root}/app\n" in running.text


ANSWERS = r"""
import os, socketserver
class Answers(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1]
        while self.rfile.readline().strip():
            pass
        self.wfile.write({
            b"/early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                       b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"/broken": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok",
            b"/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\nok",
            b"/moved": b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            b"/events": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n",
        }.get(path, b""))
        if path == b"/events":
            self.wfile.flush()
            self.rfile.read()  # the stream ends when its reader goes
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
Server(("127.0.0.1", int(os.environ["PORT"])), Answers).serve_forever()
"""


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/early", "ok   GET /early  200 in"),
        ("/events", "ok   GET /events  200 in"),
        ("/moved", "expected 200, it redirects to /login"),
        ("/broken", "the body did not come to its end, it broke off"),
        ("/chunks", "the body did not come to its end, it broke off"),
        ("/closed", "503 in …: H13 Connection closed without response"),
    ],
)
def test_an_answer_is_judged_whole(sandbox: Sandbox, path: str, told: str) -> None:
    """A right status is not enough when the answer breaks off; interim answers do not count."""
    sandbox.write("Procfile", f"web: exec {sys.executable} web.py\n")
    sandbox.write("web.py", ANSWERS)
    running = sandbox.procman("smoke", "--path", path, "--for", "0s")
    assert running.finish() == (0 if told.startswith("ok") else 1)
    head, _, rest = told.partition("…")
    assert head in running.text
    assert rest in running.text


def test_json_and_junit_say_the_same(sandbox: Sandbox) -> None:
    """Standard output is the one JSON object; the file is JUnit's."""
    shutil.copytree(EXAMPLES / "hello", sandbox.root, dirs_exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    arguments = ["smoke", "--json", "--junit", "out.xml", "--path", "/nope", "--expect", "404,200"]
    running = sandbox.procman(
        *arguments, "--for", "0s", env={"PATH": path}, stderr=subprocess.DEVNULL
    )
    assert running.finish() == 0
    report = json.loads(running.text)
    assert (report["status"], report["dynos"][0]["dyno"]) == (0, "web.1")
    suite = ET.fromstring((sandbox.root / "out.xml").read_text())
    assert suite.get("failures") == "0"
    assert [case.get("name") for case in suite] == ["web.1", "GET /nope"]


def test_json_is_alone_on_standard_output(sandbox: Sandbox) -> None:
    """What the command says goes where the logs go."""
    sandbox.write("Procfile", "job: true\n")
    arguments = ["smoke", "--json", "--for", "0s", "--", "echo", "1 passed"]
    running = sandbox.procman(*arguments, stderr=subprocess.PIPE)
    assert running.process.stderr is not None
    assert "1 passed\n" in running.process.stderr.read().decode()
    assert running.finish() == 0
    assert json.loads(running.text)["command_status"] == 0


def test_github_gets_a_log_group_and_an_annotation_at_the_procfiles_line(
    sandbox: Sandbox,
) -> None:
    """`::error file=…`, only when run there."""
    env = {"GITHUB_ACTIONS": "true", "CRASHY_WEB": "fatal", "CRASHY_WORKER": "ok"}
    running = smoke(sandbox, "crashy", "--timeout", "5s", **env)
    assert running.finish() == 1
    assert "::group::procman smoke" in running.text
    assert "::error file=Procfile,line=1::web.1: crashed, status 1" in running.text


def test_an_error_is_not_folded_away_by_github(sandbox: Sandbox) -> None:
    """The group of the logs ends before it is told."""
    sandbox.write("Procfile", f"web: {sys.executable} -m http.server\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        running = sandbox.procman("smoke", "-p", port, env={"GITHUB_ACTIONS": "true"})
        assert running.finish() == 1
    folded, told = running.text.split("::endgroup::\n")
    assert folded == "::group::procman smoke: logs\n"
    assert told.startswith("procman: ")
    assert port in told


def lost_output(place: str) -> int:
    """A descriptor that takes nothing: a pipe that nobody reads, or a full disk."""
    if place != "pipe":
        return os.open(place, os.O_WRONLY)
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("github", ["", "true"])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("pipe", "procman: standard output was gone before the smoke test was done\n"),
        ("/dev/full", "procman: No space left on device\n"),
    ],
)
def test_an_output_that_was_lost_before_the_first_word_is_told_of(
    sandbox: Sandbox, place: str, told: str, github: str
) -> None:
    """Status 1, its cause, and JUnit's report, also where GitHub would have a group of logs."""
    sandbox.write("Procfile", "job: exec sleep 60\n")
    output = lost_output(place)
    try:
        done = subprocess.run(
            [*PROCMAN, "smoke", "--for", "60s", "--junit", "out.xml"],
            cwd=sandbox.root,
            env=clean_environment(new_mark(), {"GITHUB_ACTIONS": github}, sandbox.root),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    finally:
        os.close(output)
    assert done.returncode == 1
    assert done.stderr.endswith(told)
    suite = ET.fromstring((sandbox.root / "out.xml").read_text())
    assert [case.get("name") for case in suite] == ["job.1", "smoke"]


def test_github_finds_the_procfile_from_the_checkouts_root_and_json_stays_json(
    sandbox: Sandbox,
) -> None:
    """A job that works in a directory of the checkout; groups and annotations go where logs go."""
    env = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(sandbox.root.parent)}
    command = ["--", "sh", "-c", "exit 4"]
    running = smoke(sandbox, "hello", "--for", "0s", "--json", *command, **env)
    assert running.finish() == 4
    assert "::endgroup::" in running.text
    place = f"file={sandbox.root.name}/Procfile,line=1"
    assert f"::error {place}::the command ended with status 4" in running.text


def test_the_junit_report_goes_where_the_caller_is(sandbox: Sandbox) -> None:
    """Not where the app is, also in a directory that is yet to be made, and unread or not."""
    sandbox.write("app/Procfile", "job: true\n")
    arguments = ["smoke", "-d", "app", "--for", "0s", "--junit", "out/smoke.xml"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROCMAN, *arguments],
            cwd=sandbox.root,
            env=clean_environment(new_mark(), {}, sandbox.root),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert all(line.startswith("procman: ") for line in done.stderr.splitlines()), done.stderr
    ET.fromstring((sandbox.root / "out/smoke.xml").read_text())


STUBBORN = "trap '' TERM; (trap '' TERM; sleep 60) & echo running; wait; wait"


def test_an_exit_that_start_calls_a_crash_is_one(sandbox: Sandbox) -> None:
    """`start` restarts what has `restart = "always"` after status 0, and who waits for its end is
    never started.
    """
    sandbox.write("Procfile", "worker: sleep 9\nonce: true\n")
    types = '[types.worker]\nafter = ["once"]\n[types.once]\nready = "finished"\n'
    sandbox.write("procman.toml", f'restart = "always"\n{types}')
    running = sandbox.procman("smoke", "--for", "0s")
    assert running.finish() == 1
    assert "FAIL once.1    crashed: crashed, status 0" in running.text
    assert running.text.count("once.1 started") == 1
    assert "worker.1 started" not in running.text


def is_unread(reading: int) -> bool:
    """Whether something was written that nobody has read."""
    return fcntl.ioctl(reading, termios.FIONREAD, bytes(4)) != bytes(4)


def test_a_reader_that_is_stuck_does_not_hold_up_who_is_asked_to_end(sandbox: Sandbox) -> None:
    """One signal is enough, also when the report alone is left to be written (`timeout` sends one).
    What else tells of the test is written.
    """
    long = "x" * 1000  # the last lines of twenty are more than a pipe holds
    sandbox.write("Procfile", f"job: for i in 0 1 2 3 4 5 6 7 8 9; do echo {long}; done; exit 3\n")
    reading, writing = os.pipe()
    arguments = ["smoke", "-c", "job=20", "--for", "0s", "--json", "--junit", "smoke.xml"]
    with (
        (sandbox.root / "said").open("wb") as said,
        subprocess.Popen(
            [*PROCMAN, *arguments],
            cwd=sandbox.root,
            env=clean_environment(new_mark(), {}, sandbox.root),
            stdout=writing,
            stderr=said,
        ) as running,
    ):
        os.close(writing)
        try:
            while not is_unread(reading):
                assert running.poll() is None
            running.terminate()
            running.wait(timeout=PATIENCE)
        finally:
            running.kill()
            os.close(reading)
    assert running.returncode == 1
    assert "the smoke test failed with status 1" in (sandbox.root / "said").read_text()
    assert 'failures="20"' in (sandbox.root / "smoke.xml").read_text()


def test_a_command_that_does_not_stop_is_killed_when_a_dyno_crashes(sandbox: Sandbox) -> None:
    """After the grace that dynos have: a job does not hang until CI's own limit."""
    sandbox.write("Procfile", "worker: until test -e go; do sleep 0.01; done; exit 3\n")
    command = ["--for", "0s", "--", "sh", "-c", STUBBORN.replace("wait;", "touch go; wait;", 1)]
    running = sandbox.procman("smoke", *command, env={"PROCMAN_STOP_TIMEOUT": "100ms"})
    assert running.finish() == 1
    assert "FAIL worker.1  crashed" in running.text
    assert "FAIL the command ended with status 137" in running.text
    assert not running.survivors()


def test_a_second_ctrl_c_kills_a_command_that_does_not_stop(sandbox: Sandbox) -> None:
    """At once, as it does with dynos."""
    running = smoke(
        sandbox, "hello", "--for", "0s", "--", "sh", "-c", STUBBORN, PROCMAN_STOP_TIMEOUT="600s"
    )
    running.until("running\n")
    running.send(signal.SIGINT)
    running.until("SIGINT received")
    running.send(signal.SIGINT)
    assert running.finish() == 1
    assert "FAIL stopped by a signal" in running.text
    assert not running.survivors()


def test_a_wrong_call_is_2(sandbox: Sandbox) -> None:
    """Nothing is started for it."""
    for option, value in (
        ("--path", "health"),
        ("--expect", "ok"),
        ("--timeout", "soon"),
        ("--timeout", "0"),
        ("--port", "70000"),
        ("-c", "wbe=2"),
        ("--junit", ""),
        ("--", ""),
    ):
        wrong = smoke(sandbox, "hello", option, value)
        assert wrong.finish() == 2, wrong.text
        assert wrong.text.startswith("procman: ")
        assert "started" not in wrong.text


def test_it_runs_beside_the_app_and_leaves_no_trace(sandbox: Sandbox) -> None:
    """The app may run meanwhile, and another smoke test: own ports, no lock, no history."""
    first = smoke(sandbox, "hello", "--for", "100ms", "--path", "/")
    second = sandbox.procman("smoke", "--for", "100ms", "--path", "/", env=dict(first.environ))
    assert (first.finish(), second.finish()) == (0, 0)
    assert not (sandbox.root / ".procman").exists()
    app = sandbox.procman("start", "-p", "auto", env=dict(first.environ))
    app.until("web is at")
    third = sandbox.procman("smoke", "--for", "100ms", "--path", "/", env=dict(first.environ))
    assert third.finish() == 0
    assert sandbox.procman("wait", "--timeout", "30s").finish() == 0
    app.send(signal.SIGTERM)
    assert app.finish() == 143
    assert "restarting" not in app.text


@pytest.fixture
def tmp_runtime() -> Iterator[Path]:
    """A runtime directory with a path so short that sockets can be in it."""
    with tempfile.TemporaryDirectory(prefix="smoke-", dir="/tmp") as directory:
        yield Path(directory)


def test_what_a_killed_one_has_left_the_next_one_sweeps(
    sandbox: Sandbox, tmp_runtime: Path
) -> None:
    """Its lock and its socket; those of one that runs stay."""
    directory = tmp_runtime / "procman"
    killed = smoke(sandbox, "hello", "--for", "60s", XDG_RUNTIME_DIR=str(tmp_runtime))
    other = sandbox.procman("smoke", "--for", "60s", env=dict(killed.environ))
    for running in (killed, other):
        running.until("hello is up")
    killed.send(signal.SIGKILL)
    killed.process.wait(60)
    assert len(list(directory.iterdir())) == 4
    again = sandbox.procman("smoke", "--for", "0s", env=dict(killed.environ))
    assert again.finish() == 0
    assert {path.suffixes[0] for path in directory.iterdir()} == {f".{other.process.pid}"}
    other.send(signal.SIGINT)
    assert other.finish() == 1
    assert "stopped by a signal" in other.text
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_ci_kills_it(sandbox: Sandbox, number: int) -> None:
    """A cancelled job: the dynos and the command are gone as well."""
    command = ["--for", "0s", "--", "sh", "-c", "echo running; sleep 60"]
    running = smoke(sandbox, "hello", *command)
    running.until("running")
    running.send(number)
    running.process.wait(60)
    running.wait_for_survivors_to_end()
    if number != signal.SIGKILL:
        assert running.process.returncode == 1
        assert "FAIL stopped by a signal" in running.until("smoke test failed")
