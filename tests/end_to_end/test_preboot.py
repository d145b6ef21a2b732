"""The lines and the terminal of a dyno that has two boots for a while."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.end_to_end.conftest import Sandbox
from tests.end_to_end.terminal import open_terminal
from tests.end_to_end.web import Site, free_port

# Writes what a request asks for, to the byte. A boot waits for the gate, where there is one, or
# does not come up.
SERVER = """
import http.server, os, signal, sys
from urllib.parse import unquote

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        os.write(1, unquote(self.path[1:]).encode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass

def end(*_):
    if os.path.exists("last"):
        open("last").read()
        os.write(1, b"last words\\n")
    os._exit(0)

signal.signal(signal.SIGTERM, end)
if os.path.exists("broken"):
    sys.exit(3)
if os.path.exists("gate"):
    open("gate").read()
    print("now ready", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def start(sandbox: Sandbox, *options: str) -> Site:
    """Its web dyno is up."""
    sandbox.write("web.py", SERVER)
    port = free_port()
    command = f"exec {sys.executable} web.py"
    app = sandbox.start(f"web: {command}\n", "-p", str(port), "--preboot", *options)
    app.until("web is at")
    site = Site(sandbox, app, port)
    site.done("wait")
    return site


def restart_in_vain(site: Site) -> None:
    """The new boot does not come up, and the old one stays."""
    site.sandbox.write("broken", "")
    assert site.call("restart", "web", "--wait")[0] == 1
    (site.sandbox.root / "broken").unlink()


def test_a_line_that_was_begun_before_preboots_that_failed_is_whole(sandbox: Sandbox) -> None:
    site = start(sandbox)
    site.get("/one,")
    restart_in_vain(site)
    site.get("/two,")
    restart_in_vain(site)
    site.get("/three%0A")
    site.app.until("one,two,three\n")
    site.stop()


def test_lines_of_three_boots_are_each_their_own(sandbox: Sandbox) -> None:
    """The first one ends, the second one stays, the third one does not come up."""
    site = start(sandbox, "--stop-timeout", "1h")  # the first one ends when the test says so
    last = sandbox.root / "last"
    os.mkfifo(last)
    site.get("/first,")
    site.done("restart", "web", "--wait")
    site.get("/second,")
    restart_in_vain(site)
    last.write_text("go\n")
    last.unlink()
    site.app.until("first,last words\n")
    site.get("/done%0A")
    site.app.until("second,done\n")
    site.stop()


def test_ps_shows_one_boot_and_not_some_of_each(sandbox: Sandbox) -> None:
    """The pid and the port of the one that is up, until the next one is ready."""
    site = start(sandbox)
    before = site.row()
    gate = sandbox.root / "gate"
    os.mkfifo(gate)
    site.done("restart", "web")
    site.app.until("web.1 started", 2)
    meanwhile = site.row()
    for key in ("state", "pid", "port", "boot"):
        assert meanwhile[key] == before[key]
    gate.write_text("go\n")
    site.app.until("boot 2 is ready")
    assert site.row()["pid"] != before["pid"]
    site.stop()


def test_a_terminal_shows_the_boot_that_stays(sandbox: Sandbox) -> None:
    """Before and after a preboot that failed; it does not tell of an end where there was none."""
    site = start(sandbox, "--pty")
    screen = open_terminal(sandbox, "attach", "web.1")
    try:
        site.get("/before%0A")
        screen.until("before")
        restart_in_vain(site)
        site.get("/after%0A")
        screen.until("after")
        assert screen.text.count("web.1 ended") == 1
        assert "web.1 ended, status 3" in screen.text
    finally:
        screen.close()
    site.stop()


def test_what_the_old_boot_writes_does_not_make_the_new_one_ready(sandbox: Sandbox) -> None:
    sandbox.write("procman.toml", "[types.web]\nready = 'log:ready'\n")
    gate = Path(sandbox.root, "gate")
    os.mkfifo(gate)
    sandbox.write("web.py", SERVER)
    port = free_port()
    command = f"exec {sys.executable} web.py"
    app = sandbox.start(f"web: {command}\n", "-p", str(port), "--preboot")
    gate.write_text("go\n")
    site = Site(sandbox, app, port)
    site.done("wait")
    site.done("restart", "web")
    app.until("started with pid", 2)
    assert site.get("/ready%20too%0A")[0] == 200
    app.until("ready too")
    gate.write_text("go\n")
    text = app.until("boot 2 is ready, boot 1 is drained")
    assert text.index("now ready", text.index("ready too")) < text.index("boot 2 is ready")
    site.stop()
