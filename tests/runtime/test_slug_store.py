"""The store holds whole slugs only, whatever is killed, and forgets what nobody needs."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from procman.core.slug import Metadata
from procman.errors import SlugError
from procman.runtime.slugs import scratch
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.expand import verify
from procman.runtime.slugs.file import adopt, extract, look_into, metadata_beside, write_out
from procman.runtime.slugs.scratch import TRASH, Claim, claimed, discard, remove_tree, sweep
from procman.runtime.slugs.store import SlugStore


def silent(text: str) -> None:
    pass


def make_app(root: Path, text: str = "1") -> SlugStore:
    (root / "lib").mkdir(parents=True, exist_ok=True)
    (root / "Procfile").write_text("web: python app.py\nworker: sleep 1\n")
    (root / "app.py").write_text(text)
    for n in range(20):
        (root / f"lib/{n}").write_text(f"{text} {n}" * 100)
    return SlugStore(root)


def build_one(store: SlugStore) -> Metadata:
    return build(store, Order(), Log(silent))


def test_a_build_is_listed_with_its_process_types(tmp_path: Path) -> None:
    """And the log reads as Heroku's does."""
    said: list[str] = []
    store = make_app(tmp_path)
    slug = build(store, Order(), Log(said.append))
    assert store.all() == [slug]
    assert slug.process_types == {"web": "python app.py", "worker": "sleep 1"}
    verify(store.path_of(slug.id), slug.id)
    assert slug.size == store.path_of(slug.id).stat().st_size
    assert "".join(said).splitlines()[:3] == [
        "-----> Discovering process types",
        "       Procfile declares types -> web, worker",
        "-----> Compressing...",
    ]
    assert list(store.temporary.iterdir()) == []


def test_the_home_is_private_and_invisible_to_git(tmp_path: Path) -> None:
    """It will hold secrets."""
    store = make_app(tmp_path)
    slug = build_one(store)
    assert store.home.stat().st_mode & 0o777 == 0o700
    assert (store.home / ".gitignore").read_text() == "*\n"
    assert store.path_of(slug.id).stat().st_mode & 0o777 == 0o600


def test_building_twice_keeps_one_slug(tmp_path: Path) -> None:
    """The store's own files are no part of the app."""
    store = make_app(tmp_path)
    assert build_one(store).id == build_one(store).id
    assert len(store.all()) == 1


def test_a_slug_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    """As a git commit is, and never by a path."""
    store = make_app(tmp_path)
    slug = build_one(store)
    assert store.get(slug.id[:8]) == slug
    for wrong in ("", "zz", "../" + slug.id):
        with pytest.raises(SlugError, match="begins with"):
            store.get(wrong)
    with pytest.raises(SlugError, match="is not a slug's id"):
        store.path_of("../../etc/passwd")


def test_a_slug_is_expanded_once(tmp_path: Path) -> None:
    """The second time it is there."""
    store = make_app(tmp_path)
    slug = build_one(store)
    tree = store.expanded(slug.id)
    assert (tree / "app.py").read_text() == "1"
    inode = tree.stat().st_ino
    assert store.expanded(slug.id).stat().st_ino == inode


def test_a_tree_of_an_earlier_boot_of_the_machine_is_expanded_anew(tmp_path: Path) -> None:
    """A power failure may have emptied some of its files."""
    store = make_app(tmp_path)
    slug = build_one(store)
    tree = store.expanded(slug.id)
    (tree / "app.py").write_text("")
    (tree.parent / "boot").write_text("another")
    assert (store.expanded(slug.id) / "app.py").read_text() == "1"


def test_an_altered_slug_is_not_expanded(tmp_path: Path) -> None:
    """Its checksum is verified before anything is touched."""
    store = make_app(tmp_path)
    slug = build_one(store)
    with open(store.path_of(slug.id), "r+b") as file:
        file.seek(100)
        file.write(b"\0\0\0")
    with pytest.raises(SlugError, match="altered or truncated"):
        store.expanded(slug.id)
    assert not store.expansions.exists() or list(store.expansions.iterdir()) == []
    with pytest.raises(SlugError, match="is gone"):
        store.expanded("0" * 64)


