"""A slug is expanded as it was packed, or refused with nothing written."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procman.core.slug import Entry, Kind, MiB
from procman.core.slug_tar import END, header, padding
from procman.errors import SlugError
from procman.runtime.slugs.expand import digest_of, expand, survey, verify
from procman.runtime.slugs.file import INSIDE, extract
from procman.runtime.slugs.pack import pack


def archive(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    """A slug as others write it: a name and its content, or any member at all."""
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
            else:
                tar.addfile(member)
    return path


def special(name: str, type: bytes, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = type, target, mode
    return info


def packed(tmp_path: Path) -> Path:
    """A slug of ours with some of everything."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_bytes(b"x" * 5000)
    (tree / "big").write_bytes(random.Random(2).randbytes(2 * MiB + 3))
    (tree / "run").write_bytes(b"#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("sub/file")
    file = tmp_path / "s.tgz"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    pack(tree, descriptor)
    os.close(descriptor)
    return file


MALICIOUS: dict[str, list[tarfile.TarInfo | tuple[str, bytes]]] = {
    "an absolute path": [("/tmp/evil", b"x")],
    "two dots": [("./app/../evil", b"x")],
    "a link to the root": [special("./app/l", tarfile.SYMTYPE, "/")],
    "a link above": [special("./app/l", tarfile.SYMTYPE, "../../evil")],
    "a file through a link": [
        special("./app/l", tarfile.SYMTYPE, "."),
        ("./app/l/evil", b"x"),
    ],
    "a link by way of another": [
        special("./app/d/up", tarfile.SYMTYPE, ".."),
        special("./app/l", tarfile.SYMTYPE, "d/up/../evil"),
    ],
    "a file over a link": [
        special("./app/l", tarfile.SYMTYPE, "../evil"),
        ("./app/l", b"x"),
    ],
    "a hard link to a system's file": [special("./app/h", tarfile.LNKTYPE, "/etc/passwd")],
    "a hard link through a link": [
        special("./app/l", tarfile.SYMTYPE, "d"),
        ("./app/d/f", b"x"),
        special("./app/h", tarfile.LNKTYPE, "./app/l/f"),
    ],
    "a device": [special("./app/null", tarfile.CHRTYPE)],
    "a block device": [special("./app/disk", tarfile.BLKTYPE)],
    "a fifo": [special("./app/pipe", tarfile.FIFOTYPE)],
    "a set-user-id program": [special("./app/su", tarfile.REGTYPE, mode=0o4755)],
    "the same file twice": [("./app/a", b"1"), ("./app/a", b"2")],
    "nothing of an app": [("./README", b"x")],
    "nothing at all": [],
}


@pytest.mark.parametrize("members", MALICIOUS.values(), ids=MALICIOUS)
@pytest.mark.parametrize("late", [False, True], ids=["alone", "after good files"])
def test_a_malicious_slug_is_refused_and_nothing_is_written(
    tmp_path: Path, members: list[tarfile.TarInfo | tuple[str, bytes]], late: bool
) -> None:
    """Not even what came before it in the archive, and no temporary directory stays."""
    if late and members and members != MALICIOUS["nothing of an app"]:
        members = [*((f"./app/good/{n}", b"x" * 600) for n in range(3)), *members]
    file = archive(tmp_path / "evil.tgz", *members)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SlugError):
        extract(file, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bomb_is_refused_by_what_it_says_before_it_is_unpacked(tmp_path: Path) -> None:
    """Eleven gigabytes in a few bytes of header."""
    info = tarfile.TarInfo("./app/zeros")
    info.size = 11 * 2**30
    file = tmp_path / "bomb.tgz"
    file.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(MiB)))
    with pytest.raises(SlugError, match="says it has"):
        survey(file)


def test_a_slug_of_others_is_expanded(tmp_path: Path) -> None:
    """Hard links become files of their own, modes come down to two, the rest is ignored."""
    program = tarfile.TarInfo("./app/bin/run")
    program.mode = 0o700
    file = archive(
        tmp_path / "s.tgz",
        special("./", tarfile.DIRTYPE, mode=0o755),
        program,
        ("./app/data", b"abc"),
        special("./app/again", tarfile.LNKTYPE, "./app/data"),
        special("./app/link", tarfile.SYMTYPE, "bin/run"),
        ("./other", b"x"),
    )
    assert extract(file, tmp_path / "out") == 4
    out = tmp_path / "out"
    assert (out / "again").read_bytes() == b"abc"
    assert (out / "again").stat().st_nlink == 1
    assert (out / "bin/run").stat().st_mode & 0o777 == 0o755
    assert (out / "data").stat().st_mode & 0o777 == 0o644
    assert os.readlink(out / "link") == "bin/run"
    assert sorted(path.name for path in out.iterdir()) == ["again", "bin", "data", "link"]
    assert survey(file).ignored == 1


