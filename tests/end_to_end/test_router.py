"""The router before real dynos: found where they listen, kept when they break, balanced."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess

import httpx
import pytest
from websockets.sync.client import connect

from tests.end_to_end.conftest import PATIENCE, Sandbox
from tests.end_to_end.web import GUNICORN, PYTHON, SERVERS, Load, free_port, require, start_site

# Listens where it is told to, whatever $PORT says: `python bind.py HOST PORT [only IPv6]`.
BIND = """
import http.server, socket, sys
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
server = socket.socket(family)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, len(sys.argv) > 3)
server.bind((host, port))
server.listen()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from %d" % port)
    def log_message(self, *_): pass
http.server.HTTPServer.server_bind = lambda _: None
serving = http.server.HTTPServer((host, port), Handler)
serving.socket.close()
serving.socket = server
serving.serve_forever()
"""


@pytest.mark.parametrize("server", SERVERS)
def test_each_server_is_served_to_each_client(sandbox: Sandbox, server: str) -> None:
    """curl and httpx, kept alive and not."""
    require(server)
    site = start_site(sandbox, SERVERS[server])
    url = f"http://127.0.0.1:{site.port}/"
    assert site.get()[0] == 200
    curled = subprocess.run(["curl", "-sf", url, url], capture_output=True, check=True).stdout
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        for _ in range(5):
            answer = client.get(url)
            assert answer.status_code == 200
            assert answer.content * 2 == curled
    site.stop()


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_a_websocket_is_led_through_and_counted(sandbox: Sandbox, server: str) -> None:
    """It is in flight for as long as it is open."""
    require(server)
    site = start_site(sandbox, SERVERS[server])
    with connect(f"ws://127.0.0.1:{site.port}/", proxy=None, open_timeout=PATIENCE) as client:
        for size in (1, 1000, 100_000):
            client.send("x" * size)
            assert client.recv(timeout=PATIENCE) == "x" * size
        assert site.row()["in_flight"] == 1
    site.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_http2_with_prior_knowledge_is_led_through_also_to_a_sleeping_dyno(
    sandbox: Sandbox,
) -> None:
    """hypercorn speaks it without TLS."""
    require("hypercorn")
    site = start_site(sandbox, SERVERS["hypercorn"], "--idle-timeout", "50ms")
    asked = ["curl", "-s", "--http2-prior-knowledge", "-w", " %{http_version} %{http_code}"]
    for sleeps in range(1, 3):
        done = subprocess.run(
            [*asked, f"http://127.0.0.1:{site.port}/"], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith(" 2 200")
        site.app.until("State changed from up to suspended", sleeps)
    site.stop()


# --- where a dyno listens ---


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("0.0.0.0", ""),
        ("::", ""),
        ("::", "only"),
        ("::1", ""),
        ("127.0.0.1", ""),
        ("127.0.0.2", ""),
    ],
)
def test_a_dyno_is_reached_at_whatever_address_it_binds(
    sandbox: Sandbox, host: str, more: str
) -> None:
    """No warning, for the port is right."""
    sandbox.write("bind.py", BIND)
    site = start_site(sandbox, f"exec {PYTHON} bind.py {host} $PORT {more}")
    assert site.get() == (200, f"from {site.row()['port']}")
    assert "warning" not in site.app.text
    site.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("options", [[], ["--no-router"]], ids=["routed", "direct"])
def test_a_hard_coded_port_is_found_named_and_served(
    sandbox: Sandbox, host: str, options: list[str]
) -> None:
    """By a child of the shell, too; it can sleep as any other."""
    sandbox.write("bind.py", BIND)
    port = free_port()
    site = start_site(sandbox, f"{PYTHON} bind.py {host} {port}; true", *options)
    site.app.until(f"warning: listens on port {port}, not on $PORT")
    assert site.row()["port"] == port
    if not options:
        assert "requests are led there" in site.app.text
        assert site.get() == (200, f"from {port}")
        site.sleep()
        assert site.get() == (200, f"from {port}")
    else:
        assert "nothing leads requests there, make it listen on $PORT" in site.app.text
        site.sleep()
        with socket.create_connection((host, port), timeout=PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 200")
        site.app.until("Unidling")
    site.stop()


def test_the_port_that_it_was_given_is_preferred_to_one_that_was_bound_before(
    sandbox: Sandbox,
) -> None:
    """A server of metrics, a socket for hot reload: no warning, and no request goes there."""
    sandbox.write("bind.py", BIND)
    early = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(1000)"
    command = f'{PYTHON} -c "{early}" & exec {PYTHON} bind.py 127.0.0.1 $PORT'
    site = start_site(sandbox, command)
    assert site.get() == (200, f"from {site.row()['port']}")
    assert "warning" not in site.app.text
    site.stop()


def test_a_dyno_that_wants_the_routers_port_finds_it_taken(sandbox: Sandbox) -> None:
    """Whoever is quicker: the router listens before anybody is started."""
    sandbox.write("bind.py", BIND)
    port = free_port()
    app = sandbox.start(f"web: exec {PYTHON} bind.py 127.0.0.1 {port}\n", "-p", str(port))
    app.until("Address already in use")
    app.until(f"web is at http://127.0.0.1:{port}")
    app.send(signal.SIGTERM)
    assert app.finish() == 143


def test_a_debugger_is_not_taken_for_the_server(sandbox: Sandbox) -> None:
    """`node --inspect` listens before the app does, which here does so a moment later."""
    sandbox.write("bind.py", BIND)
    early = "import socket, time; s = socket.create_server(('127.0.0.1', 9229)); time.sleep(1000)"
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 9229)) == 0:
            pytest.skip("port 9229 is taken")
    command = f'{PYTHON} -c "{early}" & read line < gate; exec {PYTHON} bind.py 127.0.0.1 $PORT'
    sandbox.write("site_app.py", "")
    os.mkfifo(sandbox.root / "gate")
    port = free_port()
    app = sandbox.start(f"web: {command}\n", "-p", str(port))
    app.until("web.1 started")
    assert sandbox.procman("wait", "web", "--timeout", "2s").finish() == 1
    (sandbox.root / "gate").write_text("go\n")
    assert sandbox.procman("wait", "web").finish() == 0
    assert "warning" not in app.text
    app.send(signal.SIGTERM)
    assert app.finish() == 143


def test_a_dyno_that_binds_nothing_is_late_and_is_left_alone(sandbox: Sandbox) -> None:
    """R10 in the log; a request waits for it, and is served when it comes up after all."""
    sandbox.write("bind.py", BIND)
    os.mkfifo(sandbox.root / "gate")
    command = f"read line < gate; exec {PYTHON} bind.py 127.0.0.1 $PORT"
    port = free_port()
    app = sandbox.start(f"web: {command}\n", "-p", str(port), "--boot-timeout", "100ms")
    app.until("Error R10 (Boot timeout)")
    app.until("web is at")  # on a busy machine that comes later
    asked = subprocess.Popen(
        ["curl", "-s", f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True
    )
    (sandbox.root / "gate").write_text("go\n")
    assert asked.communicate(timeout=PATIENCE)[0].startswith("from ")
    assert app.text.count("started with pid") == 1
    app.send(signal.SIGTERM)
    assert app.finish() == 143


def test_a_late_dyno_is_killed_and_tried_again_where_asked_to(sandbox: Sandbox) -> None:
    """--boot-timeout-kill."""
    app = sandbox.start(
        "web: exec sleep 1000\n",
        *("-p", str(free_port()), "--boot-timeout", "100ms", "--boot-timeout-kill"),
    )
    app.until("Error R10 (Boot timeout)", 2)
    app.until("started with pid", 2)
    app.send(signal.SIGTERM)
    assert app.finish() == 143


# --- when it breaks ---


def test_who_asks_a_crashed_app_sees_what_crashed(sandbox: Sandbox) -> None:
    """A page for a browser, plain text for curl; with its status and its last lines."""
    port = free_port()
    app = sandbox.start(
        "web: echo 'the <disk> is full'; exit 7\nworker: exec sleep 1000\n",
        *("-p", str(port), "--max-restarts", "0"),
    )
    app.until("not restarted")
    app.until("web is at")
    url = f"http://127.0.0.1:{port}/"
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        page = client.get(url, headers=browser)
        text = client.get(url)
    assert (page.status_code, text.status_code) == (503, 503)
    assert page.headers["content-type"].startswith("text/html")
    assert text.headers["content-type"].startswith("text/plain")
    for answer, line in ((page, "the &lt;disk&gt; is full"), (text, "the <disk> is full")):
        assert line in answer.text
        assert "web.1" in answer.text
        assert "status 7" in answer.text
        assert "H10" in answer.text
    assert "code=H10" in app.until("code=H10", 2)
    app.send(signal.SIGTERM)
    assert app.finish() == 143


def test_a_request_during_a_restart_waits_and_is_served(sandbox: Sandbox) -> None:
    """Saving a file never shows `connection refused`."""
    require("gunicorn")
    site = start_site(sandbox, GUNICORN)
    before = site.get()
    restart = sandbox.procman("restart", "web", "--wait")
    answers = [site.get() for _ in range(30)]
    assert restart.finish() == 0
    answers.append(site.get())
    assert {status for status, _ in answers} == {200}
    assert answers[-1] != before
    site.stop()


# Each answer is one write: one of which a killed dyno has sent the beginning cannot be asked anew.
AT_ONCE = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        text = f"{os.environ['DYNO']} {os.getpid()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Site).serve_forever()
"""


