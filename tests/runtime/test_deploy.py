"""A release goes live after its release phase, or is settled as failed and the old one stays."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from procman.core.environment import COOKIE
from procman.core.release import Release, Status, current
from procman.core.slug import Metadata
from procman.errors import ProcmanError
from procman.runtime.releases.deploy import Deploy
from procman.runtime.releases.ledger import INTERRUPTED, Ledger
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.overlay import Copies
from procman.runtime.slugs.store import SlugStore


@dataclass
class App:
    """An app, what its deploys say, and what they take live."""

    root: Path
    said: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)

    @property
    def store(self) -> SlugStore:
        return SlugStore(self.root)

    @property
    def log(self) -> str:
        return "".join(self.said)

    def releases(self) -> tuple[Release, ...]:
        return Ledger(self.store).read()

    def slug(self, procfile: str = "web: x\n") -> Metadata:
        (self.root / "Procfile").write_text(procfile)
        return build(self.store, Order(), Log(lambda text: None))

    def deploys(self, limit: float = 60.0) -> Deploy:
        return Deploy(
            self.store,
            Copies(self.store),
            Log(self.said.append),
            lambda release: {**os.environ, COOKIE: f"{uuid4().hex}.", **release.config_vars},
            lambda release: self.live.append(release.name),
            limit,
        )


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


def test_a_deploy_is_a_release_that_is_live(app: App) -> None:
    """Described as Heroku does."""
    slug = app.slug()
    release = app.deploys().deploy(slug, {"A": "1"})
    assert (release.name, release.status, release.slug) == ("v1", Status.SUCCEEDED, slug.id)
    assert release.description == f"Deploy {slug.id[:7]}"
    assert app.live == ["v1"]
    assert app.releases() == (release,)
    assert app.store.expanded(slug.id).is_dir()


def test_the_release_phase_runs_once_in_a_copy_with_the_config_vars(app: App) -> None:
    """Before the release goes live, its output shown; what it writes nobody sees."""
    slug = app.slug('web: x\nrelease: echo "migrating $DB"; echo x > made; pwd >&2\n')
    app.deploys().deploy(slug, {"DB": "prod"}, "A new table")
    lines = app.log.splitlines()
    assert lines[:2] == ["-----> Running release phase...", "migrating prod"]
    assert lines[2].startswith(str(app.store.copies / "release.1.1-"))
    assert not (app.store.expanded(slug.id) / "made").exists()
    assert list(app.store.copies.iterdir()) == []
    assert app.releases()[0].description == "A new table"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo no; exit 3", "the release phase of v2 failed: exited with status 3"),
        ("kill -9 $$", "the release phase of v2 failed: was ended by SIGKILL"),
        ("sleep 600", "the release phase of v2 failed: took too long"),
    ],
)
def test_a_failed_release_phase_leaves_the_old_release_live(
    app: App, command: str, reason: str
) -> None:
    """And says how it failed."""
    app.deploys().deploy(app.slug(), {})
    slug = app.slug(f"web: x\nrelease: {command}\n")
    with pytest.raises(ProcmanError, match=reason):
        app.deploys(limit=0.5).deploy(slug, {"SECRET": "hunter2"})
    failed = app.releases()[1]
    assert (failed.status, failed.reason) == (Status.FAILED, reason)
    assert app.live == ["v1"]
    live = current(app.releases())
    assert live is not None
    assert live.name == "v1"
    assert "hunter2" not in app.log


def test_a_release_that_does_not_come_up_is_failed(app: App) -> None:
    """With the reason that the running app gives."""
    slug = app.slug()
    deploys = app.deploys()

    def refuse(release: Release) -> None:
        raise ProcmanError("web.1 crashed at once")

    broken = Deploy(deploys.store, deploys.copies, deploys.log, deploys.environment_of, refuse)
    with pytest.raises(ProcmanError, match="web\\.1 crashed"):
        broken.deploy(slug, {})
    assert app.releases()[0].reason == "web.1 crashed at once"


def test_an_interrupted_deploy_is_settled_at_once(app: App) -> None:
    """By Ctrl-C."""
    slug = app.slug()
    deploys = app.deploys()

    def interrupt(release: Release) -> None:
        raise KeyboardInterrupt

    broken = Deploy(deploys.store, deploys.copies, deploys.log, deploys.environment_of, interrupt)
    with pytest.raises(KeyboardInterrupt):
        broken.deploy(slug, {})
    assert app.releases()[0].reason == INTERRUPTED


def test_a_rollback_releases_the_old_slug_with_its_old_config_vars(app: App) -> None:
    """Release phase and all."""
    first = app.slug('web: one\nrelease: echo "phase of $N"\n')
    app.deploys().deploy(first, {"N": "1"})
    app.deploys().deploy(app.slug("web: two\n"), {"N": "2"})
    back = app.deploys().roll_back()
    assert (back.name, back.description) == ("v3", "Rollback to v1")
    assert (back.slug, back.config_vars, back.process_types["web"]) == (first.id, {"N": "1"}, "one")
    assert app.log.count("phase of 1") == 2
    assert app.live == ["v1", "v2", "v3"]


def test_a_rollback_to_a_pruned_slug_fails_and_says_so(app: App) -> None:
    """The ledger remembers more than the disk."""
    app.deploys().deploy(app.slug(), {})
    second = app.slug("web: two\n")
    app.deploys().deploy(second, {})
    app.store.prune({second.id})
    with pytest.raises(ProcmanError, match="is gone"):
        app.deploys().roll_back()
    assert app.releases()[2].status is Status.FAILED


def test_profile_scripts_are_sourced_before_the_command(app: App) -> None:
    """By bash, in order, with HOME as the app's directory; the command is the shell's."""
    profile = app.root / ".profile.d"
    profile.mkdir()
    (profile / "a.sh").write_text('export TOOLS="$HOME/tools"; list=(a b); export N=${#list[@]}\n')
    (profile / "b.sh").write_text('export N="$N then b"\n')
    (app.root / ".profile").write_text('export N="$N then profile"\n')
    slug = app.slug('web: x\nrelease: echo "$N; it\'s ${TOOLS#$PWD}"; test -z "$BASH_VERSION"\n')
    app.deploys().deploy(slug, {"N": "0"})
    assert app.log.splitlines()[1] == "2 then b then profile; it's /tools"


KILLED = """
import os, signal, sys
left = int(sys.argv[2])
def count(event, arguments):
    global left
    if arguments and str(arguments[0]).startswith("/proc"):
        return  # a look at all processes, of which there are now more, now fewer
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "fcntl.flock",
                 "subprocess.Popen", "tempfile.mkdtemp", "shutil.rmtree", "os.utime"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from procman.runtime.releases.deploy import Deploy
