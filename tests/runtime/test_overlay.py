"""Each boot has a copy of its own: no other sees what it writes, and it is gone with the dyno."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from procman.core.slug import Metadata
from procman.errors import SlugError
from procman.runtime.slugs import overlay_mount
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.overlay import ENTER, Copies, Copy, Means
from procman.runtime.slugs.scratch import TRASH, sweep
from procman.runtime.slugs.store import SlugStore


@pytest.fixture(params=["app", "a,b:c\\d e'\u00e9"], ids=["plain name", "odd name"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SlugStore]:
    """An app whose directory's name overlay's options could take apart; no mount outlives it."""
    root = tmp_path / str(request.param)
    (root / "sub").mkdir(parents=True)
    (root / "file").write_text("slug")
    (root / "sub/deep").write_text("slug")
    (root / "run").write_text("#!/bin/sh\necho ran\n")
    (root / "run").chmod(0o755)
    store = SlugStore(root)
    yield store
    for copy in store.copies.glob("*/app"):
        overlay_mount.unmount(str(copy))


@pytest.fixture
def slug(store: SlugStore) -> Metadata:
    return build(store, Order(), Log(lambda text: None))


@pytest.fixture(params=list(Means), ids=lambda means: means.name.lower())
def copies(store: SlugStore, slug: Metadata, request: pytest.FixtureRequest) -> Copies:
    """By each means that this machine and this user have; the others are skipped by name."""
    means = request.param
    assert isinstance(means, Means)
    if means is Means.MOUNT and os.geteuid() != 0:
        with pytest.raises(SlugError, match=r"cannot make a copy for web\.1: .*not permitted"):
            Copies(store, means).copy_for(slug.id, "web.1", 1)
        pytest.skip("an ordinary user cannot mount: refused, as it must be")
    copies = Copies(store, means)
    if means is Means.NAMESPACE:
        probe = copies.copy_for(slug.id, "probe.1", 1)
        result = subprocess.run([*probe.argv_prefix, "true"], capture_output=True, check=False)
        probe.close()
        if result.returncode == overlay_mount.CANNOT_START:
            pytest.skip(f"no overlay in a user namespace here: {result.stderr.decode().strip()}")
    return copies


def sh(copy: Copy, command: str, **environment: str) -> str:
    """What a dyno would do: the command, by the shell, in the copy."""
    result = subprocess.run(
        [*copy.argv_prefix, "/bin/sh", "-c", command],
        env={**os.environ, "PWD": "/elsewhere", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout


def test_what_one_dyno_writes_no_other_sees(copies: Copies, slug: Metadata) -> None:
    """Files written in place, made, removed and renamed: all its own."""
    one, two = (copies.copy_for(slug.id, "web.1", boot) for boot in (1, 2))
    spoilt = "echo mine >> file; echo x > new; rm run; mv sub/deep sub/moved; cat file new; ls sub"
    assert sh(one, spoilt) == "slugmine\nx\nmoved\n"
    assert sh(two, "cat file sub/deep; ./run; ls") == "slugslugran\nfile\nrun\nsub\n"
    one.close()
    two.close()
    fresh = copies.copy_for(slug.id, "web.1", 3)
    assert sh(fresh, "cat file; ls") == "slugfile\nrun\nsub\n"
    fresh.close()


def test_a_directory_of_the_slug_can_be_moved(copies: Copies, slug: Metadata) -> None:
    """In a user namespace by copying, as between file systems; else at once."""
    copy = copies.copy_for(slug.id, "web.1", 1)
    rename = f'{sys.executable} -c \'import os; os.rename("sub", "other")\' 2>/dev/null'
    assert sh(copy, f"{rename} || echo EXDEV") == (
        "EXDEV\n" if copies.means is Means.NAMESPACE else ""
    )
    assert sh(copies.copy_for(slug.id, "web.1", 2), "mv sub other; cat other/deep") == "slug"
    copy.close()


def test_a_closed_copy_is_gone_and_its_rest_is_swept(
    copies: Copies, slug: Metadata, store: SlugStore
) -> None:
    """At once by name, later from the disk; twice does no harm."""
    copy = copies.copy_for(slug.id, "web.1", 1)
    sh(copy, "mkdir -p a/b; echo x > a/b/c; chmod 500 a/b; chmod 0 a")
    copy.close()
    copy.close()
    assert list(store.copies.iterdir()) == []
    assert not copy.path.exists()
    copies.sweep()
    if copies.means is Means.FILES:  # a whole tree: deleting it may wait
        assert len(sweep(store.temporary, TRASH)) == 1
    assert list(store.temporary.iterdir()) == []
    assert (store.expanded(slug.id) / "file").read_text() == "slug"


def test_a_dyno_runs_as_the_same_user_in_the_same_environment(
    copies: Copies, slug: Metadata
) -> None:
    """With nothing that stands between: no capability, no ignored signal, no variable more."""
    copy = copies.copy_for(slug.id, "web.1", 1)
    asked = "id -u; id -g; grep -E 'CapEff|SigIgn|SigBlk' /proc/self/status; env | sort; pwd"
    seen = sh(copy, f"unset OLDPWD; {asked}", LC_ALL="", LANG="C").splitlines()
    plain = subprocess.run(
        [*ENTER, str(copy.path), "/bin/sh", "-c", f"unset OLDPWD; {asked}"],
        env={**os.environ, "PWD": str(copy.path), "LC_ALL": "", "LANG": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert [line for line in seen if "CapEff" not in line] == [
        line for line in plain if "CapEff" not in line
    ]
    if os.geteuid() != 0:
        assert seen[2:4] == plain[2:4]
    copy.close()


def test_the_status_of_the_command_is_the_dynos(copies: Copies, slug: Metadata) -> None:
    """And a command that is not there is told as a shell tells it."""
    for script, status in (("exit 7", 7), ("kill -TERM $$", -15), ("exec ./nowhere 2>&-", 127)):
        copy = copies.copy_for(slug.id, "web.1", 1)
        argv = [*copy.argv_prefix, "/bin/sh", "-c", script]
        assert subprocess.run(argv, check=False).returncode == status
        copy.close()


def test_modes_are_the_slugs(copies: Copies, slug: Metadata) -> None:
    """Whatever the umask was."""
    before = os.umask(0o077)
    try:
        copy = copies.copy_for(slug.id, "web.1", 1)
    finally:
        os.umask(before)
    assert sh(copy, "stat -c %a . file run sub") == "755\n644\n755\n755\n"
    copy.close()


KILLED = """
import os, signal, subprocess, sys
from procman.runtime.slugs.overlay import Copies, Means
from procman.runtime.slugs.store import SlugStore
copy = Copies(SlugStore(sys.argv[1]), Means[sys.argv[2]]).copy_for(sys.argv[3], "web.1", 1)
dyno = subprocess.Popen([*copy.argv_prefix, "/bin/sh", "-c", "echo x > new; echo up; exec cat"],
                        stdin=sys.stdin, stdout=subprocess.PIPE)