def test_three_dynos_under_load_lose_no_request_whatever_happens_to_one(sandbox: Sandbox) -> None:
    """Killed, restarted, scaled away and back: every GET is answered with 200."""
    sandbox.write("at_once.py", AT_ONCE)
    site = start_site(sandbox, f"{PYTHON} at_once.py", "-c", "web=3")
    site.app.until("started with pid", 3)
    site.done("wait", "web")
    with Load(site, clients=6) as load:
        load.until_answered(30)
        for _ in range(3):
            pid = site.row("web.2")["pid"]
            assert isinstance(pid, int)
            os.killpg(pid, signal.SIGKILL)
            load.until_answered(30)
            site.done("wait", "web")
        site.done("restart", "web.1", "--wait")
        load.until_answered(30)
        site.done("scale", "web=1", "--wait")
        load.until_answered(30)
        site.done("scale", "web=3", "--wait")
        load.until_answered(30)
        site.done("restart", "web", "--wait")
        load.until_answered(30)
    assert [answer for answer in load.answers if answer[0] != 200] == []
    assert {answer[1].split()[0] for answer in load.answers} == {"web.1", "web.2", "web.3"}
    site.stop()


def test_requests_are_counted_and_spread_over_the_dynos(sandbox: Sandbox) -> None:
    """`ps` shows them; in turn, where all are free."""
    require("gunicorn")
    site = start_site(sandbox, GUNICORN, "-c", "web=3")
    site.app.until("started with pid", 3)
    site.done("wait", "web")
    asked = [site.get()[1].split()[0] for _ in range(12)]
    assert {dyno: asked.count(dyno) for dyno in asked} == {f"web.{n}": 4 for n in (1, 2, 3)}
    assert [site.row(f"web.{n}")["served"] for n in (1, 2, 3)] == [4, 4, 4]
    assert "REQUESTS" in site.done("ps")
    with site.connected(b"GET /hold HTTP/1.0\r\n\r\n") as client:
        site.app.until("held")
        counts = [site.row(f"web.{n}")["in_flight"] for n in (1, 2, 3)]
        assert sorted(map(str, counts)) == ["0", "0", "1"]
        site.open_gate()
        assert client.recv(100).startswith(b"HTTP/1.")
    site.stop()