def test_prune_keeps_what_is_asked_for_and_what_a_dyno_runs_from(tmp_path: Path) -> None:
    """Slugs, their metadata and their expanded trees go together."""
    slugs = [build_one(make_app(tmp_path, text)) for text in "abc"]
    store = SlugStore(tmp_path)
    for slug in slugs:
        store.expanded(slug.id)
    with Claim(store.copies, "web.1.1-") as copy:
        (copy / "slug").write_text(slugs[1].id)
        gone = store.prune({slugs[2].id})
    assert gone == [slugs[0]]
    assert {slug.id for slug in store.all()} == {slugs[1].id, slugs[2].id}
    assert {path.name for path in store.expansions.iterdir()} == {slugs[1].id, slugs[2].id}
    assert len(list(store.slugs.iterdir())) == 4
    assert list(store.temporary.iterdir()) == []


def test_a_slug_written_out_can_be_taken_in_elsewhere(tmp_path: Path) -> None:
    """With its metadata beside it; without them its own Procfile is read."""
    store = make_app(tmp_path / "one")
    slug = build_one(store)
    file = tmp_path / "app.tgz"
    write_out(store, slug, file)
    assert metadata_beside(file) == slug
    other = SlugStore(tmp_path)
    assert adopt(other, file) == slug
    (tmp_path / "app.tgz.json").unlink()
    again = adopt(SlugStore(tmp_path / "one/lib"), file)
    assert (again.id, again.process_types) == (slug.id, slug.process_types)


def test_a_slug_that_is_not_what_its_metadata_say_is_not_taken_in(tmp_path: Path) -> None:
    """Nor extracted."""
    store = make_app(tmp_path / "one")
    write_out(store, build_one(store), tmp_path / "a.tgz")
    make_app(tmp_path / "one", "2")
    write_out(store, build_one(store), tmp_path / "b.tgz")
    (tmp_path / "b.tgz").rename(tmp_path / "a.tgz")
    other = SlugStore(tmp_path / "one/lib")
    with pytest.raises(SlugError, match="altered or truncated"):
        adopt(other, tmp_path / "a.tgz")
    assert other.all() == []
    with pytest.raises(SlugError, match="altered or truncated"):
        extract(tmp_path / "a.tgz", tmp_path / "out")


def test_a_slug_that_is_not_taken_in_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    """Not the copy that was looked into, which is gone."""
    file = tmp_path / "theirs.tgz"
    file.write_bytes(b"no gzip")
    with pytest.raises(SlugError, match=f"^{file}: "):
        adopt(make_app(tmp_path / "app"), file)


def test_a_slug_with_a_type_that_no_procfile_could_have_is_not_taken_in(tmp_path: Path) -> None:
    """Its name would become part of a path."""
    store = make_app(tmp_path / "one")
    slug = replace(build_one(store), process_types={"../../web": "x"})
    write_out(store, slug, tmp_path / "a.tgz")
    with pytest.raises(SlugError, match="no name of a process type"):
        adopt(SlugStore(tmp_path / "one/lib"), tmp_path / "a.tgz")


@pytest.mark.parametrize("said", [b"\xff\xfe", b'{"id": "\xff"}', b"\0"])
def test_metadata_of_any_bytes_are_told_to_be_none(tmp_path: Path, said: bytes) -> None:
    """Before anything else is read, and by the name of their file."""
    store = make_app(tmp_path / "one")
    file = tmp_path / "a.tgz"
    write_out(store, build_one(store), file)
    beside = tmp_path / "a.tgz.json"
    beside.write_bytes(said)
    for read in (look_into, lambda file: adopt(store, file)):
        with pytest.raises(SlugError, match=f"^{beside}: not a slug's metadata"):
            read(file)


def test_a_directory_in_the_place_of_metadata_is_told(tmp_path: Path) -> None:
    """In the system's words."""
    (tmp_path / "a.tgz.json").mkdir()
    with pytest.raises(SlugError, match="Is a directory"):
        metadata_beside(tmp_path / "a.tgz")


@pytest.mark.parametrize("command", ["\ud800", "a\0b"])
def test_a_slug_whose_metadata_could_not_be_read_again_is_not_kept(
    tmp_path: Path, command: str
) -> None:
    """It would be in the way of all the others; nothing of it is left in the store."""
    store = make_app(tmp_path)
    slug = build_one(store)
    work = tmp_path / "slug.tgz"
    work.write_bytes(b"another")
    with pytest.raises(SlugError, match="cannot keep the slug: the command of 'web'"):
        store.add(work, replace(slug, id="0" * 64, process_types={"web": command}))
    assert work.exists()
    assert sorted(os.listdir(store.slugs)) == [f"{slug.id}.json", f"{slug.id}.tgz"]


