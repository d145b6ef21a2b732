"""Each example works without procman: its Procfile's commands, run by a plain shell."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
LISTENING = re.compile(r"http://127\.0\.0\.1:(\d+)")


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip where what an example installs is not there."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


class Running:
    """One process type of an example, with its output read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Read output up to a line that has the pattern; AssertionError when it ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"{pattern} was never said in:\n{''.join(self.lines)}")

    def url(self) -> str:
        """Where it listens, once it says so."""
        return self.until(LISTENING)[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and give the exit status; what is said meanwhile is kept."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit status, after the rest of the output."""
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)
        return self.process.wait(timeout=30)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process type of an example; all of its group is gone after the test."""
    with ExitStack() as stack:

        def run(example: str, process_type: str, **environment: str) -> Running:
            lines = (EXAMPLES / example / "Procfile").read_text().splitlines()
            commands = dict(line.split(": ", 1) for line in lines)
            process = subprocess.Popen(
                f"exec {commands[process_type]}",
                shell=True,
                cwd=EXAMPLES / example,
                env={
                    **os.environ,
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PORT": "0",  # the system's choice, so that no two runs ever meet
                    "QUEUE_DB": str(tmp_path / "queue.db"),
                    "NOTES_DB": str(tmp_path / "notes.db"),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            stack.callback(end, process)
            return Running(process)

        yield run


def end(process: subprocess.Popen[str]) -> None:
    """Kill what is left of the group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()


def get(url: str, data: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of one request."""
    try:
        with urllib.request.urlopen(url, data, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_hello_answers_and_stops(start: Start) -> None:
    """The answer names the dyno; SIGTERM is a clean exit."""
    web = start("hello", "web", DYNO="web.1")

    status, body = get(web.url())

    assert (status, body.decode()) == (200, f"Hello from web.1, process {web.process.pid}\n")
    assert web.stop() == 0


@needs("huey")
def test_an_order_is_answered_at_once_and_painted_by_the_worker(start: Start) -> None:
    """The web and worker division: 202 without a worker, a picture with one."""
    web = start("queue", "web", DYNO="web.1")
    url = web.url()

    status, body = get(f"{url}/orders", b'{"words": "hello", "width": 16}')
    order = json.loads(body)
    assert (status, order["state"]) == (202, "waiting")
    assert get(f"{url}/orders/1/picture.png")[0] == 404
    assert json.loads(get(f"{url}/health")[1]) == {"ok": True, "dyno": "web.1", "waiting": 1}

    worker = start("queue", "worker", DYNO="worker.1")
    worker.until("order 1: done")

    found = json.loads(get(f"{url}/orders/{order['id']}")[1])
    assert (found["state"], found["painter"], found["percent"]) == ("done", "worker.1", 100)
    assert get(f"{url}/orders/1/picture.png")[1].startswith(b"\x89PNG\r\n\x1a\n")
    assert json.loads(get(f"{url}/orders")[1])["orders"] == [found]
    assert b"Order a picture" in get(url)[1]
    assert worker.stop() == 0
    assert web.stop() == 0


@needs("huey")
def test_an_order_survives_the_death_of_its_worker(start: Start) -> None:
    """SIGKILL in the middle of a picture: the dyno's next boot paints it."""
    web = start("queue", "web")
    url = web.url()
    get(f"{url}/orders", b'{"words": "slow", "width": 960}')
    killed = start("queue", "worker", DYNO="worker.1")
    killed.until("order 1: painting")
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL

    stopped = start("queue", "worker", DYNO="worker.1")
    stopped.until("after a crash: 1$")
    stopped.until("order 1: painting")
    assert stopped.stop() == 0
    assert stopped.lines[-1] == "worker stops; put back into the queue: 1\n"

    assert json.loads(get(f"{url}/orders/1")[1])["state"] == "waiting"


@needs("huey")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b'{"words": ""}', 400),
        (b'{"words": "a", "width": 100000}', 400),
        (b'{"words": "a", "width": "wide"}', 400),
        (b'{"words": "\xff"}', 400),
        (b"x" * 10_001, 413),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(start: Start, body: bytes, status: int) -> None:
    """With a sentence, and the web goes on."""
    web = start("queue", "web")
    url = web.url()

    answer = get(f"{url}/orders", body)

    assert answer[0] == status
    assert "send" in json.loads(answer[1])["error"]
    assert get(f"{url}/health")[0] == 200


@needs("huey")
def test_connections_are_kept_open_and_do_not_delay_a_stop(start: Start) -> None:
    """A router keeps connections to its dynos: SIGTERM must not wait for them."""
    web = start("queue", "web")
    host = urllib.parse.urlsplit(web.url()).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, "/health")
            answer = connection.getresponse()
            assert answer.status == 200
            assert bool(answer.read()) is (method == "GET")

        assert web.stop() == 0
    finally:
        connection.close()


