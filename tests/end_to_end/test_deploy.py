"""Slugs, releases, deploys, rollbacks and `git push`, as a user has them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.conftest import PATIENCE, Sandbox
from tests.end_to_end.release_app import PROCFILE, WEB, ReleaseApp, release_app
from tests.end_to_end.test_watch import HOLDER
from tests.end_to_end.web import Load, Site, free_port


@pytest.fixture
def app(sandbox: Sandbox) -> ReleaseApp:
    return release_app(sandbox)


def releases(app: ReleaseApp) -> list[dict[str, object]]:
    found = json.loads(app.done("releases", "--json"))
    assert isinstance(found, list)
    return found


# --- deploy and rollback ---


def test_a_deploy_moves_the_running_app_over_and_loses_no_request(app: ReleaseApp) -> None:
    """Web under load; workers follow; a rollback is one more release; the status is true."""
    text = app.done("deploy", "-m", "the first")
    assert "-----> Running release phase...\nreleasing\n" in text
    assert "Deploying app... done, v1" in text
    site = app.start()
    assert site.get() == (200, "100 top-secret")
    with Load(site, 2) as load:
        app.commit(101)
        assert "done, v2" in app.done("deploy")
        assert site.get() == (200, "101 top-secret")
        assert "Rolling back app to v1... done, v3" in app.done("rollback")
        assert site.get() == (200, "100 top-secret")
        load.until_answered(2)
    assert {answer[0] for answer in load.answers} == {200}
    for release in ("v1", "v2", "v3"):
        site.app.until(f"works {release}\n")
    assert [one["status"] for one in releases(app)] == ["succeeded"] * 3
    assert site.row()["release"] == "v3"
    site.stop()


@pytest.mark.parametrize("how", ["release phase", "boot"])
def test_what_fails_is_not_live_and_the_old_one_stays(app: ReleaseApp, how: str) -> None:
    """Status 1, the reason, and not one request lost."""
    app.done("deploy")
    site = app.start()
    if how == "boot":
        app.sandbox.write("web.py", "import nothing_of_that_name\n")
    else:
        app.sandbox.write("bad", "")
    app.commit(101)
    with Load(site, 2) as load:
        status, text = app.procman("deploy")
        load.until_answered(2)
    assert status == 1
    why = "web.1 did not come up" if how == "boot" else "the release phase of v2 failed"
    assert why in text
    assert set(load.answers) == {(200, "100 top-secret")}
    assert [one["status"] for one in releases(app)] == ["failed", "succeeded"]
    assert site.row()["release"] == "v1"
    site.stop()


def test_what_cannot_go_back_at_once_runs_on_and_goes_back_when_it_can(
    app: ReleaseApp, tmp_path: Path
) -> None:
    """The new worker fails when web has moved, and the old web does not come up just then."""
    obstacle = tmp_path / "obstacle"
    app.sandbox.write("Procfile", PROCFILE.replace("web: ", f"web: test ! -e {obstacle} && "))
    app.commit(100)
    app.done("deploy")
    site = app.start()
    app.sandbox.write("Procfile", f"web: {WEB}\nworker: touch {obstacle}; exit 3\n")
    app.commit(101)
    with Load(site, 2) as load:
        assert app.procman("deploy")[0] == 1
        site.app.until("web.1 boot 3 did not come up, status 1; the old one stays")
        assert site.row()["release"] == "v2"
        obstacle.unlink()
        site.app.until("is ready, boot", 2)  # the first was the way there
        assert site.row()["release"] == "v1"
        load.until_answered(2)
    assert {answer[0] for answer in load.answers} == {200}
    assert site.get() == (200, "100 top-secret")
    site.stop()


def test_types_come_and_go_with_a_release(app: ReleaseApp) -> None:
    """And come back with the rollback."""
    app.done("deploy")
    site = app.start()
    app.sandbox.write("Procfile", f"web: {WEB}\nclock: echo ticks; exec sleep 9999\n")
    app.commit(101)
    app.done("deploy")
    assert site.get() == (200, "101 top-secret")
    shown = json.loads(site.done("ps", "--json"))
    assert [one["dyno"] for one in shown["dynos"]] == ["web.1", "clock.1"]
    app.done("rollback")
    shown = json.loads(site.done("ps", "--json"))
    assert [one["dyno"] for one in shown["dynos"]] == ["web.1", "worker.1"]
    site.stop()


def test_options_and_settings_may_name_types_that_only_another_release_has(
    app: ReleaseApp,
) -> None:
    """They are one set for all releases; what none has is still an error."""
    app.done("deploy")
    app.sandbox.write("Procfile", f"web: {WEB}\nclock: echo ticks; exec sleep 9999\n")
    app.sandbox.write(
        "procman.toml", "quiet = ['clock.2']\n[types.clock]\n[types.web]\nafter = ['clock']\n"
    )
    app.commit(101)
    app.done("deploy")
    site = app.start("-c", "clock=2,worker=3")
    app.done("rollback")
    shown = json.loads(site.done("ps", "--json"))
    dynos = ["web.1", "worker.1", "worker.2", "worker.3"]
    assert [one["dyno"] for one in shown["dynos"]] == dynos
    assert app.done("run", "release") == "releasing\n"
    app.done("rollback", "v2")
    shown = json.loads(site.done("ps", "--json"))
    assert [one["dyno"] for one in shown["dynos"]] == ["web.1", "clock.1", "clock.2"]
    site.stop()
    status, text = app.procman("start", "--release", "-c", "clok=2")
    assert status == 2
    assert "unknown process type 'clok'" in text


@pytest.mark.parametrize("options", [[], ["--no-router"]], ids=["routed", "direct"])
def test_a_release_has_the_ports_of_the_directory_and_its_release_type_stays_at_0(
    app: ReleaseApp, options: list[str]
) -> None:
    """Wherever `release` stands in the Procfile."""
    kept = "exec sleep 9999"
    app.sandbox.write("Procfile", f"release: true\nworker: {kept}\nweb: {kept}\nclock: {kept}\n")
    app.commit(100)
    app.done("deploy")
    base = free_port()
    ports = []
    for mode in ([], ["--release"]):
        running = app.sandbox.procman("start", *mode, *options, "-x", "web", "-p", str(base))
        running.until("clock.1 started")
        running.until("worker.1 started")
        dynos = json.loads(app.done("ps", "--json"))["dynos"]
        ports.append({one["dyno"]: one["port"] - base for one in dynos})
        app.done("scale", "all=1", "web=0")
        assert app.done("scale") == "release=0 worker=1 web=0 clock=1\n"
        status, text = app.procman("scale", "release=1")
        assert status == 1
        assert "the release type runs once before a release" in text
        running.send(signal.SIGTERM)
        assert running.finish() == 143
    assert ports == [{"worker.1": 100, "clock.1": 300}] * 2


def test_a_type_that_is_renamed_gets_the_port_when_the_old_one_has_ended(app: ReleaseApp) -> None:
    """There and back."""
    app.sandbox.write("holder.py", HOLDER)
    holder = f"exec {sys.executable} holder.py"
    app.sandbox.write("Procfile", f"web: {WEB}\napi: {holder}\n")
    app.commit(100)
    app.done("deploy")
    site = app.start()
    site.app.until("bound")
    app.sandbox.write("Procfile", f"web: {WEB}\nbackend: {holder}\n")
    app.commit(101)
    app.done("deploy")
    shown = json.loads(site.done("ps", "--json"))
    assert [(one["dyno"], one["restarts"]) for one in shown["dynos"]][1] == ("backend.1", 0)
    app.done("rollback")
    shown = json.loads(site.done("ps", "--json"))
    assert [(one["dyno"], one["restarts"]) for one in shown["dynos"]][1] == ("api.1", 0)
    site.stop()


def test_a_release_without_web_leaves_the_router_its_port(app: ReleaseApp) -> None:
    """The first of its types would have that where the app is started with it."""
    app.sandbox.write("holder.py", HOLDER)
    worker = f"worker: exec {sys.executable} holder.py\n"
    app.sandbox.write("Procfile", f"web: {WEB}\n{worker}")
    app.commit(100)
    app.done("deploy")
    site = app.start()
    site.app.until("bound")
    app.sandbox.write("Procfile", worker)
    app.commit(101)
    app.done("deploy")
    dynos = json.loads(site.done("ps", "--json"))["dynos"]
    assert [(one["dyno"], one["port"] - site.port) for one in dynos] == [("worker.1", 100)]
    site.stop()


def test_what_a_running_release_boots_from_is_not_pruned(app: ReleaseApp) -> None:
    """Though just now none of its dynos runs."""
    for version in (101, 102, 103):
        app.commit(version)
        app.done("deploy")
    port = free_port()
    running = app.sandbox.procman("start", "--release", "v1", "-p", str(port))
    running.until("web is at")
    site = Site(app.sandbox, running, port)
    site.done("wait")
    site.done("stop", "--wait", "web", "worker")
    assert "deleted" in app.done("slug", "prune", "--keep", "1")
    site.done("restart", "web", "--wait")
    assert site.get() == (200, "101 top-secret")
    site.stop()


def test_one_that_was_stopped_by_hand_stays_down_and_is_not_called_up(app: ReleaseApp) -> None:
    """Neither by the deploy nor in what it says."""
    app.done("deploy")
    site = app.start()
    site.done("stop", "worker.1", "--wait")
    app.commit(101)
    assert "       web.1 up\n" in app.done("deploy")
    shown = json.loads(site.done("ps", "--json"))
    assert {one["dyno"]: one["state"] for one in shown["dynos"]}["worker.1"] == "down"
    site.stop()


def test_each_dyno_has_a_copy_of_its_own_that_goes_with_it(app: ReleaseApp) -> None:
    """What one writes no other sees, nor the next boot, nor a one-off; nothing is left of it."""
    app.done("deploy")
    site = app.start("-c", "worker=2")
    site.app.until("works v1", 2)
    site.done("restart", "worker.1", "--wait")
    site.app.until("works v1", 3)
    site.stop()
    for dyno in ("worker.1", "worker.2"):
        assert "mine" in site.app.lines(dyno)
    text = app.done("run", "--release", "ls; cat lib.py; touch new; echo $PROCMAN_RELEASE")
    assert "mine" not in text
    assert text.splitlines()[-2:] == ["VERSION = 100", "v1"]
    assert not (app.root / "new").exists()
    app.done("slug", "prune")
    assert list((app.root / ".procman" / "copies").iterdir()) == []
    assert str(app.root) not in Path("/proc/self/mountinfo").read_text()


def test_secrets_stay_with_the_user(app: ReleaseApp, tmp_path: Path) -> None:
    """Not in a slug, not in what is printed; the ledger is the user's alone."""
    said = app.done("deploy") + app.done("releases") + app.done("releases", "--json")
    app.done("slug", "build", "-o", str(tmp_path / "app.tgz"))
    with tarfile.open(tmp_path / "app.tgz") as slug:
        assert not [name for name in slug.getnames() if ".env" in name]
    assert "top-secret" not in said
    assert (app.root / ".procman").stat().st_mode & 0o777 == 0o700
    assert (app.root / ".procman" / "releases.jsonl").stat().st_mode & 0o777 == 0o600


