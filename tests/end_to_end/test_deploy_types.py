"""What a release changes about the process types while the app runs."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import Sandbox
from tests.end_to_end.release_app import ReleaseApp, release_app

KEPT = "exec sleep 9999"


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
