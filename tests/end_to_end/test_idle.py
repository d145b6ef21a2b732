"""Web dynos that sleep and are woken, in all three data paths, with real servers and clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from datetime import datetime
from typing import Protocol

import httpx
import pytest
from websockets.sync.client import connect

from tests.end_to_end.conftest import PATIENCE, Sandbox
from tests.end_to_end.web import (
    GUNICORN,
    PYTHON,
    SERVERS,
    Site,
    free_port,
    read_all,
    require,
    start_site,
)

# A dyno that tells when so many seconds are over: longer than gunicorn's timeout.
CLOCK = (
    f"clock: {PYTHON} -c 'import time; time.sleep(4); print(\"time is over\"); time.sleep(1000)'\n"
)


class Start(Protocol):
    """One of the three data paths."""

    def __call__(
        self, sandbox: Sandbox, command: str = ..., *arguments: str, more: str = ...
    ) -> Site: ...


def routed(sandbox: Sandbox, command: str = GUNICORN, *arguments: str, more: str = "") -> Site:
    """Behind the router."""
    return start_site(sandbox, command, *arguments, more=more)


def direct(sandbox: Sandbox, command: str = GUNICORN, *arguments: str, more: str = "") -> Site:
    """On the app's port itself."""
    return start_site(sandbox, command, "--no-router", *arguments, more=more)


def shared(sandbox: Sandbox, command: str = GUNICORN, *arguments: str, more: str = "") -> Site:
    """On a socket that procman holds."""
    sandbox.write("procman.toml", "[types.web]\nsocket = true\n")
    return start_site(sandbox, command, *arguments, more=more)


WAYS: list[Start] = [routed, direct, shared]
GUNICORN_SYNC = SERVERS["gunicorn sync"]


def let_time_pass(site: Site) -> None:
    """Longer than gunicorn's timeout."""
    count = site.app.text.count("time is over")
    site.done("restart", "clock")
    site.app.until("time is over", count + 1)


# --- every server ---