def test_an_app_that_runs_from_its_directory_runs_on(app: ReleaseApp) -> None:
    """The deploy says so."""
    port = app.sandbox.procman("start", "-p", "auto")
    port.until("works")
    assert "The app runs from its directory" in app.done("deploy")
    app.done("stop", "--wait")


# --- git push ---


def test_a_push_deploys_or_is_refused_with_the_reason(app: ReleaseApp) -> None:
    """Over a real git: the compile log comes to the pusher, the app moves over."""
    assert "git push procman main" in app.done("git", "init")
    pushed = app.git("push", "procman", "main")
    assert pushed.returncode == 0, pushed.stderr
    assert "remote: -----> Running release phase..." in pushed.stderr
    assert "remote: Deploying app... done, v1" in pushed.stderr
    site = app.start()
    app.commit(101)
    assert app.git("push", "procman", "main").returncode == 0
    assert site.get() == (200, "101 top-secret")
    app.sandbox.write("bad", "")
    app.commit(102)
    refused = app.git("push", "procman", "main")
    assert refused.returncode == 1
    assert "remote:  !     Push rejected: the release phase of v3 failed" in refused.stderr
    assert "pre-receive hook declined" in refused.stderr
    assert site.get() == (200, "101 top-secret")
    (app.root / "bad").unlink()
    app.sandbox.write("Procfile", f"{PROCFILE}web: twice\n")
    app.commit(103)
    refused = app.git("push", "procman", "main")
    assert refused.returncode == 1
    assert "Push rejected: Procfile:4: process type 'web' is defined twice" in refused.stderr
    app.sandbox.write("Procfile", PROCFILE)
    app.commit(104)
    assert app.git("push", "procman", "main").returncode == 0
    assert site.get() == (200, "104 top-secret")
    site.stop()


