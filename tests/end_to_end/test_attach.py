"""`procman attach` on real terminals: a debugger is answered, and the app goes on."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.end_to_end.conftest import PATIENCE, Running, Sandbox
from tests.end_to_end.terminal import OpenTerminal, Terminal, open_terminal
from tests.end_to_end.test_stress import converse_to_the_end, require_same_resources, resources
from tests.end_to_end.web import free_port

DETACH = "\x10\x11"

WEB = """\
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = 41
        if self.path == "/debug":
            breakpoint()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(answer).encode())

    def log_message(self, *arguments):
        pass

print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

# Says what it is told, how large its window is, and which signals come.
TALK = """\
import os, signal, sys

def resized(*_):
    print("window", *os.get_terminal_size(0), flush=True)

signal.signal(signal.SIGWINCH, resized)
is_new = True
while True:
    try:
        if is_new:  # in here: whoever reads it may press Ctrl-C at once
            is_new = False
            print("ready", flush=True)
        word = sys.stdin.readline()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        continue
    if not word:
        print("end of input", flush=True)
        sys.exit(7)
    if word == "window\\n":
        resized()
    elif word == "die\\n":
        sys.exit(3)
    else:
        print("heard", word.strip(), flush=True)
"""


@pytest.fixture
def terminal(sandbox: Sandbox) -> Iterator[OpenTerminal]:
    """Opens terminals in which procman runs; they are closed afterwards."""
    opened: list[Terminal] = []

    def open_one(*arguments: str, window: tuple[int, int] = (24, 100)) -> Terminal:
        opened.append(open_terminal(sandbox, *arguments, window=window))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def start_talker(sandbox: Sandbox, *arguments: str) -> Running:
    """An app whose only dyno talks."""
    sandbox.write("talk.py", TALK)
    running = sandbox.start("talk: exec python3 talk.py\n", "--pty", *arguments)
    running.until("ready")
    return running


def fetch(url: str) -> bytes:
    """The body of an answer."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        body: bytes = answer.read()
    return body


def test_a_debugger_in_a_web_dyno_is_answered_and_the_app_goes_on(
    sandbox: Sandbox, terminal: OpenTerminal
) -> None:
    """The request that stopped at a breakpoint gets its answer, changed by what was typed."""
    sandbox.write("web.py", WEB)
    port = free_port()
    running = sandbox.start("web: exec python3 web.py\n", "--pty", "-p", str(port))
    running.until("listening")
    screen = terminal("attach", "web.1")
    screen.until("Ctrl-P Ctrl-Q leaves it running")
    with ThreadPoolExecutor() as pool:
        request = pool.submit(fetch, f"http://127.0.0.1:{port}/debug")
        screen.until("(Pdb)")
        screen.type("answer += 1\r")
        screen.until("(Pdb)", 2)
        screen.type("c\r")
        assert request.result(PATIENCE) == b"42"
        screen.type(DETACH)
        assert screen.finish() == 0
        assert fetch(f"http://127.0.0.1:{port}/") == b"41"
    running.until("(Pdb)")  # the log shows it as well


def test_a_prompt_that_waited_before_is_shown_on_entry(
    sandbox: Sandbox, terminal: OpenTerminal
) -> None:
    """What the dyno wrote last is shown again: else nobody knows what is asked."""
    start_talker(sandbox)
    assert "ready" in terminal("attach", "talk.1").until("ready")


def test_the_detach_keys_leave_the_dyno_running_and_the_terminal_as_it_was(
    sandbox: Sandbox, terminal: OpenTerminal
) -> None:
    """Also typed one by one; a Ctrl-P alone belongs to the dyno."""
    running = start_talker(sandbox)
    screen = terminal("attach", "talk")
    before = screen.settings
    screen.until("ready")
    assert screen.settings != before
    screen.type("\x10one\r")
    screen.until("heard")
    screen.type("\x10")
    screen.type("\x11")
    assert screen.finish() == 0
    assert "detached, talk.1 runs on" in screen.text
    assert screen.settings == before
    assert "talk.1 crashed" not in running.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(
    sandbox: Sandbox, terminal: OpenTerminal, number: signal.Signals
) -> None:
    """SIGTERM and SIGHUP end it, not the dyno, with a shell's status."""
    start_talker(sandbox)
    screen = terminal("attach", "talk.1")
    before = screen.settings
    screen.until("ready")
    screen.process.send_signal(number)
    assert screen.finish() == 128 + number
    assert screen.settings == before


def test_ctrl_c_reaches_the_dyno(sandbox: Sandbox, terminal: OpenTerminal) -> None:
    """As SIGINT, by the dyno's own terminal."""
    start_talker(sandbox)
    screen = terminal("attach", "talk.1")
    screen.until("ready")
    screen.type("\x03")
    screen.until("interrupted")
    screen.type("still there\r")
    screen.until("heard still there")


