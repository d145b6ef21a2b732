"""Classic buildpacks compile a copy of the source; one that fails leaves no slug."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from procman.core.environment import COOKIE
from procman.core.slug import Metadata
from procman.errors import ProcmanError
from procman.runtime.boots import cookie_of
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.build_step import run
from procman.runtime.slugs.scratch import DELETE_AFTER, Claim
from procman.runtime.slugs.store import SlugStore


@dataclass
class App:
    """An app in a directory, and what its builds have said."""

    root: Path
    said: list[str] = field(default_factory=list)

    def build(self, *packs: Path, limit: float = 60.0, **config_vars: str) -> Metadata:
        order = Order(buildpacks=packs, config_vars=config_vars, compile_limit=limit)
        return build(self.store, order, Log(self.said.append))

    @property
    def store(self) -> SlugStore:
        return SlugStore(self.root)

    @property
    def log(self) -> str:
        return "".join(self.said)

    def read(self, slug: Metadata, name: str) -> str:
        return (self.store.expanded(slug.id) / name).read_text()


@pytest.fixture
def app(tmp_path: Path) -> App:
    root = tmp_path / "app"
    (root / "test").mkdir(parents=True)
    (root / "app.py").write_text("1")
    (root / "test/t.py").write_text("1")
    (root / ".env").write_text("SECRET=1")
    (root / ".slugignore").write_text("/test\n*.o\n")
    return App(root)


def make_pack(place: Path, name: str, compile: str, **others: str) -> Path:
    """A buildpack by shell scripts; it detects every app unless told otherwise."""
    pack = place / name
    scripts = {"detect": f"echo {name}", "compile": compile, **others}
    (pack / "bin").mkdir(parents=True)
    for script, text in scripts.items():
        (pack / "bin" / script).write_text(f"#!/bin/sh\n{text}\n")
        (pack / "bin" / script).chmod(0o755)
    return pack


def test_a_buildpack_adds_to_a_copy_of_the_source(app: App, tmp_path: Path) -> None:
    """Without what .slugignore names; what it makes itself is packed whatever that says."""
    pack = make_pack(tmp_path, "toy", 'ls -A "$1"; echo built > "$1/made.o"; rm "$1/app.py"')
    slug = app.build(pack)
    assert app.read(slug, "made.o") == "built\n"
    assert "-----> toy app detected\napp.py\n----->" in app.log
    assert not (app.store.expanded(slug.id) / "app.py").exists()
    assert (app.root / "app.py").exists()
    assert not (app.root / "made.o").exists()
    assert slug.buildpack_provided_description == "toy"


def test_config_vars_are_files_in_env_dir_and_nowhere_else(app: App, tmp_path: Path) -> None:
    """Not in the environment, not in the slug."""
    pack = make_pack(tmp_path, "toy", 'cat "$3/TOKEN"; echo " [$TOKEN]"; ls "$3"')
    slug = app.build(pack, TOKEN="s3cret", WITH_SPACE="a b")
    assert "s3cret []\nTOKEN\nWITH_SPACE\n" in app.log
    assert b"s3cret" not in app.store.path_of(slug.id).read_bytes()
    assert [path for path in app.store.temporary.rglob("*") if path.name == "TOKEN"] == []


def test_the_cache_is_kept_between_builds_and_is_each_buildpacks_own(
    app: App, tmp_path: Path
) -> None:
    """What is slow is done once."""
    count = 'echo x >> "$2/count"; wc -l < "$2/count"'
    one, two = make_pack(tmp_path, "one", count), make_pack(tmp_path / "x", "one", count)
    app.build(one)
    app.build(one, two)
    lines = [line.strip() for line in app.log.splitlines()]
    assert [line for line in lines if line.isdigit()] == ["1", "2", "1"]


def test_process_types_come_from_bin_release_and_the_procfile_wins(
    app: App, tmp_path: Path
) -> None:
    """Heroku's `default_process_types`."""
    types = "echo 'default_process_types:'; echo '  web: default'; echo '  clock: tick'"
    pack = make_pack(tmp_path, "toy", "", release=types)
    assert app.build(pack).process_types == {"web": "default", "clock": "tick"}
    (app.root / "Procfile").write_text("web: mine\n")
    assert app.build(pack).process_types == {"web": "mine", "clock": "tick"}