def test_a_push_to_an_app_that_was_moved_deploys(app: ReleaseApp) -> None:
    """With what `git init` once made of it, or, of an older procman, when it is done again."""
    app.done("git", "init")
    app.sandbox.root = app.root.rename(app.root.with_name("moved"))
    pushed = app.git("push", ".procman/repository.git", "main")
    assert "remote: Deploying moved... done, v1" in pushed.stderr
    gone = str(app.root.with_name("gone") / "hooks")
    app.git("-C", ".procman/repository.git", "config", "core.hooksPath", gone)
    app.done("git", "init")
    app.commit(101)
    pushed = app.git("push", "procman", "main")
    assert "remote: Deploying moved... done, v2" in pushed.stderr


def test_of_two_pushes_at_once_the_second_is_not_live_when_git_refuses_it(
    app: ReleaseApp, tmp_path: Path
) -> None:
    """What is pushed while another push is built would be lost from the branch."""
    app.done("git", "init")
    assert app.git("push", "procman", "main").returncode == 0
    compile_it = f"echo built; read line <{tmp_path}/gate"
    for name, what in (("detect", "echo slow"), ("compile", compile_it)):
        app.sandbox.write(f"bin/{name}", f"#!/bin/sh\n{what}\n").chmod(0o755)
    os.mkfifo(tmp_path / "gate")
    app.commit(101)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(app.git, "push", "procman", "main")
        with open(tmp_path / "gate", "w", encoding="ascii") as gate:
            app.done("deploy", "--slug", json.loads(app.done("slug", "list", "--json"))[0]["id"])
            gate.write("go\n")
        refused = slow.result(PATIENCE)
    assert refused.returncode == 1
    assert "Push rejected: v2 was made meanwhile" in refused.stderr
    assert len(releases(app)) == 2


