"""`ready` and `after` in an app that runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.end_to_end.conftest import Running, Sandbox

# Listens on $PORT once somebody has written into `go`.
LISTEN_LATER = """
import os, signal, socket
open("go").read()
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("listening", flush=True)
signal.pause()
"""

# A dyno that speaks when the app can be asked: readiness is told on the loop that serves asking.
CLOCK = "gate: exec sleep 60\nclock: echo tick; exec sleep 60\n"
CLOCK_SETTINGS = "gate = { ready = 'delay:0s' }\nclock = { after = ['gate'] }\n"


def settings(sandbox: Sandbox, text: str) -> None:
    """The types' settings, and a fifo for who must wait."""
    sandbox.write("procman.toml", text)
    subprocess.run(["mkfifo", "go"], cwd=sandbox.root, check=True)
    sandbox.write("later.py", LISTEN_LATER)


def go(sandbox: Sandbox) -> None:
    """Let who waits go on."""
    subprocess.run(["sh", "-c", "echo > go"], cwd=sandbox.root, check=True, timeout=60)


def states(sandbox: Sandbox) -> dict[str, str]:
    """What `procman ps` says."""
    asked = sandbox.procman("ps", "--json")
    assert asked.finish() == 0, asked.text
    return {dyno["dyno"]: dyno["state"] for dyno in json.loads(asked.text)["dynos"]}


def waits(sandbox: Sandbox, *arguments: str) -> Running:
    """`procman wait` for the app that runs."""
    return sandbox.procman("wait", *arguments)


def stop(app: Running) -> None:
    """End it, and see that nobody is left."""
    app.send(signal.SIGTERM)
    assert app.finish() == 143
    assert not app.survivors()


def test_types_start_one_after_the_other(sandbox: Sandbox) -> None:
    """A database that is slow to listen, a migration that must succeed, then the rest."""
    settings(
        sandbox,
        "[types]\nweb = { after = ['migrate'] }\ndb = { ready = 'port' }\n"
        "migrate = { after = ['db'], ready = 'finished' }\n" + CLOCK_SETTINGS,
    )
    procfile = (
        f"web: echo serving; exec {sys.executable} -m http.server -b 127.0.0.1 $PORT\n"
        f"db: {sys.executable} later.py\n"
        f"migrate: echo migrating; sh -c 'exit 0'\n{CLOCK}"
    )
    app = sandbox.start(procfile, "-p", "auto")
    app.until("tick")
    assert states(sandbox) == {
        "web.1": "down",
        "db.1": "starting",
        "migrate.1": "down",
        "gate.1": "up",
        "clock.1": "up",
    }
    asked = waits(sandbox, "web", "--timeout", "10ms")
    assert asked.finish() == 1
    assert "waits for migrate" in asked.text
    go(sandbox)
    app.until("serving")
    order = [app.text.index(word) for word in ("listening", "migrating", "serving")]
    assert order == sorted(order)
    assert app.text.index("migrate.1 finished") < app.text.index("web.1 started")
    assert waits(sandbox).finish() == 0
    assert states(sandbox)["migrate.1"] == "finished"
    stop(app)


def test_a_migration_that_fails_for_good_ends_the_app_with_its_status(sandbox: Sandbox) -> None:
    """What waits for it is never started."""
    settings(
        sandbox,
        "[types]\nweb = { after = ['migrate'] }\n"
        "migrate = { ready = 'finished', restart = 'never' }\n",
    )
    app = sandbox.start("web: echo serving\nmigrate: exit 7\n", "-p", "auto")
    assert app.finish() == 7
    assert "serving" not in app.text


@pytest.mark.parametrize(
    ("ready", "command"),
    [
        ("port", f"{sys.executable} later.py"),
        ("log:^it is [a-z]+$", "read line < go; echo it is ready; exec sleep 60"),
        ("exec:test -e made-$DYNO", "read line < go; touch made-$DYNO; exec sleep 60"),
        ("http:/later.py", f"read line < go; exec {sys.executable} -m http.server $PORT"),
    ],
)
def test_each_check_lets_the_next_type_start(sandbox: Sandbox, ready: str, command: str) -> None:
    """And not before."""
    types = f"next = {{ after = ['first'] }}\nfirst = {{ ready = '{ready}' }}\n"
    settings(sandbox, f"[types]\n{types}{CLOCK_SETTINGS}")
    procfile = f"next: echo now; exec sleep 60\nfirst: {command}\n{CLOCK}"
    app = sandbox.start(procfile, "-p", "auto")
    app.until("tick")
    assert states(sandbox)["first.1"] == "starting"
    go(sandbox)
    app.until("now")
    assert states(sandbox)["first.1"] == "up"
    stop(app)


def test_a_line_of_the_first_moment_counts(sandbox: Sandbox) -> None:
    """It comes while procman is still importing."""
    settings(sandbox, "[types]\nb = { after = ['a'] }\na = { ready = 'log:^ready$' }\n")
    app = sandbox.start("a: echo ready; exec sleep 60\nb: echo now; exec sleep 60\n")
    app.until("now")
    stop(app)


def test_a_web_dyno_is_up_when_it_listens(sandbox: Sandbox) -> None:
    """By default; one that crashes before is no different from others."""
    settings(sandbox, f"[types]\n{CLOCK_SETTINGS}")
    app = sandbox.start(f"web: {sys.executable} later.py\n{CLOCK}", "-p", "auto")
    app.until("tick")
    asked = waits(sandbox, "--timeout", "10ms")
    assert asked.finish() == 1
    assert "web.1 is not up: not ready yet" in asked.text
    waiting = waits(sandbox)
    go(sandbox)
    assert waiting.finish() == 0
    stop(app)


def test_what_asks_whether_a_dyno_is_ready_ends_with_it(sandbox: Sandbox) -> None:
    """A command that hangs, at a dyno's end and at the app's; nothing is said of it."""
    settings(sandbox, "[types]\na = { ready = 'exec:echo asking > go; exec sleep 1000' }\n")
    app = sandbox.start("a: exec sleep 60\n")
    assert (sandbox.root / "go").read_text() == "asking\n"
    assert sandbox.procman("restart", "a").finish() == 0
    assert (sandbox.root / "go").read_text() == "asking\n"
    stop(app)
    assert "asking" not in app.text
    assert "Traceback" not in app.text


@pytest.mark.parametrize(
    ("types", "told"),
    [
        ("a = { after = ['b'] }\nb = { after = ['a'] }", "a after b after a"),
        ("a = { after = ['bee'] }", "bee"),
        ("a = { ready = 'prot' }", "types.a.ready"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(sandbox: Sandbox, types: str, told: str) -> None:
    """A circle, an unknown name, an unknown check."""
    settings(sandbox, f"[types]\n{types}\n")
    app = sandbox.start("a: echo never\nb: echo never\n")
    assert app.finish() == 1
    assert told in app.text
    assert "never" not in app.text
    assert "Traceback" not in app.text