@pytest.mark.parametrize("there", [True, False])
def test_a_slug_is_written_through_a_link(tmp_path: Path, there: bool) -> None:
    """To a file or to nothing yet; its metadata are found by either name."""
    store = make_app(tmp_path / "one")
    slug = build_one(store)
    (tmp_path / "out").mkdir()
    target, named = tmp_path / "out/v1.tgz", tmp_path / "latest.tgz"
    if there:
        target.write_bytes(b"old")
    named.symlink_to("out/v1.tgz")
    write_out(store, slug, named)
    assert named.is_symlink()
    verify(target, slug.id)
    assert metadata_beside(target) == metadata_beside(named) == slug
    assert sorted(os.listdir(tmp_path)) == ["latest.tgz", "one", "out"]


@pytest.mark.parametrize("what", ["fifo", "directory", "pipe"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_not_replaced_by_a_slug(tmp_path: Path, what: str, linked: bool) -> None:
    """It stays what it is; a buildpack has not even begun."""
    store = make_app(tmp_path / "one")
    slug = build_one(store)
    (tmp_path / "out").mkdir()
    place = tmp_path / "out/x"
    reader, writer = os.pipe()
    try:
        match what:
            case "fifo":
                os.mkfifo(place)
            case "directory":
                place.mkdir()
            case _:
                place = Path(f"/dev/fd/{writer}")
        if linked:
            (tmp_path / "out/link").symlink_to(place)
            place = tmp_path / "out/link"
        before = sorted(os.listdir(tmp_path / "out"))
        with pytest.raises(SlugError, match=f"^{place} is no file"):
            write_out(store, slug, place)
        said: list[str] = []
        for ref in (None, "HEAD"):  # seen before git is asked
            with pytest.raises(SlugError, match=f"^{place} is no file"):
                build(store, Order(ref, output=place), Log(said.append))
        assert said == []
        assert sorted(os.listdir(tmp_path / "out")) == before
    finally:
        os.close(reader)
        os.close(writer)


def test_a_failed_build_leaves_no_slug_and_no_rest(tmp_path: Path) -> None:
    """Neither temporary files."""
    store = make_app(tmp_path)
    (tmp_path / "bad").symlink_to("/etc")
    with pytest.raises(SlugError):
        build_one(store)
    assert store.all() == []
    assert list(store.temporary.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Also to root, by a file where a directory should be."""
    store = make_app(tmp_path)
    store.home.write_text("x")
    with pytest.raises(SlugError, match="cannot write in"):
        build_one(store)


# --- claims ----------------------------------------------------------------------------------


def test_a_directory_that_is_swept_before_it_is_claimed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command's sweep finds it in the moment in which it is nobody's yet."""
    make = tempfile.mkdtemp
    swept: list[Path] = []

    def make_and_sweep(prefix: str, dir: Path) -> str:  # as mkdtemp calls it
        made = make(prefix=prefix, dir=dir)
        if not swept:
            swept.extend(sweep(dir))
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_sweep)
    with Claim(tmp_path / "claims", "web.1-") as claim:
        assert len(swept) == 1
        assert claim.is_dir()
        assert claimed(tmp_path / "claims") == [claim]


def test_a_sweep_takes_what_nobody_claims(tmp_path: Path) -> None:
    """A claim holds while its process does; a file left lying about goes as well."""
    held, left = Claim(tmp_path, "x-"), Claim(tmp_path, "x-")
    (left.path / "file").write_text("x")
    left.leave()
    (tmp_path / "x-file").write_text("x")
    (tmp_path / "other").mkdir()
    assert claimed(tmp_path) == [held.path]
    assert sorted(sweep(tmp_path, "x-")) == sorted([left.path, tmp_path / "x-file"])
    assert sorted(tmp_path.iterdir()) == sorted([held.path, tmp_path / "other"])
    held.close()
    held.close()
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]
    assert sweep(tmp_path / "nowhere") == []


def test_a_directory_that_its_owner_locked_is_removed(tmp_path: Path) -> None:
    """Overlay leaves such a one, and so may an app."""
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    (tree / "a/link").symlink_to("/")
    (tree / "a/b").chmod(0)
    (tree / "a").chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    remove_tree(tree)


def test_what_is_discarded_is_out_of_the_way_at_once(tmp_path: Path) -> None:
    """And deleted when it is asked for, or has been there for a while."""
    (tmp_path / "tree").mkdir()
    discard(tmp_path / "tree", tmp_path / "tmp")
    discard(tmp_path / "gone", tmp_path / "tmp")
    assert not (tmp_path / "tree").exists()
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert sweep(tmp_path / "tmp") == []
    assert len(sweep(tmp_path / "tmp", TRASH)) == 1


# --- kill -9 ---------------------------------------------------------------------------------

# The child kills itself when it has done so many of the things that an audit hook sees: opening,
# renaming, making, removing, locking. Each number is one moment, and the same one every time.
KILLED = """
import os, signal, sys
left = int(sys.argv[2])
def count(event, arguments):
    global left
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "fcntl.flock",
                 "os.symlink", "os.chmod", "os.truncate", "tempfile.mkdtemp", "shutil.rmtree"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.store import SlugStore
import isal.igzip_threaded, procman.core.procfile, procman.runtime.slugs.file
store = SlugStore(sys.argv[1])
sys.addaudithook(count)
slug = build(store, Order(), Log(lambda text: None))
store.expanded(slug.id)
store.prune(set())
store.sweep()
print(left)
"""


def run_killed(root: Path, after: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(root), str(after)],
        capture_output=True,
        text=True,
        check=False,
    )