def test_the_procfiles_types_come_first(app: App, tmp_path: Path) -> None:
    """The order gives the ports, and `web` is where it is without the buildpack."""
    types = "echo 'default_process_types:'; echo '  clock: tick'; echo '  web: default'"
    pack = make_pack(tmp_path, "toy", "", release=types)
    (app.root / "Procfile").write_text("web: mine\nworker: work\n")
    assert list(app.build(pack).process_types) == ["web", "worker", "clock"]
    assert "       Default types for buildpack -> clock\n" in app.log


def test_what_follows_an_unfinished_line_begins_a_new_one(app: App, tmp_path: Path) -> None:
    """A heading, an error."""
    app.build(make_pack(tmp_path, "toy", "printf 'no newline\\303'"))
    assert "\nno newline\N{REPLACEMENT CHARACTER}\n-----> " in app.log


def test_a_later_buildpack_sees_what_an_earlier_one_exports(app: App, tmp_path: Path) -> None:
    """By the `export` script that Heroku's buildpacks leave in their own directory."""
    first = make_pack(tmp_path, "one", 'echo "export TOOL=\'here it is\'" > "${0%/bin/*}/export"')
    second = make_pack(tmp_path, "two", 'echo "TOOL=$TOOL"')
    assert app.build(first, second).buildpack_provided_description == "one, two"
    assert "TOOL=here it is\n" in app.log


def test_the_apps_own_bin_compile_is_used(app: App) -> None:
    """Heroku's inline buildpack."""
    for script, text in (("detect", "echo inline"), ("compile", 'echo hi > "$1/made"')):
        path = app.root / "bin" / script
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    slug = app.build()
    assert app.read(slug, "made") == "hi\n"
    assert slug.buildpack_provided_description == "inline"


def test_a_failing_compile_shows_its_output_and_makes_no_slug(app: App, tmp_path: Path) -> None:
    """The status is told, and nothing of it is left."""
    pack = make_pack(tmp_path, "toy", "echo 'no such module'; echo bad >&2; exit 3")
    with pytest.raises(ProcmanError, match="the buildpack toy failed: bin/compile exited with st"):
        app.build(pack)
    assert "no such module\nbad\n" in app.log
    assert app.store.all() == []
    assert list(app.store.temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("scripts", "complaint"),
    [
        ({"detect": "echo not mine; exit 1"}, "does not take this app"),
        ({"compile": "kill -9 $$"}, "bin/compile was ended by SIGKILL"),
        ({"compile": "", "release": "exit 2"}, "bin/release exited with status 2"),
        ({"compile": "", "release": "echo 'default_process_types: [x]'"}, "toy/bin/release:1"),
    ],
)
def test_every_other_failure_is_told(
    app: App, tmp_path: Path, scripts: dict[str, str], complaint: str
) -> None:
    """And makes no slug either."""
    pack = make_pack(tmp_path, "toy", **{"compile": "", **scripts})
    with pytest.raises(ProcmanError, match=complaint):
        app.build(pack)
    assert app.store.all() == []


def test_what_is_no_buildpack_is_told(app: App, tmp_path: Path) -> None:
    """By the program that is missing."""
    with pytest.raises(ProcmanError, match=r"cannot run .*/bin/detect: No such file"):
        app.build(tmp_path)


def test_a_compile_that_takes_too_long_is_ended_with_all_it_started(
    app: App, tmp_path: Path
) -> None:
    """Heroku gives 15 minutes; this one a moment."""
    pack = make_pack(tmp_path, "toy", "echo begun; cat /dev/zero > /dev/null & wait")
    with pytest.raises(ProcmanError, match="the buildpack toy took longer than"):
        app.build(pack, limit=0.3)
    assert "begun\n" in app.log


def test_what_a_compile_leaves_in_the_background_neither_holds_us_nor_lives_on(
    tmp_path: Path,
) -> None:
    """The exit is the leader's, though another still holds the pipe."""
    said = bytearray()
    script = "(trap '' TERM HUP; exec sleep 600) & echo $!"
    assert run(["/bin/sh", "-c", script], tmp_path, marked(), 60.0, said.extend) == 0
    wait_for_the_end_of(int(said))