from procman.runtime.slugs.overlay import Copies, Means
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.store import SlugStore
import isal.igzip_threaded, procman.core.procfile, procman.runtime.slugs.tree_copy, selectors
store = SlugStore(sys.argv[1])
sys.addaudithook(count)
for text in "abc":
    with open(sys.argv[1] + "/text", "w") as file:
        file.write(text)
    slug = build(store, Order(), Log(lambda text: None))
    deploys = Deploy(store, Copies(store, Means.FILES), Log(lambda text: None),
                     lambda release: {**os.environ, "PROCMAN_COOKIE": os.urandom(16).hex() + "."},
                     lambda release: print(release.name, flush=True))
    deploys.deploy(slug, {"TEXT": text})
deploys.roll_back("v1")
print(left)
"""


def run_killed(root: Path, after: int) -> subprocess.CompletedProcess[str]:
    (root / "Procfile").write_text("web: x\nrelease: true\n")
    argv = [sys.executable, "-c", KILLED, str(root), str(after)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many moments there are from the first to the last."""
    whole = run_killed(tmp_path_factory.mktemp("count"), 10**9)
    *said, left = whole.stdout.split()
    assert said == ["v1", "v2", "v3", "v4"], whole.stderr
    return 10**9 - int(left)


@pytest.mark.parametrize("share", [(n + 0.4) / 12 for n in range(12)])
def test_kill_9_anywhere_in_a_deploy_leaves_a_consistent_ledger(
    app: App, share: float, steps: int
) -> None:
    """The next deploy goes on from the last release that was live."""
    killed = run_killed(app.root, 1 + int(share * steps))
    assert killed.returncode == -9, killed.stderr
    said = killed.stdout.split()
    succeeded = [r for r in app.releases() if r.status is Status.SUCCEEDED]
    assert len(said) - len(succeeded) in (0, 1)
    for release in succeeded:
        assert release.slug is not None
        tree = app.store.expanded(release.slug)
        assert (tree / "text").read_text() == release.config_vars["TEXT"]
    Copies(app.store).sweep()
    assert list(app.store.copies.iterdir() if app.store.copies.exists() else ()) == []
    release = app.deploys().deploy(app.slug(), {})
    assert release.status is Status.SUCCEEDED
    assert [r.version for r in app.releases()] == list(range(1, release.version + 1))
    assert not [r for r in app.releases() if r.status is Status.PENDING]