dyno.stdout.readline()  # from now on it writes nothing that a sweep could meet
os.waitid(os.P_PID, dyno.pid, os.WNOWAIT | os.WEXITED) if sys.argv[4] == "after" else None
print("copied", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("dyno", ["after", "before"])
def test_copies_of_a_killed_procman_are_swept_by_the_next_command(
    copies: Copies, slug: Metadata, store: SlugStore, dyno: str
) -> None:
    """Unmounted and deleted, also when a dyno of it still holds them; the slug's tree is whole."""
    assert copies.means is not None
    living = copies.copy_for(slug.id, "worker.1", 1)
    holding, release = os.pipe()
    if dyno == "after":
        os.close(release)
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.root), copies.means.name, slug.id, dyno],
        stdin=holding,
        capture_output=dyno == "after",
        check=False,
    )
    assert result.returncode == -9
    assert len(list(store.copies.iterdir())) == 2
    copies.sweep()
    assert list(store.copies.iterdir()) == [living.path.parent]
    if dyno == "before":
        os.close(release)
    os.close(holding)
    assert sh(living, "cat file") == "slug"
    mounts = Path("/proc/self/mountinfo").read_text()
    assert mounts.count(str(store.copies / "web")) == 0
    assert (store.expanded(slug.id) / "file").read_text() == "slug"
    living.close()


KILLED_AT_THE_PROBE = """
import os, signal, sys
from procman.runtime.slugs import overlay
from procman.runtime.slugs.store import SlugStore
overlay.subprocess.run = lambda *given, **more: os.kill(os.getpid(), signal.SIGKILL)
overlay.Copies(SlugStore(sys.argv[1])).copy_for(sys.argv[2], "web.1", 1)
"""


def test_a_probe_of_a_killed_procman_is_swept_by_the_next_command(
    store: SlugStore, slug: Metadata
) -> None:
    """Its mount too, in which the next command must not delete files."""
    argv = [sys.executable, "-c", KILLED_AT_THE_PROBE, str(store.root), slug.id]
    assert subprocess.run(argv, check=False).returncode == -9
    Copies(store).sweep()
    assert list(store.copies.iterdir()) == []
    assert list(store.temporary.iterdir()) == []
    assert str(store.home) not in Path("/proc/self/mountinfo").read_text()
    assert (store.expanded(slug.id) / "file").read_text() == "slug"


def test_the_best_means_is_found_and_the_probe_leaves_nothing(
    store: SlugStore, slug: Metadata
) -> None:
    """Once, with the first copy."""
    copies = Copies(store)
    copy = copies.copy_for(slug.id, "web.1", 1)
    assert copies.means is not None
    assert os.geteuid() == 0 or copies.means is not Means.MOUNT
    assert sh(copy, "cat file") == "slug"
    copy.close()
    copies.sweep()
    sweep(store.temporary, TRASH)
    assert list(store.temporary.iterdir()) == []


def test_a_slug_in_use_is_not_pruned(copies: Copies, slug: Metadata, store: SlugStore) -> None:
    """A dyno's copy stands on it."""
    copy = copies.copy_for(slug.id, "web.1", 1)
    assert store.prune(set()) == []
    assert sh(copy, "cat file") == "slug"
    copy.close()
    assert store.prune(set()) == [slug]
    with pytest.raises(SlugError, match="is gone"):
        copies.copy_for(slug.id, "web.1", 2)
    assert list(store.copies.iterdir()) == []