def test_ctrl_c_reaches_what_a_shell_leads(sandbox: Sandbox, terminal: OpenTerminal) -> None:
    """Its terminal controls nobody, so it is we who signal."""
    command = "cd . && echo ready && sleep 60"
    sandbox.start(f"a: {command}\n", "--pty", "--restart", "never").until("ready")
    screen = terminal("attach", "a.1")
    screen.until("ready")
    screen.type("\x03")
    assert screen.finish() == 130
    assert "a.1 ended, killed by SIGINT" in screen.text


def test_the_window_size_follows(sandbox: Sandbox, terminal: OpenTerminal) -> None:
    """At entry, at each change, and back to what it was when the terminal leaves."""
    running = start_talker(sandbox)
    screen = terminal("attach", "talk.1", window=(30, 90))
    screen.until("window 90 30")
    screen.resize(40, 120)
    screen.until("window 120 40")
    running.until("window 120 40")  # shown in both terminals, in no order
    screen.type(DETACH)
    assert screen.finish() == 0
    first = running.text.count("window")
    running.until("window", first + 1)
    assert running.lines("talk.1")[-1] not in ("window 90 30", "window 120 40")


def test_the_window_is_that_of_a_terminal_that_stays(
    sandbox: Sandbox, terminal: OpenTerminal
) -> None:
    """Who leaves, or is killed, takes the window along; the last one gives it back."""
    running = start_talker(sandbox)
    one = terminal("attach", "talk.1", window=(30, 90))
    one.until("window 90 30")
    two = terminal("attach", "talk.1", window=(40, 120))
    two.until("window 120 40")
    one.resize(31, 91)
    two.until("window 91 31")
    one.type(DETACH)
    assert one.finish() == 0
    two.until("window 120 40", 2)
    running.until("window 120 40", 2)
    first = running.text.count("window")
    two.process.kill()
    running.until("window", first + 1)
    assert running.lines("talk.1")[-1] not in ("window 91 31", "window 120 40")


def test_it_goes_on_with_the_next_boot(sandbox: Sandbox, terminal: OpenTerminal) -> None:
    """A crash and a restart are told; what is typed then reaches the new boot."""
    start_talker(sandbox)
    screen = terminal("attach", "talk.1")
    screen.until("ready")
    screen.type("die\r")
    screen.until("talk.1 ended, status 3; waiting for its next boot")
    screen.until("ready", 2)
    screen.type("again\r")
    screen.until("heard again")
    assert sandbox.procman("restart", "talk.1").finish() == 0
    screen.until("talk.1 ended, killed by SIGTERM; waiting")
    screen.until("ready", 3)
    screen.type("anew\r")
    screen.until("heard anew")


def test_a_dyno_that_rests_ends_it_with_its_status(
    sandbox: Sandbox, terminal: OpenTerminal
) -> None:
    """As a shell would say it: 143 for one that was stopped."""
    start_talker(sandbox)
    screen = terminal("attach", "talk.1")
    before = screen.settings
    screen.until("ready")
    assert sandbox.procman("stop", "talk.1").finish() == 0
    assert screen.finish() == 143
    assert "talk.1 ended, killed by SIGTERM" in screen.text
    assert screen.settings == before


def test_a_dyno_that_gives_up_ends_it(sandbox: Sandbox, terminal: OpenTerminal) -> None:
    """No next boot: its status is ours."""
    start_talker(sandbox, "--restart", "never")
    screen = terminal("attach", "talk.1")
    screen.until("ready")
    screen.type("die\r")
    assert screen.finish() == 3


def test_input_from_a_pipe_is_typed_and_its_end_is_ctrl_d(sandbox: Sandbox) -> None:
    """Scripts can answer; the last line needs no newline."""
    start_talker(sandbox, "--restart", "never")
    attached = sandbox.procman("attach", "talk.1", stdin=b"one\ntwo")
    assert attached.finish() == 7
    assert "heard one\n" in attached.text
    assert "heard two\n" in attached.text
    assert "Ctrl-P" not in attached.text


def test_much_input_waits_for_the_dyno_to_read_it(sandbox: Sandbox) -> None:
    """More than a terminal holds (4 KiB), and nothing is lost."""
    sandbox.write("talk.py", TALK)
    silent = "talk: stty -echo; exec python3 talk.py\n"
    sandbox.start(silent, "--pty", "--restart", "never").until("ready")
    lines = [f"line {number}" for number in range(3000)]
    attached = sandbox.procman("attach", "talk.1", stdin="\n".join(lines).encode() + b"\n")
    assert attached.finish() == 7
    heard = [line.removeprefix("heard ") for line in attached.text.splitlines()
             if line.startswith("heard ")]  # fmt: skip
    assert heard == lines


