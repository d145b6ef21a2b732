"""What somebody asks for during a deploy counts, and so does a deploy during a start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Running, Sandbox
from tests.end_to_end.release_app import WEB, ReleaseApp, release_app
from tests.end_to_end.web import Site, free_port

WORKER = "echo works $PROCMAN_RELEASE; exec sleep 9999"


@pytest.fixture
def app(sandbox: Sandbox) -> ReleaseApp:
    return release_app(sandbox)


class Gate:
    """Holds a dyno, or procman itself, that reads it until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def open(self) -> None:
        """Let one go on, which has come or will come."""
        self.path.open("w").close()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


def release(app: ReleaseApp, version: int, **types: str) -> Running:
    """Commit these process types as this version, and begin to deploy them."""
    app.sandbox.write("Procfile", "".join(f"{name}: {line}\n" for name, line in types.items()))
    app.commit(version)
    return app.sandbox.procman("deploy")


def formation(site: Site) -> dict[str, int]:
    found = json.loads(site.done("ps", "--json"))["formation"]
    assert isinstance(found, dict)
    return found


def releases_of(site: Site) -> dict[str, str]:
    """Which release each dyno runs."""
    rows = json.loads(site.done("ps", "--json"))["dynos"]
    return {row["dyno"]: row["release"] for row in rows}


# --- scaled during a deploy ---


def test_a_scale_during_a_deploy_that_fails_stays(app: ReleaseApp, gate: Gate) -> None:
    """In both directions; what booted from the failed release boots from the old one."""
    types = {"web": WEB, "worker": WORKER, "clock": WORKER}
    assert release(app, 100, **types).finish() == 0
    site = app.start()
    site.done("scale", "clock=2", "--wait")
    types["web"] = f"echo trying; cat {gate.path}; exit 3"
    deploy = release(app, 101, **types)
    site.app.until("trying")
    site.done("scale", "worker=3", "clock=1", "--wait")
    gate.open()
    assert deploy.finish() == 1
    assert "web.1 did not come up" in deploy.text
    assert formation(site) == {"web": 1, "worker": 3, "clock": 1}
    site.done("wait")
    names = ("web.1", "worker.1", "worker.2", "worker.3", "clock.1")
    assert releases_of(site) == dict.fromkeys(names, "v1")
    site.stop()


def test_a_type_that_a_failed_release_lacks_comes_back_as_it_was_scaled_last(
    app: ReleaseApp, gate: Gate
) -> None:
    """Though that was during the deploy; what only the release had is gone, scaled or not."""
    assert release(app, 100, web=WEB, worker=WORKER, clock=WORKER).finish() == 0
    site = app.start()
    web = f"echo trying; cat {gate.path}; {WEB}"
    deploy = release(app, 101, web=web, worker="exit 3", lint=WORKER)
    site.app.until("trying")
    site.done("scale", "clock=2", "lint=2", "--wait")
    gate.open()
    assert deploy.finish() == 1
    assert "worker.1 did not come up" in deploy.text
    assert formation(site) == {"web": 1, "worker": 1, "clock": 2}
    site.done("wait")
    names = ("web.1", "worker.1", "clock.1", "clock.2")
    assert releases_of(site) == dict.fromkeys(names, "v1")
    site.stop()


def test_a_type_that_is_scaled_up_again_while_it_is_let_go_stays_so(
    app: ReleaseApp, gate: Gate
) -> None:
    """Not put back to what it was before."""
    once = f"if test -e {gate.path}; then echo lingers; cat {gate.path}; fi; exit"
    clock = f"trap '{once}' TERM; sleep 9999 & wait"
    assert release(app, 100, web=WEB, worker=WORKER, clock=clock).finish() == 0
    site = app.start("--stop-timeout", "1h")
    deploy = release(app, 101, web=WEB, worker="exit 3")
    site.app.until("lingers")
    site.done("scale", "clock=3")
    gate.open()
    gate.path.unlink()
    assert deploy.finish() == 1
    assert formation(site) == {"web": 1, "worker": 1, "clock": 3}
    site.stop()


def test_a_scale_during_a_deploy_that_succeeds_stays(app: ReleaseApp, gate: Gate) -> None:
    """Down, which does not make it fail, and up, also of a type that is new with it."""
    assert release(app, 100, web=WEB, worker=WORKER).finish() == 0
    site = app.start()
    site.done("scale", "worker=2", "--wait")
    web = f"echo trying; cat {gate.path}; {WEB}"
    deploy = release(app, 101, web=web, worker=WORKER, lint=WORKER)
    site.app.until("trying")
    site.done("scale", "worker=1", "lint=2", "--wait")
    gate.open()
    assert deploy.finish() == 0, deploy.text
    assert formation(site) == {"web": 1, "worker": 1, "lint": 2}
    names = ("web.1", "worker.1", "lint.1", "lint.2")
    assert releases_of(site) == dict.fromkeys(names, "v2")
    site.stop()
    assert site.app.text.count("lint.1 started") == 1