@pytest.mark.parametrize("way", [routed, direct], ids=["routed", "direct"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_slept_serves_as_before(sandbox: Sandbox, server: str, way: Start) -> None:
    """The same process, three times over."""
    require(server)
    site = way(sandbox, SERVERS[server])
    before = site.get()
    assert before[0] == 200
    for sleeps in range(1, 4):
        site.sleep()
        assert site.state() == "suspended"
        assert site.get() == before
        assert site.state() == "up"
        assert site.app.until("Unidling", sleeps).count("Unidling") == sleeps
    assert site.row()["boot"] == 1
    site.stop()


@pytest.mark.parametrize("way", WAYS, ids=["routed", "direct", "shared"])
@pytest.mark.parametrize("server", ["gunicorn sync", "gunicorn gthread"])
def test_gunicorn_loses_no_worker_however_long_it_sleeps(
    sandbox: Sandbox, server: str, way: Start
) -> None:
    """Its arbiter kills workers that were silent for three seconds, had it seen them. Not for two:
    one that is awake and idle makes itself heard every second (gthread) or half as often as it must
    (sync), later on a busy machine, and may be killed.
    """
    require(server)
    sandbox.write(".env", "GUNICORN_CMD_ARGS=-t 3\n")
    site = way(sandbox, SERVERS[server], more=CLOCK)
    before = site.get()
    for _ in range(3):  # who is first to run again, the arbiter or its worker, is a matter of luck
        site.sleep()
        let_time_pass(site)
        assert site.get() == before
    site.done("signal", "WINCH", "web")  # the arbiter has looked at its workers, and says so
    site.app.until("Handling signal: winch")
    assert site.get() == before
    for word in ("WORKER TIMEOUT", "was sent SIG", "Worker exiting"):
        assert word not in site.app.text
    site.stop()


@pytest.mark.parametrize("server", ["gunicorn sync", "gunicorn gthread"])
def test_a_signal_to_gunicorn_asleep_loses_no_worker(sandbox: Sandbox, server: str) -> None:
    """As a rotation of logs sends it, to whatever runs."""
    require(server)
    sandbox.write(".env", "GUNICORN_CMD_ARGS=-t 3\n")
    site = routed(sandbox, SERVERS[server], more=CLOCK)
    before = site.get()
    site.sleep()
    let_time_pass(site)
    site.done("signal", "USR1", "web")
    site.app.until("Handling signal: usr1")
    assert site.get() == before
    assert "WORKER TIMEOUT" not in site.app.text
    site.stop()


# --- what keeps it awake ---


@pytest.mark.parametrize("way", WAYS, ids=["routed", "direct", "shared"])
@pytest.mark.parametrize("path", ["/hold", "/drip"])
def test_a_request_in_flight_and_a_running_download_keep_it_awake(
    sandbox: Sandbox, way: Start, path: str
) -> None:
    """Not by hand and not by the clock, which strikes many times before the request is let go."""
    require("gunicorn")
    site = way(sandbox, GUNICORN, "--idle-timeout", "50ms")
    with site.connected(f"GET {path} HTTP/1.0\r\n\r\n".encode()) as client:
        site.app.until("held")
        slept = site.app.text.count("Idling")
        status, text = site.call("idle")
        assert status == 1
        assert "may not sleep now" in text
        assert [site.state() for _ in range(3)] == ["up"] * 3
        assert site.done("logs", "-n", "1000").count("Idling") == slept
        site.open_gate()
        assert b"web.1" in read_all(client) or path == "/drip"
    site.app.until("Idling", slept + 1)
    site.stop()


@pytest.mark.parametrize("way", [routed, direct], ids=["routed", "direct"])
def test_an_open_websocket_keeps_it_awake(sandbox: Sandbox, way: Start) -> None:
    """However silent it is; once it is closed, the dyno may sleep."""
    require("uvicorn")
    site = way(sandbox, SERVERS["uvicorn"], "--idle-timeout", "50ms")
    with connect(f"ws://127.0.0.1:{site.port}/", proxy=None, open_timeout=PATIENCE) as client:
        slept = site.app.text.count("Idling")
        for text in ("one", "two", "three"):
            assert site.call("idle")[0] == 1
            assert site.state() == "up"
            client.send(text)
            assert client.recv(timeout=PATIENCE) == text
    site.app.until("Idling", slept + 1)
    site.stop()


# --- falling asleep and waking ---


@pytest.mark.parametrize("way", WAYS, ids=["routed", "direct", "shared"])
def test_a_request_at_any_moment_of_falling_asleep_is_served(sandbox: Sandbox, way: Start) -> None:
    """The dyno falls asleep some 10 ms after an answer; requests come at every tenth of one until
    20 ms after it. The pauses are the load, and nothing is waited for by them.
    """
    require("gunicorn")
    site = way(sandbox, GUNICORN, "--idle-timeout", "10ms")
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        for tenths in range(200):
            answer = client.get(f"http://127.0.0.1:{site.port}/", headers={"Connection": "close"})
            assert answer.status_code == 200, tenths
            time.sleep(tenths / 10_000)
    assert site.app.until("Unidling").count("Unidling") > 0
    assert site.row()["boot"] == 1
    site.stop()


@pytest.mark.parametrize("way", WAYS, ids=["routed", "direct", "shared"])
def test_two_hundred_requests_at_once_cause_one_wake_and_are_all_answered(
    sandbox: Sandbox, way: Start
) -> None:
    """Nobody is told that it was asleep."""
    require("gunicorn")
    site = way(sandbox, GUNICORN)
    site.sleep()
    answers = asyncio.run(ask_at_once(site.port, 200))
    assert [status for status in answers if status != 200] == []
    assert site.app.until("Unidling").count("Unidling") == 1
    assert site.done("ps").count("up") == 1
    assert site.app.text.count("State changed from suspended to up") == 1
    site.stop()


async def ask_at_once(port: int, count: int) -> list[int]:
    """Each on a connection of its own."""
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(timeout=PATIENCE, limits=limits, trust_env=False) as client:
        asked = [client.get(f"http://127.0.0.1:{port}/") for _ in range(count)]
        return [answer.status_code for answer in await asyncio.gather(*asked)]


@pytest.mark.parametrize("way", [routed, shared], ids=["routed", "shared"])
def test_a_dyno_that_was_stopped_to_sleep_is_booted_by_a_request(
    sandbox: Sandbox, way: Start
) -> None:
    """As on Heroku, and the request waits for the boot."""
    require("gunicorn")
    site = way(sandbox, GUNICORN, "--idle", "stop")
    assert site.get()[0] == 200
    site.sleep()
    assert site.state() == "idle"
    assert site.row()["pid"] is None
    assert asyncio.run(ask_at_once(site.port, 20)) == [200] * 20
    assert site.row()["boot"] == 2
    text = site.app.until("State changed from idle to starting")
    said = ("Idling", "State changed from stopping to idle", "Unidling", "idle to starting")
    assert [text.count(words) for words in said] == [1] * 4
    assert sorted(text.index(words) for words in said) == [text.index(words) for words in said]
    site.stop()


def test_a_suspended_dyno_is_stopped_after_a_while(sandbox: Sandbox) -> None:
    """--idle-stop-after; the next request boots it."""
    require("gunicorn")
    site = routed(sandbox, GUNICORN, "--idle-timeout", "50ms", "--idle-stop-after", "50ms")
    site.app.until("State changed from stopping to idle")
    assert site.get()[0] == 200
    assert site.app.until("Unidling").index("to suspended") < site.app.text.index("to idle")
    site.stop()


def test_an_awake_dyno_is_left_alone_and_a_wake_by_hand_is_one(sandbox: Sandbox) -> None:
    """`wake` of what is up changes nothing; --idle off refuses to sleep; so do workers and two."""
    require("gunicorn")
    site = routed(sandbox, GUNICORN, more="worker: exec sleep 1000\n")
    assert site.done("wake") == "Unidling web.1... done\n"
    site.sleep()
    site.done("wake", "web.1", "--wait")
    assert site.state() == "up"
    refusals = [("idle", "worker"), ("idle", "web.1")]
    assert "only web dynos sleep" in site.call(*refusals[0])[1]
    site.done("scale", "web=2", "--wait")
    assert "web is scaled to 2" in site.call(*refusals[1])[1]
    site.stop()
    off = start_site(sandbox, GUNICORN, "--idle", "off")
    assert "--idle off" in off.call("idle")[1]
    off.stop()


def test_a_second_dyno_wakes_the_first(sandbox: Sandbox) -> None:
    """Only a lone web dyno sleeps."""
    require("gunicorn")
    site = routed(sandbox)
    site.sleep()
    site.done("scale", "web=2", "--wait")
    assert site.state() == "up"
    site.stop()


# --- the end of a sleeping dyno ---


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_port_of_a_dyno_that_was_stopped_in_its_sleep_is_free(sandbox: Sandbox) -> None:
    """The copy of its socket does not outlive its sleep: clients are refused, and do not hang."""
    require("gunicorn")
    site = direct(sandbox)
    site.sleep()
    site.done("stop", "web", "--wait")
    assert not listens(site.port)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", site.port))
    site.stop()


@pytest.mark.parametrize("way", WAYS, ids=["routed", "direct", "shared"])
def test_a_dyno_that_is_killed_in_its_sleep_is_there_for_the_next_request(
    sandbox: Sandbox, way: Start
) -> None:
    """Booted again, at once where nobody would wake it, else by the request."""
    require("gunicorn")
    site = way(sandbox)
    site.sleep()
    pid = site.row()["pid"]
    assert isinstance(pid, int)
    os.killpg(pid, signal.SIGKILL)
    site.app.until("crashed, killed by SIGKILL")
    if way is direct:
        site.app.until("started with pid", 2)
        site.done("wait", "web")
    assert site.get()[0] == 200
    assert site.row()["boot"] == 2
    site.stop()


def test_the_app_can_be_stopped_while_its_dyno_sleeps(sandbox: Sandbox) -> None:
    """SIGTERM reaches it, for it is thawed."""
    require("gunicorn")
    for way in WAYS:
        site = way(sandbox)
        assert site.get()[0] == 200  # on a shared socket, that alone tells that gunicorn has booted
        site.sleep()
        site.app.send(signal.SIGTERM)
        assert site.app.finish() == 143
        assert "Shutting down: Master" in site.app.text
        assert "killing it" not in site.app.text
        assert not site.app.survivors()
        (sandbox.root / "procman.toml").unlink(missing_ok=True)


# --- without a router ---


def test_visits_between_two_looks_put_the_sleep_off(sandbox: Sandbox) -> None:
    """Without a router nobody counts requests, and the kernel remembers that there were some.

    A dyno that nobody visits for three seconds falls asleep, on a busy machine also while we ask
    without a pause. So it is by the times of the log that it may not have been visited before.
    """
    require("gunicorn")
    site = direct(sandbox, GUNICORN, "--idle-timeout", "3s")
    visits: list[tuple[float, float]] = []
    over = time.monotonic() + 5.0
    while time.monotonic() < over:
        begun = time.time()
        assert site.get()[0] == 200
        visits.append((begun, time.time()))
    site.app.until("State changed from up to suspended")
    lines = map(json.loads, site.done("logs", "--json", "-n", "1000").splitlines())
    slept = [datetime.fromisoformat(line["time"]).timestamp() for line in lines
             if "Idling" in line["line"]]  # fmt: skip
    assert slept
    for at in slept:  # 2.9: its clock, which may be set, is not the one that counts the seconds
        assert not [visit for visit in visits if at - 2.9 < visit[0] and visit[1] < at]
    site.stop()


def test_any_server_sleeps_without_a_router_and_without_its_cooperation(sandbox: Sandbox) -> None:
    """Also one that listens on several sockets, of which any wakes it."""
    sandbox.write(
        "two.py",
        "import os, socket, selectors\n"
        "ports = int(os.environ['PORT']), int(os.environ['OTHER'])\n"
        "servers = [socket.create_server(('127.0.0.1', port)) for port in ports]\n"
        "selector = selectors.DefaultSelector()\n"
        "for server in servers: selector.register(server, selectors.EVENT_READ)\n"
        "while True:\n"
        "    for key, _ in selector.select():\n"
        "        connection, _ = key.fileobj.accept()\n"
        "        connection.recv(65536)\n"
        "        connection.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhere')\n"
        "        connection.close()\n",
    )
    other = free_port()
    site = direct(sandbox, f"OTHER={other} exec {PYTHON} two.py")
    for port in (site.port, other):
        site.sleep()
        assert Site(sandbox, site.app, port).get() == (200, "here")
    site.stop()


def test_stopping_to_sleep_needs_somebody_who_holds_the_port(sandbox: Sandbox) -> None:
    """An error before anything starts, with who asked for it."""
    for option, value in (("--idle", "stop"), ("--idle-stop-after", "1h")):
        running = sandbox.start("web: x\n", "--no-router", option, value)
        assert running.finish() == 2
        assert f"{option}: {value!r} needs the router" in running.text
    (sandbox.root / "procman.toml").write_text('idle = "stop"\n')
    running = sandbox.start("web: x\n", "--no-router")
    assert running.finish() == 1
    assert "procman.toml: idle: 'stop' needs the router" in running.text


# --- a shared socket ---


def test_no_time_at_all_to_fall_asleep_is_refused(sandbox: Sandbox) -> None:
    """It would sleep before it has answered who woke it."""
    running = sandbox.start("web: x\n", "--idle-timeout", "0")
    assert running.finish() == 2
    assert "--idle-timeout: must be more than nothing" in running.text
    assert "`--idle off`" in running.text


def test_dynos_share_a_socket_and_nobody_is_refused_across_restarts(sandbox: Sandbox) -> None:
    """gunicorn takes it over by LISTEN_FDS and LISTEN_PID; its own `-b` is not heeded then."""
    require("gunicorn")
    site = shared(sandbox)
    site.done("scale", "web=2", "--wait")
    restart = sandbox.procman("restart", "web", "--wait")
    statuses = [site.get()[0] for _ in range(40)]
    assert restart.finish() == 0
    assert statuses == [200] * 40
    assert site.done("scale", "web=0", "--wait")
    assert site.get() == (0, "")  # refused: nobody would answer
    site.done("scale", "web=1", "--wait")
    assert site.get()[0] == 200
    site.stop()


def test_uvicorn_takes_the_socket_by_its_number(sandbox: Sandbox) -> None:
    """`--fd 3`."""
    require("uvicorn")
    site = shared(sandbox, f"{PYTHON} -m uvicorn --fd 3 --log-level error site_app:asgi")
    first = site.get()
    site.sleep()
    assert site.get() == first
    assert first[0] == 200
    site.stop()


def test_a_socket_is_for_web_only(sandbox: Sandbox) -> None:
    """procman knows no other port that is the app's."""
    sandbox.write("procman.toml", "[types.worker]\nsocket = true\n")
    running = sandbox.start("web: x\nworker: y\n")
    assert running.finish() == 1
    assert "types.worker.socket: procman listens for web only" in running.text


def test_a_signal_by_hand_wakes_the_dyno(sandbox: Sandbox) -> None:
    """Else it would run, and be taken for asleep."""
    require("gunicorn")
    site = routed(sandbox)
    site.sleep()
    site.done("signal", "WINCH", "web")
    site.app.until("Handling signal: winch")
    assert site.state() == "up"
    site.stop()


def test_curl_sees_no_difference(sandbox: Sandbox) -> None:
    """Status, headers and body of a woken dyno are those of an awake one."""
    require("waitress")
    site = routed(sandbox, SERVERS["waitress"])
    awake = headers_of(site)
    site.sleep()
    assert headers_of(site) == awake
    site.stop()


def headers_of(site: Site) -> list[str]:
    """All but the time of day."""
    url = f"http://127.0.0.1:{site.port}/"
    done = subprocess.run(["curl", "-si", url], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith("Date")]