def test_what_is_expanded_is_what_was_packed(tmp_path: Path) -> None:
    """Contents, links and modes, by a second opinion."""
    extract(packed(tmp_path), tmp_path / "out")
    subprocess.run(["diff", "-r", "tree", "out"], cwd=tmp_path, check=True)
    assert os.access(tmp_path / "out/run", os.X_OK)


def test_modes_are_the_slugs_whatever_the_umask_is(tmp_path: Path) -> None:
    """A cautious user's app can still be read by what it starts."""
    program = (
        "import os, sys; os.umask(0o077)\n"
        "from pathlib import Path\n"
        "from procman.runtime.slugs.file import extract\n"
        "extract(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    file = packed(tmp_path)
    subprocess.run([sys.executable, "-c", program, str(file), str(tmp_path / "out")], check=True)
    modes = {p.name: p.lstat().st_mode & 0o777 for p in (tmp_path / "out").rglob("*")}
    assert modes == {"sub": 0o755, "file": 0o644, "big": 0o644, "run": 0o755, "link": 0o777}


@pytest.mark.parametrize("seed", range(10))
def test_a_truncated_slug_is_refused_also_without_its_checksum(tmp_path: Path, seed: int) -> None:
    """Wherever it is cut."""
    file = packed(tmp_path)
    whole = file.read_bytes()
    cut = random.Random(seed).randrange(len(whole))
    file.write_bytes(whole[:cut])
    with pytest.raises(SlugError):
        extract(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", range(10))
def test_an_altered_slug_is_refused_by_its_checksum(tmp_path: Path, seed: int) -> None:
    """One bit anywhere; gzip's own checksum does not cover its header."""
    file = packed(tmp_path)
    digest, _ = digest_of(file)
    data = bytearray(file.read_bytes())
    chance = random.Random(seed)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    with pytest.raises(SlugError, match="altered or truncated"):
        verify(file, digest)


def test_something_after_the_end_is_refused(tmp_path: Path) -> None:
    """A second archive behind the first is not what was looked at."""
    file = tmp_path / "s.tgz"
    good = header(Entry(b"a", Kind.FILE)) + END
    file.write_bytes(gzip.compress(good + bytes(8192)))
    assert len(survey(file).entries) == 1
    file.write_bytes(gzip.compress(good + good))
    with pytest.raises(SlugError, match="something follows"):
        survey(file)


def test_a_file_that_is_no_slug_is_told(tmp_path: Path) -> None:
    """By its name."""
    file = tmp_path / "notes.txt"
    file.write_text("not a slug")
    with pytest.raises(SlugError, match=r"notes\.txt"):
        survey(file)
    with pytest.raises(SlugError, match="No such file"):
        survey(tmp_path / "gone.tgz")


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    """And an empty one is used."""
    file = packed(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("x")
    with pytest.raises(SlugError, match="not an empty directory"):
        extract(file, out)
    assert [path.name for path in out.iterdir()] == ["mine"]
    (out / "mine").unlink()
    assert extract(file, out) == 6


@pytest.mark.parametrize("way", ["by its name", "as the current one", "by a link"])
def test_an_empty_directory_stays_the_very_one_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A shell may be in it, and its mode is its owner's."""
    file = packed(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o710)
    before = out.stat()
    name = out
    if way == "as the current one":
        monkeypatch.chdir(out)
        name = Path()
    elif way == "by a link":
        name = tmp_path / "link"
        name.symlink_to("out")
    assert extract(file, name) == 6
    assert (out.stat().st_ino, out.stat().st_mode) == (before.st_ino, before.st_mode)
    assert sorted(os.listdir(out)) == ["big", "link", "run", "sub"]
    subprocess.run(["diff", "-r", "tree", "out"], cwd=tmp_path, check=True)


def test_an_empty_mount_point_is_extracted_into(tmp_path: Path) -> None:
    """Nothing is renamed over it, nor from another file system."""
    program = 'mount -t tmpfs none "$2" && "$0" -c "$1" "$3" "$2" && ls "$2"'
    extraction = (
        "import sys\n"
        "from pathlib import Path\n"
        "from procman.runtime.slugs.file import extract\n"
        "extract(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    unshare = ["unshare", "--mount", "--map-root-user", "--"]  # gone with the shell
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no mounts here")
    (tmp_path / "disk").mkdir()
    arguments = [sys.executable, extraction, str(tmp_path / "disk"), str(packed(tmp_path))]
    result = subprocess.run(
        [*unshare, "sh", "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert (result.stdout.split(), result.stderr) == (["big", "link", "run", "sub"], "")


@pytest.mark.parametrize(
    ("problem", "raised"),
    [
        (OSError(errno.EIO, "Input/output error"), SlugError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["the disk", "Ctrl-C"],
)
def test_nothing_stays_in_an_empty_directory_when_it_does_not_get_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    raised: type[BaseException],
) -> None:
    """The third entry cannot be moved to it; before that, the slug is no good."""
    out = tmp_path / "out"
    out.mkdir()
    evil = archive(
        tmp_path / "evil.tgz", ("./app/good", b"x"), special("./app/p", tarfile.FIFOTYPE)
    )
    with pytest.raises(SlugError):
        extract(evil, out)
    rename, left = os.rename, iter([True, True])

    def refuse(old: Path, new: Path) -> None:
        if new.parent == out and not next(left, False):
            raise problem
        rename(old, new)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(raised):
        extract(packed(tmp_path), out)
    assert os.listdir(out) == []


def test_what_comes_into_an_empty_directory_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written over it."""
    out = tmp_path / "out"
    out.mkdir()

    def write(done: int, total: int) -> None:
        (out / "run").write_text("mine")

    with pytest.raises(SlugError, match="not an empty directory"):
        extract(packed(tmp_path), out, write)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("run", "mine")]


def test_what_a_killed_extraction_left_in_a_directory_is_swept(tmp_path: Path) -> None:
    """If there is nothing else: beside other files it may be somebody's own."""
    file = packed(tmp_path)
    out = tmp_path / "out"
    left = out / f"{INSIDE}x"
    (left / "app").mkdir(parents=True)
    (out / "mine").write_text("x")
    with pytest.raises(SlugError, match="not an empty directory"):
        extract(file, out)
    assert sorted(os.listdir(out)) == [left.name, "mine"]
    (out / "mine").unlink()
    assert extract(file, out) == 6
    assert not left.exists()


def test_a_directory_in_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Not made with modes of our choosing."""
    with pytest.raises(SlugError, match="nowhere: no such directory"):
        extract(packed(tmp_path), tmp_path / "nowhere/out")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails in the middle."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from procman.errors import SlugError\n"
        "from procman.runtime.slugs.file import extract\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: extract(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except SlugError as error: print(error)\n"
    )
    file = packed(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = subprocess.run(
        [sys.executable, "-c", program, str(file), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "cannot write big: File too large\n"
    assert sorted(tmp_path.rglob("*")) == before


names = st.sampled_from(["a", "b", "c", "..", ".", "app", ""])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
members = st.builds(
    special,
    paths.map(lambda path: f"./app/{path}"),
    kinds,
    st.one_of(paths, paths.map(lambda path: f"./app/{path}")),
    st.just(0o755),
)


@settings(max_examples=200)
@given(st.lists(members, min_size=1, max_size=6))
def test_whatever_is_in_an_archive_nothing_of_it_leads_out(
    tmp_path_factory: pytest.TempPathFactory, contents: list[tarfile.TarInfo]
) -> None:
    """Refused and nothing is there, or the kernel finds every path of it inside."""
    place = tmp_path_factory.mktemp("any")
    file = archive(place / "s.tgz", *contents)
    out = place / "out"
    try:
        extract(file, out)
    except SlugError:
        assert [path.name for path in place.iterdir()] == ["s.tgz"]
        return
    assert sorted(path.name for path in place.iterdir()) == ["out", "s.tgz"]
    root = str(out.resolve())
    for directory, below, files in os.walk(out):
        for name in below + files:
            try:
                real = os.path.realpath(os.path.join(directory, name), strict=True)
            except OSError:
                continue  # leads nowhere, or in a circle
            assert real == root or real.startswith(root + "/")


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 3))
def test_noise_in_a_gzip_is_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, blocks: int
) -> None:
    """No file makes the reader fail in any other way."""
    place = tmp_path_factory.mktemp("noise")
    start = header(Entry(b"a", Kind.FILE, size=len(noise))) + noise + bytes(padding(len(noise)))
    (place / "s.tgz").write_bytes(gzip.compress(start + noise + bytes(512 * blocks)))
    try:
        survey(place / "s.tgz")
    except SlugError:
        return
    assert blocks
    (place / "out").mkdir()
    assert expand(place / "s.tgz", place / "out") >= 1