@needs("flask", "gunicorn")
def test_flask_asks_for_its_release_phase_and_serves_after_it(start: Start) -> None:
    """503 and what to do before the migrations; notes after them, which may be run twice."""
    web = start("flask", "web")
    url = web.url()
    status, body = get(url)
    assert (status, b"procman run release" in body) == (503, True)

    assert start("flask", "release").wait() == 0
    again = start("flask", "release")
    assert again.wait() == 0
    assert again.lines == ["the database is at migration 2\n"]

    status, body = get(url, b"text=buy+%3Cmilk%3E")
    assert status == 200
    assert b"buy &lt;milk&gt;" in body
    assert json.loads(get(f"{url}/health")[1]) == {"ok": True}
    assert web.stop() == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_node_serves_and_ends_its_streams_on_a_stop(start: Start) -> None:
    """A stream gives its first event at once, and SIGTERM ends it properly."""
    web = start("node", "web")
    url = web.url()

    assert json.loads(get(f"{url}/health")[1]) == {"ok": True}
    assert b"EventSource" in get(url)[1]
    assert get(f"{url}/nothing")[0] == 404
    with urllib.request.urlopen(f"{url}/events", timeout=30) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert re.fullmatch(rb"data: \d\d:\d\d:\d\d\n", stream.readline())
        assert web.stop() == 0
        stream.read()  # to the end: a torn stream raises IncompleteRead


@needs("websockets")
def test_everybody_in_the_chat_room_hears_what_is_said(start: Start) -> None:
    """Two in the room; one speaks, both hear, and both are told when the room closes."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    web = start("websocket", "web")
    url = web.url()
    assert b"<title>Chat</title>" in get(url)[1]
    assert get(f"{url}/health") == (200, b"true")
    assert get(f"{url}/nothing")[0] == 404

    chat = url.replace("http", "ws") + "/chat"
    with connect(chat) as one:
        assert json.loads(one.recv(timeout=30)) == {"here": 1}
        with connect(chat) as two:
            assert json.loads(one.recv(timeout=30)) == {"here": 2}
            assert json.loads(two.recv(timeout=30)) == {"here": 2}
            two.send("hello")
            for client in (one, two):
                assert json.loads(client.recv(timeout=30)) == {"said": "hello", "here": 2}
        assert json.loads(one.recv(timeout=30)) == {"here": 1}
        web.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed, match="1001"):
            one.recv(timeout=30)
    assert web.wait() == 0


def test_crashy_serves_until_it_is_asked_to_crash(start: Start) -> None:
    web = start("crashy", "web")
    url = web.url()
    assert b"Still up" in get(url)[1]

    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        get(f"{url}/crash")

    assert web.wait() == 1
    assert web.lines[-1] == "web: crashing, as asked for\n"


@pytest.mark.parametrize(
    ("mode", "status"), [("crash", 3), ("fatal", 1), ("finish", 0), ("nonsense", 1)]
)
def test_a_crashy_web_ends_in_the_way_it_is_told_to(start: Start, mode: str, status: int) -> None:
    web = start("crashy", "web", CRASHY_WEB=mode, CRASHY_AFTER="0.05")

    assert web.wait() == status


@pytest.mark.parametrize("mode", ["ok", "error", "hang", "late", "unbound"])
def test_a_crashy_web_that_stays_up_can_be_stopped(start: Start, mode: str) -> None:
    web = start("crashy", "web", CRASHY_WEB=mode, CRASHY_AFTER="0.05")
    web.until("web: ")
    if mode != "unbound":
        url = web.url()
    if mode == "error":
        assert get(url)[0] == 500

    assert web.stop() == 0


@pytest.mark.parametrize(
    ("mode", "status"),
    [("exit", 3), ("raise", 1), ("fatal", 1), ("segv", -signal.SIGSEGV), ("finish", 0)],
)
def test_a_crashy_worker_ends_in_the_way_it_is_told_to(
    start: Start, mode: str, status: int
) -> None:
    worker = start("crashy", "worker", CRASHY_WORKER=mode, CRASHY_AFTER="0.05")

    assert worker.wait() == status


def test_a_stubborn_worker_ignores_sigterm(start: Start) -> None:
    """What procman's grace is for. Delivered in order: SIGTERM first, then what kills."""
    worker = start("crashy", "worker", CRASHY_WORKER="stubborn")
    worker.until("ignores SIGTERM")
    worker.process.send_signal(signal.SIGTERM)

    assert worker.stop(signal.SIGINT) == -signal.SIGINT


def test_every_example_says_what_it_is() -> None:
    """A Procfile and a README in each directory."""
    for directory in EXAMPLES.iterdir():
        if directory.is_dir():
            assert (directory / "Procfile").exists(), directory
            assert (directory / "README.md").read_text().startswith(f"# {directory.name}: ")