def test_what_a_compile_leaves_in_another_session_does_not_live_on(tmp_path: Path) -> None:
    """A build tool's daemon."""
    os.mkfifo(tmp_path / "told")
    said = bytearray()
    script = "setsid sh -c 'echo $$ >told; exec sleep 600' & cat told"
    assert run(["/bin/sh", "-c", script], tmp_path, marked(), 60.0, said.extend) == 0
    wait_for_the_end_of(int(said))


def marked() -> dict[str, str]:
    """Our environment, with a cookie of its own."""
    return {**os.environ, COOKIE: cookie_of(os.urandom(16).hex(), "build", 1)}


KILLED = """
import os, signal, sys
from pathlib import Path
from procman.runtime.slugs.build_step import run
def killed(data):
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
script = "trap '' HUP TERM; sleep 600 & a=$!; setsid sleep 600 & echo $$ $a $!; wait"
variables = {**os.environ, "PROCMAN_COOKIE": os.urandom(16).hex() + ".build.1."}
run(["/bin/sh", "-c", script], Path("/"), variables, 600.0, killed)
"""


def test_a_compile_does_not_outlive_a_killed_procman() -> None:
    """It would go on writing into a tree that is swept, and into the cache of the next build."""
    result = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, check=False)
    assert result.returncode == -9
    for pid in result.stdout.split():
        wait_for_the_end_of(int(pid))


def wait_for_the_end_of(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # gone, and reaped by init
    ended, _, _ = select.select([process], [], [], 30.0)
    os.close(process)
    assert ended


def test_two_builds_at_once_are_one_too_many(app: App, tmp_path: Path) -> None:
    """They would share the cache."""
    pack = make_pack(tmp_path, "toy", "")
    app.store.prepare()
    app.store.build_cache.mkdir()
    lock = os.open(app.store.build_cache, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(ProcmanError, match="another build of this app is going on"):
        app.build(pack)
    os.close(lock)
    app.build(pack)


def test_output_comes_in_whole_characters(app: App, tmp_path: Path) -> None:
    """However it is cut into writes, and whatever it is."""
    pack = make_pack(tmp_path, "toy", "printf '\\303'; sleep 0; printf '\\251\\377\\n'")
    app.build(pack)
    assert "é\ufffd\n" in app.log


def test_the_source_is_copied_with_modes_times_and_links(app: App, tmp_path: Path) -> None:
    """What make and other tools go by."""
    os.utime(app.root / "app.py", (1_000_000_000, 1_000_000_000))
    (app.root / "run").write_text("#!/bin/sh\n")
    (app.root / "run").chmod(0o755)
    (app.root / "link").symlink_to("app.py")
    show = 'cd "$1"; stat -c "%n %a %Y" app.py; test -x run && readlink link; ls -A'
    app.build(make_pack(tmp_path, "toy", show))
    assert "app.py 644 1000000000\napp.py\napp.py\nlink\nrun\n" in app.log


def test_what_cannot_be_copied_is_left_out_with_a_warning(app: App, tmp_path: Path) -> None:
    """As when it is packed."""
    os.mkfifo(app.root / "pipe")
    app.build(make_pack(tmp_path, "toy", ""))
    assert app.log.startswith(" !     pipe is a fifo and is left out\n")


def test_what_a_killed_build_left_is_swept_and_the_trees_of_the_last_are_left_for_later(
    app: App, tmp_path: Path
) -> None:
    """Deleting a tree would slow the expansion that a deploy goes on to."""
    app.build(make_pack(tmp_path, "toy", ""))
    left = Claim(app.store.temporary, "build-")
    (left.path / "x").write_text("x")
    left.leave()
    app.store.sweep()
    (trash,) = app.store.temporary.iterdir()
    assert (trash / "app.py").exists()
    long_ago = trash.stat().st_mtime - DELETE_AFTER - 1
    os.utime(trash, (long_ago, long_ago))
    app.store.sweep()
    assert list(app.store.temporary.iterdir()) == []