def test_the_router_listens_where_it_is_told_to(sandbox: Sandbox) -> None:
    """--host; the port is named as taken before anything starts when somebody has it."""
    require("gunicorn")
    site = start_site(sandbox, GUNICORN, "--host", "127.0.0.3")
    with socket.create_connection(("127.0.0.3", site.port), timeout=PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.")
    assert site.get() == (0, "")
    second = sandbox.root / "second"
    second.mkdir()
    (second / "Procfile").write_text("web: x\n")
    arguments = ("-d", str(second), "-p", str(site.port), "--host", "127.0.0.3")
    other = sandbox.procman("start", *arguments)
    assert other.finish() == 1
    assert f"port {site.port} of the router is taken" in other.text
    site.stop()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_the_wildcard_of_ipv6_takes_ipv4_as_well(sandbox: Sandbox) -> None:
    """A browser's `localhost` may be either; and the address that is told can be opened."""
    site = start_site(sandbox, SERVERS["http.server"], "--host", "::")
    site.app.until(f"web is at http://[::]:{site.port}")
    assert site.get()[0] == 200
    with socket.create_connection(("::1", site.port), timeout=PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.")
    site.stop()


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "[::1]"])
def test_a_host_that_is_not_here_is_an_error_that_names_it(sandbox: Sandbox, host: str) -> None:
    """In a line, before anything starts."""
    refused = sandbox.start("web: x", "-p", str(free_port()), "--host", host)
    assert refused.finish() == 1
    assert f"the router cannot listen on {host}: " in refused.text
    assert "hint: --host takes" in refused.text
    assert "Traceback" not in refused.text


@pytest.mark.parametrize("ready", ["spawned", "delay:10ms", "exec:true", "log:begin"])
def test_a_dyno_that_is_ready_before_it_listens_elsewhere_is_found(
    sandbox: Sandbox, ready: str
) -> None:
    """As one whose port is looked for."""
    sandbox.write("procman.toml", f'[types.web]\nready = "{ready}"\n')
    command = f"echo begin; sleep 0.3; exec {PYTHON} -m http.server -b 127.0.0.1 {free_port()}"
    site = start_site(sandbox, command)
    assert site.get()[0] == 200
    site.app.until("requests are led there")
    site.stop()