def test_a_scale_while_a_failed_release_is_let_go_does_not_keep_the_others_there(
    app: ReleaseApp, gate: Gate
) -> None:
    """Its own type takes long to end, and a worker that was to move back is scaled away."""
    assert release(app, 100, web=WEB, worker=WORKER).finish() == 0
    site = app.start("--stop-timeout", "1h")
    site.done("scale", "worker=2", "--wait")
    lint = f"trap 'echo lingers; cat {gate.path}; exit' TERM; echo up; sleep 9999 & wait"
    failing = f"echo trying; cat {gate.path}; exit 3"
    deploy = release(app, 101, web=WEB, worker=WORKER, lint=lint, clock=failing)
    site.app.until("trying")
    site.app.until("up\n")
    gate.open()
    site.app.until("lingers")
    site.done("scale", "worker=1", "--wait")
    gate.open()
    assert deploy.finish() == 1
    assert "clock.1 did not come up" in deploy.text
    assert formation(site) == {"web": 1, "worker": 1}
    site.done("wait")
    assert releases_of(site) == {"web.1": "v1", "worker.1": "v1"}
    site.stop()


# --- deployed during a start ---

# Into the process of procman by Python's own door: held in the last moment in which nobody finds
# that the app runs.
HELD_BEFORE_ITS_DOOR = """
import os, sys
if "start" in sys.orig_argv:
    def hold(event, arguments):
        if event == "socket.bind" and str(arguments[1]).endswith(".sock"):
            os.write(2, b"held\\n")
            open(os.environ["GATE"]).close()
    sys.addaudithook(hold)
"""


def start_held(app: ReleaseApp, gate: Gate, *arguments: str) -> Site:
    """`start`, held before its control socket is there."""
    directory = gate.path.with_name("held")
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(HELD_BEFORE_ITS_DOOR)
    port = free_port()
    env = {"PYTHONPATH": str(directory), "GATE": str(gate.path)}
    running = app.sandbox.procman("start", *arguments, "-p", str(port), env=env)
    running.until("held")
    return Site(app.sandbox, running, port)


@pytest.mark.parametrize("how", ["in this terminal", "detached"])
def test_a_start_moves_to_what_was_deployed_while_it_could_not_be_asked(
    app: ReleaseApp, gate: Gate, how: str
) -> None:
    """And says so; detached, its caller returns when it has moved."""
    assert release(app, 100, web=WEB, worker=WORKER).finish() == 0
    site = start_held(app, gate, "--release", *(["-D"] if how == "detached" else []))
    deploy = release(app, 101, web=WEB, clock=WORKER)
    assert deploy.finish() == 0
    assert "The app is not running" in deploy.text
    gate.open()
    if how == "detached":
        assert site.app.finish() == 0, site.app.text
        assert "web.1, clock.1 up" in site.app.text
    else:
        site.app.until("v2 was released while the app was starting")
        site.app.until("v2 is live")
    assert site.get() == (200, "101 top-secret")
    assert releases_of(site) == {"web.1": "v2", "clock.1": "v2"}
    site.done("stop", "--wait")
    site.app.finish()


def test_a_start_stays_where_it_is_when_what_was_deployed_meanwhile_does_not_come_up(
    app: ReleaseApp, gate: Gate
) -> None:
    """And says so; the next deploy moves it."""
    assert release(app, 100, web=WEB).finish() == 0
    site = start_held(app, gate, "--release")
    assert release(app, 101, web="exit 3").finish() == 0
    gate.open()
    site.app.until("v2 is not live: web.1 did not come up")
    site.done("wait")
    assert site.get() == (200, "100 top-secret")
    assert site.row()["release"] == "v1"
    assert release(app, 102, web=WEB).finish() == 0
    assert site.get() == (200, "102 top-secret")
    site.stop()


def test_a_start_stays_where_it_is_when_what_was_deployed_meanwhile_cannot_be_run(
    app: ReleaseApp, gate: Gate
) -> None:
    """It has web dynos, and the app has no router."""
    assert release(app, 100, worker=WORKER).finish() == 0
    site = start_held(app, gate, "--release")
    assert release(app, 101, web=WEB).finish() == 0
    gate.open()
    site.app.until("v1 stays: v2 has web dynos, and the app was started without")
    assert releases_of(site) == {"worker.1": "v1"}
    site.stop()


def test_a_start_of_a_release_by_its_name_runs_that_one(app: ReleaseApp, gate: Gate) -> None:
    """Whatever is deployed meanwhile."""
    assert release(app, 100, web=WEB).finish() == 0
    site = start_held(app, gate, "--release", "v1")
    assert release(app, 101, web=WEB).finish() == 0
    gate.open()
    site.done("wait")
    assert site.get() == (200, "100 top-secret")
    site.stop()
    assert "v2" not in site.app.text


def test_a_start_can_be_stopped_while_it_moves_to_what_was_deployed(
    app: ReleaseApp, gate: Gate
) -> None:
    """It waits for nothing then."""
    assert release(app, 100, web=WEB).finish() == 0
    site = start_held(app, gate, "--release")
    assert release(app, 101, web="echo trying; exec sleep 9999").finish() == 0
    gate.open()
    site.app.until("trying")
    site.done("stop", "--wait")
    assert site.app.finish() == 0
    assert not site.app.survivors()