def test_two_terminals_see_the_same_dyno(sandbox: Sandbox, terminal: OpenTerminal) -> None:
    """Both may type; one that leaves leaves the other."""
    start_talker(sandbox)
    one, two = terminal("attach", "talk.1"), terminal("attach", "talk.1")
    one.until("ready")
    two.until("ready")
    one.type("from one\r")
    two.until("heard from one")
    one.type(DETACH)
    assert one.finish() == 0
    two.type("from two\r")
    two.until("heard from two")


def test_a_terminal_that_does_not_read_slows_nobody_and_is_told(sandbox: Sandbox) -> None:
    """A stopped client loses bytes; the app's own output goes on, and it hears how many it lost."""
    sandbox.write("talk.py", TALK)
    sandbox.write(
        "flood.sh", 'echo ready; read line; seq 1 800000; echo "all out"; exec sleep 60\n'
    )
    running = sandbox.start("talk: exec sh flood.sh\n", "--pty", "-q", "talk")
    running.until("started with pid")
    attached = sandbox.procman("attach", "talk.1", stdin=b"go\n")
    attached.until("1\n2\n3\n")
    log = sandbox.procman("logs", "-f", "-n", "5", "--grep", "all out")
    log.until("all out")  # though nobody reads what `attached` prints, its pipe being full
    attached.until("bytes were missed")
    attached.until("all out")


@pytest.mark.parametrize("dyno", ["talk.2", "worker", "nonsense*"])
def test_a_dyno_that_there_is_not_is_an_error(sandbox: Sandbox, dyno: str) -> None:
    """With the names that there are."""
    start_talker(sandbox)
    attached = sandbox.procman("attach", dyno)
    assert attached.finish() == 1
    assert "procman: " in attached.text
    assert "Traceback" not in attached.text


def test_several_dynos_cannot_be_attached_to_at_once(sandbox: Sandbox) -> None:
    """The hint names them."""
    start_talker(sandbox)
    sandbox.procman("scale", "talk=2").finish()
    attached = sandbox.procman("attach", "talk")
    assert attached.finish() == 1
    assert "choose one of talk.1, talk.2" in attached.text


def test_a_dyno_without_a_terminal_cannot_be_attached_to(sandbox: Sandbox) -> None:
    """The hint says how it gets one."""
    sandbox.start("talk: echo ready; exec sleep 60\n", "--no-pty").until("| ready")
    attached = sandbox.procman("attach", "talk.1")
    assert attached.finish() == 1
    assert "talk.1 has no terminal to attach to" in attached.text
    assert "start --pty" in attached.text


def test_a_dyno_that_is_down_cannot_be_attached_to(sandbox: Sandbox) -> None:
    """It says why it is down."""
    start_talker(sandbox)
    assert sandbox.procman("stop", "talk.1", "--wait").finish() == 0
    attached = sandbox.procman("attach", "talk.1")
    assert attached.finish() == 1
    assert "talk.1 is not running: stopped" in attached.text


def test_attached_terminals_leave_no_descriptor_behind(
    sandbox: Sandbox, terminal: OpenTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """procman has as many open as before."""
    running = start_talker(sandbox)
    monkeypatch.setenv("XDG_RUNTIME_DIR", running.environ["XDG_RUNTIME_DIR"])  # we ask it ourselves
    root, pid = str(sandbox.root), running.process.pid
    assert sandbox.procman("ps").finish() == 0  # it has opened all that it needs itself
    converse_to_the_end(root)
    before = resources(pid)
    for _ in range(3):
        screen = terminal("attach", "talk.1")
        screen.until("ready")
        screen.type(DETACH)
        assert screen.finish() == 0
    require_same_resources(root, pid, before)


def test_the_end_of_the_app_ends_it(sandbox: Sandbox, terminal: OpenTerminal) -> None:
    """The terminal is as it was, and says what happened."""
    running = start_talker(sandbox)
    screen = terminal("attach", "talk.1")
    before = screen.settings
    screen.until("ready")
    running.send(signal.SIGKILL)
    screen.until("procman: ")
    screen.finish()
    assert screen.settings == before


def test_a_suspended_dyno_can_be_attached_to_and_says_so(
    sandbox: Sandbox, terminal: OpenTerminal
) -> None:
    """What is typed waits until a request has woken it."""
    sandbox.write("web.py", WEB)
    port = free_port()
    running = sandbox.start("web: exec python3 web.py\n", "--pty", "-p", str(port))
    running.until("listening")
    assert sandbox.procman("wait").finish() == 0
    assert sandbox.procman("idle").finish() == 0
    screen = terminal("attach", "web.1")
    screen.until("web.1 is suspended, a request wakes it")
    with ThreadPoolExecutor() as pool:
        request = pool.submit(fetch, f"http://127.0.0.1:{port}/debug")
        screen.until("(Pdb)")
        screen.type("c\r")
        assert request.result(PATIENCE) == b"41"