def moments(count: int) -> list[float]:
    """Where to kill, as shares of the whole: everywhere, in an order that is always the same."""
    chance = random.Random(9)
    return [(n + chance.random()) / count for n in range(count)]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many moments there are from the first to the last."""
    root = tmp_path_factory.mktemp("count")
    make_app(root)
    result = run_killed(root, 10**9)
    assert result.returncode == 0, result.stderr
    return 10**9 - int(result.stdout)


@pytest.mark.parametrize("share", moments(16))
def test_kill_9_leaves_no_half_slug_and_no_half_tree(
    tmp_path: Path, share: float, steps: int
) -> None:
    """Killed while packing, expanding or pruning: the next command finds all or nothing."""
    store = make_app(tmp_path)
    killed = run_killed(tmp_path, 1 + int(share * steps))
    assert killed.returncode == -9
    for slug in store.all():
        verify(store.path_of(slug.id), slug.id)
        tree = store.expanded(slug.id)
        assert len(list((tree / "lib").iterdir())) == 20
    again = build_one(store)
    assert (store.expanded(again.id) / "lib/19").read_text() == (tmp_path / "lib/19").read_text()
    assert store.prune({again.id}) == []
    assert list(store.temporary.iterdir()) == []
    assert sorted(path.name for path in store.slugs.iterdir()) == [
        f"{again.id}.json",
        f"{again.id}.tgz",
    ]
    assert [path.name for path in store.expansions.iterdir()] == [again.id]


def test_kill_9_while_extracting_leaves_what_the_next_extraction_sweeps(tmp_path: Path) -> None:
    """The directory asked for is whole or not there."""
    store = make_app(tmp_path / "app")
    file = tmp_path / "s.tgz"
    write_out(store, build_one(store), file)
    program = KILLED.partition("from procman")[0] + (
        "from pathlib import Path\n"
        "import isal.igzip_threaded\n"
        "from procman.runtime.slugs.file import extract\n"
        "sys.addaudithook(count)\n"
        "extract(Path(sys.argv[1]) / 's.tgz', Path(sys.argv[1]) / 'out')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "15"], capture_output=True, check=False
    )
    assert result.returncode == -9, result.stderr
    assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.glob(".out.procman-*"))) == 1
    extract(file, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["app", "out", "s.tgz", "s.tgz.json"]


def test_a_claim_that_cannot_be_removed_is_nobodys_and_is_swept_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when no descriptor is left to look into it with."""
    claim = Claim(tmp_path, "x-")

    def refuse(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(scratch, "remove_tree", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        claim.close()
    monkeypatch.undo()
    assert sweep(tmp_path) == [claim.path]
