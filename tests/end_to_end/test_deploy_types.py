"""What a release changes about the process types while the app runs."""

from __future__ import annotations

import json
import sys

import pytest

from tests.end_to_end.conftest import Sandbox
from tests.end_to_end.release_app import WEB, ReleaseApp, release_app
from tests.end_to_end.test_watch import HOLDER
from tests.end_to_end.web import free_port

KEPT = "exec sleep 9999"
HOLD = f"exec {sys.executable} holder.py"


@pytest.fixture
def app(sandbox: Sandbox) -> ReleaseApp:
    return release_app(sandbox)


def release(app: ReleaseApp, version: int, **types: str) -> str:
    """Deploy these process types as this version; the words of it."""
    app.sandbox.write("Procfile", "".join(f"{name}: {line}\n" for name, line in types.items()))
    app.commit(version)
    return app.done("deploy")


def states(app: ReleaseApp) -> dict[str, str]:
    rows = json.loads(app.done("ps", "--json"))["dynos"]
    return {row["dyno"]: row["state"] for row in rows}


def test_a_type_that_a_release_brings_may_be_ready_by_a_line(app: ReleaseApp) -> None:
    """Also where no type of the release before waited for one."""
    release(app, 100, worker=KEPT)
    app.sandbox.write("procman.toml", "[types.db]\nready = 'log:accepts'\n")
    app.sandbox.write("Procfile", f"worker: {KEPT}\ndb: echo accepts; {KEPT}\n")
    running = app.sandbox.procman("start", "--release")
    running.until("worker.1 started")
    release(app, 101, worker=KEPT, db=f"echo accepts; {KEPT}")
    assert states(app) == {"worker.1": "up", "db.1": "up"}
    app.done("stop", "--wait")
    running.finish()


def test_an_app_does_not_end_when_all_that_has_not_finished_is_let_go(app: ReleaseApp) -> None:
    """It ends as soon as all of a release has finished, and that is live."""
    release(app, 100, init="true", worker=KEPT)
    running = app.sandbox.procman("start", "--release")
    running.until("init.1 finished")
    release(app, 101, init="true", jobs=KEPT)
    assert states(app) == {"init.1": "finished", "jobs.1": "up"}
    release(app, 102, init="true")
    assert running.finish() == 0
    assert "v3 is live" in running.text


def restarts(app: ReleaseApp) -> dict[str, int]:
    rows = json.loads(app.done("ps", "--json"))["dynos"]
    return {row["dyno"]: row["restarts"] for row in rows}


def test_types_that_change_places_get_their_ports_when_the_others_have_ended(
    app: ReleaseApp,
) -> None:
    """One that is new in the middle, and two that are exchanged, there and back."""
    app.sandbox.write("holder.py", HOLDER)
    release(app, 100, web=WEB, admin=HOLD)
    site = app.start()
    site.app.until("bound")
    release(app, 101, web=WEB, api=HOLD, admin=HOLD)
    assert restarts(app) == {"web.1": 1, "api.1": 0, "admin.1": 1}
    assert site.row("admin.1")["port"] == site.port + 200
    release(app, 102, web=WEB, admin=HOLD, api=HOLD)
    assert restarts(app) == {"web.1": 2, "admin.1": 2, "api.1": 1}
    app.done("rollback", "v1")
    assert restarts(app) == {"web.1": 3, "admin.1": 3}
    site.stop()


def test_web_without_a_router_changes_places_as_the_others_do(app: ReleaseApp) -> None:
    """It has the port of another before it, which is not stopped before it otherwise."""
    app.sandbox.write("holder.py", HOLDER)
    release(app, 100, api=HOLD, web=HOLD)
    running = app.sandbox.procman("start", "--release", "--no-router", "-p", str(free_port()))
    running.until("bound", 2)
    release(app, 101, web=HOLD, api=HOLD)
    assert restarts(app) == {"web.1": 1, "api.1": 1}
    app.done("stop", "--wait")
    running.finish()


def test_ports_that_were_drawn_stay_for_all_releases(app: ReleaseApp) -> None:
    """Who was told where the app is finds it there after a deploy."""
    app.sandbox.write("holder.py", HOLDER)
    release(app, 100, web=HOLD, api=KEPT)
    running = app.sandbox.procman("start", "--release", "--no-router", "-p", "auto")
    running.until("api.1 started")
    before = json.loads(app.done("ps", "--json"))
    release(app, 101, clock=KEPT, web=HOLD, api=KEPT)
    after = json.loads(app.done("ps", "--json"))
    assert after["url"] == before["url"]
    ports = [{row["dyno"]: row["port"] for row in seen["dynos"]} for seen in (before, after)]
    assert ports[0].items() <= ports[1].items()
    app.done("stop", "--wait")
    running.finish()


def test_the_settings_of_the_release_type_hold_for_the_release_phase(app: ReleaseApp) -> None:
    """Its variables and its command, as for any type."""
    app.sandbox.write("procman.toml", "[types.release.env]\nGREETING = 'migrates'\n")
    assert "\nmigrates v1\n" in release(
        app, 100, web=WEB, release="echo $GREETING $PROCMAN_RELEASE"
    )
    app.sandbox.write("procman.toml", "[types.release]\ncommand = 'echo instead'\n")
    assert "\ninstead\n" in app.done("deploy")


def test_web_waits_for_a_new_type_that_it_comes_after(app: ReleaseApp) -> None:
    """As at a start; it cannot come up without."""
    release(app, 100, web=WEB)
    app.sandbox.write("holder.py", HOLDER)
    settings = "[types.web]\nafter = ['cache']\n[types.cache]\nafter = ['db']\nready = 'port'\n"
    app.sandbox.write("procman.toml", settings + "[types.db]\n")
    port = "int(os.environ['PROCMAN_CACHE_PORT'])"
    ask = f"import os, socket; socket.create_connection(('127.0.0.1', {port}))"
    types = {"web": f'{sys.executable} -c "{ask}" && {WEB}', "cache": HOLD, "db": KEPT}
    app.sandbox.write("Procfile", "".join(f"{name}: {line}\n" for name, line in types.items()))
    site = app.start()
    release(app, 101, **types)
    assert restarts(app) == {"web.1": 1, "cache.1": 0, "db.1": 0}
    site.stop()