# --- slugs ---


def test_the_same_tree_makes_the_same_bytes(app: ReleaseApp, tmp_path: Path) -> None:
    """In another directory, at another time, by another user; and GNU tar reads them."""
    first, second = tmp_path / "first.tgz", tmp_path / "second.tgz"
    app.done("slug", "build", "-o", str(first))
    other = tmp_path / "elsewhere" / "app"
    shutil.copytree(app.root, other, ignore=shutil.ignore_patterns(".procman"))
    for file in other.rglob("*"):
        os.utime(file, (1, 1), follow_symlinks=False)
    if os.geteuid() == 0:
        os.chown(other, 65534, 65534)
        for file in other.rglob("*"):
            os.chown(file, 65534, 65534, follow_symlinks=False)
    app.done("slug", "build", "-d", str(other), "-o", str(second))
    assert first.read_bytes() == second.read_bytes()
    listed = subprocess.run(["tar", "-tzf", first], capture_output=True, text=True, check=True)
    assert sorted(listed.stdout.split()) == sorted(
        ["./app/", "./app/.gitignore", "./app/Procfile", "./app/lib.py", "./app/web.py"]
    )
    assert "lib.py" in app.done("slug", "inspect", str(first))
    app.done("slug", "extract", str(first), str(tmp_path / "out"))
    assert (tmp_path / "out" / "web.py").read_bytes() == (app.root / "web.py").read_bytes()


@pytest.mark.parametrize(
    "name", ["../out", "/etc/out", "./app/../../out", "./app/link/out"], ids=str
)
def test_a_slug_that_leads_out_is_refused_and_nothing_is_written(
    app: ReleaseApp, tmp_path: Path, name: str
) -> None:
    """By every command that would unpack it."""
    evil = tmp_path / "evil.tgz"
    with tarfile.open(evil, "w:gz") as archive:
        app_directory = tarfile.TarInfo("./app")
        app_directory.type, app_directory.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(app_directory)
        if "link" in name:
            link = tarfile.TarInfo("./app/link")
            link.type, link.linkname = tarfile.SYMTYPE, "../../.."
            archive.addfile(link)
        archive.addfile(tarfile.TarInfo(name))
    for command in (
        ["slug", "extract", str(evil), str(tmp_path / "to")],
        ["deploy", "--slug", evil],
    ):
        app.procman(*map(str, command))
    assert not [path for path in tmp_path.rglob("out") if path.is_file()]
    assert not Path("/etc/out").exists()
    assert releases(app) == [] or releases(app)[0]["status"] == "failed"


def test_a_slug_that_was_altered_is_refused_by_its_checksum(app: ReleaseApp) -> None:
    """Before anything is touched: the dynos that run stay."""
    digest = app.done("slug", "build").splitlines()[-1]
    file = app.root / ".procman" / "slugs" / f"{digest}.tgz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    status, text = app.procman("deploy", "--slug", digest)
    assert status == 1
    assert "checksum" in text or "altered" in text or "corrupt" in text, text
    file.write_bytes(data[: len(data) // 2])
    assert app.procman("deploy", "--slug", digest)[0] == 1


# --- kill -9 ---

SEED = int(os.environ.get("PROCMAN_TEST_SEED", random.SystemRandom().randrange(10**6)))


def test_killed_at_any_moment_the_next_command_finds_all_in_order(app: ReleaseApp) -> None:
    """Build, deploy and rollback: no half release, no half slug, no copy or mount left."""
    print(f"PROCMAN_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    app.done("deploy")
    app.commit(101)
    app.done("deploy")
    site = app.start()
    for turn in range(12):
        version = 200 + turn
        command = chance.choice([["deploy"], ["rollback"], ["slug", "build"]])
        app.commit(version)
        running = app.sandbox.procman(*command)
        _let_run(running.process.pid, chance.randrange(400))
        os.killpg(running.process.pid, signal.SIGKILL)
        running.finish()
        told = releases(app)
        assert {one["status"] for one in told[1:]} <= {"succeeded", "failed"}
        assert [one["version"] for one in told] == list(range(len(told), 0, -1))
        assert site.get()[0] == 200
    app.commit(300)
    app.done("deploy")
    assert site.get() == (200, "300 top-secret")
    site.stop()
    app.done("slug", "prune")
    home = app.root / ".procman"
    for slug in (home / "slugs").glob("*.tgz"):
        assert app.procman("slug", "inspect", slug.stem)[0] == 0
    assert list((home / "copies").iterdir()) == []
    assert str(app.root) not in Path("/proc/self/mountinfo").read_text()


def _let_run(pid: int, ticks: int) -> None:
    """Until the process has used so many milliseconds of a processor, or has ended: another moment
    of its work for each, however busy the machine is.
    """
    while True:
        try:
            with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
                used = int(file.read().split()[0]) / 1e6
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except OSError:
            return
        if used >= ticks:
            return
