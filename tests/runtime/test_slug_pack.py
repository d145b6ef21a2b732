"""The same content is the same slug, anybody's tar reads it, and what changes is never packed."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from procman.core.slug import MAX_PACKED, Metadata
from procman.core.slug_rules import Rules
from procman.errors import SlugError
from procman.runtime.slugs.expand import digest_of, survey
from procman.runtime.slugs.pack import Packed, pack, read_slugignore

PACKER = """
import os, sys
os.umask(int(sys.argv[3], 8))
from procman.runtime.slugs.pack import pack
file = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
print(pack(sys.argv[1], file).digest)
"""


def pack_to(tree: Path, file: Path, limit: int = MAX_PACKED) -> Packed:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        return pack(tree, descriptor, limit=limit)
    finally:
        os.close(descriptor)


def grow(tree: Path, order: int = 1) -> Path:
    """A tree with something of everything, made in one order or in the other."""
    contents = {
        "Procfile": b"web: python app.py\n",
        "empty": b"",
        "big": random.Random(5).randbytes(3 * 1024 * 1024 + 17),
        "block": b"x" * 512,
        "a/b/c/deep.py": b"print()\n",
        "a-b": b"sorts between a and a/b by whole path",
        "ünï cödé\n": b"unicode",
        "d" * 200 + "/" + "f" * 200: b"long",
        "n" * 120: b"no slash to split at",
        ".env": b"SECRET=1",
        ".git/config": b"no",
    }
    for name in sorted(contents)[::order]:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[name])
    (tree / "void").mkdir()
    (tree / "run.sh").write_bytes(b"#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("a/b")
    (tree / "long link").symlink_to("d" * 200 + "/" + "f" * 200)
    with open(os.fsencode(tree) + b"/\xff\xfe", "wb") as file:
        file.write(b"no UTF-8")
    return tree


def test_the_same_tree_elsewhere_later_and_by_another_is_the_same_slug(tmp_path: Path) -> None:
    """Byte for byte, whatever the directory, the order of creation, the times and the umask."""
    tmp_path.chmod(0o755)
    one = grow(tmp_path / "one")
    two = grow(tmp_path / "elsewhere" / "two", order=-1)
    for path in two.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1_000_000_000, 1_000_000_000))
            mode = path.stat().st_mode
            path.chmod(0o700 if path.is_dir() or mode & 0o100 else 0o600)
    first = pack_to(one, tmp_path / "1.tgz")
    result = subprocess.run(
        [sys.executable, "-c", PACKER, str(two), str(tmp_path / "2.tgz"), "077"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C", "TZ": "Asia/Tokyo"},
    )
    assert result.stdout.strip() == first.digest
    assert (tmp_path / "1.tgz").read_bytes() == (tmp_path / "2.tgz").read_bytes()
    assert digest_of(tmp_path / "1.tgz") == (first.digest, first.size)


def test_another_user_packs_the_same_bytes(tmp_path: Path) -> None:
    """Neither number nor name of the owner is in a slug."""
    tree = grow(tmp_path / "tree")
    first = pack_to(tree, tmp_path / "1.tgz")
    if os.geteuid() == 0:
        for path in [tree, *tree.rglob("*")]:
            os.chown(path, 1234, 5678, follow_symlinks=False)
    else:  # an ordinary user cannot give files away: in a namespace they are another's to see
        assert os.geteuid() == tree.stat().st_uid
    assert pack_to(tree, tmp_path / "2.tgz").digest == first.digest


def write_slug(file: Path, data: bytes = b"a slug") -> None:
    """A file, and beside it metadata that are true of it."""
    file.write_bytes(data)
    metadata = Metadata(hashlib.sha256(data).hexdigest(), len(data), "2026", "linux", {"web": "x"})
    file.with_name(f"{file.name}.json").write_text(metadata.to_json())


def test_a_slug_with_its_metadata_is_left_out_wherever_it_is(tmp_path: Path) -> None:
    """By what they say, not by what they are called."""
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "Procfile").write_text("web: x\n")
    for name in ("app.tgz", "deep/v1", ".hidden", "a.json", "grüße"):
        write_slug(tree / name)
    assert packed_names(tree, tmp_path) == ["", "Procfile", "deep"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file, json: file.write_bytes(b"other!"),  # of the same size
        lambda file, json: file.write_bytes(b"longer than it was"),
        lambda file, json: json.write_text('{"name": "the app\'s own"}'),
        lambda file, json: json.write_text('["data"]'),
        lambda file, json: json.write_text("no JSON"),
        lambda file, json: json.write_bytes(b"\xff"),
        lambda file, json: json.write_text(json.read_text() + " " * 2**20),
        lambda file, json: (json.unlink(), json.mkdir()),
        lambda file, json: (json.rename(json.with_name("real")), json.symlink_to("real")),
        lambda file, json: (file.rename(file.with_name("real")), file.symlink_to("real")),
    ],
)
def test_what_only_looks_like_a_slug_with_its_metadata_is_packed(
    tmp_path: Path, spoil: Callable[[Path, Path], object]
) -> None:
    """An app's own `data.json` beside `data` must never be missing."""
    tree = tmp_path / "tree"
    tree.mkdir()
    write_slug(tree / "data")
    spoil(tree / "data", tree / "data.json")
    assert {"data", "data.json"} <= set(packed_names(tree, tmp_path))


def packed_names(tree: Path, directory: Path) -> list[str]:
    file = directory / "packed.tgz"
    pack_to(tree, file)
    return [os.fsdecode(entry.path) for entry in survey(file).entries]


def test_gnu_tar_reads_a_slug(tmp_path: Path) -> None:
    """Every file, name, link and mode, without a word of complaint."""
    tree = grow(tmp_path / "tree")
    pack_to(tree, tmp_path / "s.tgz")
    (tmp_path / "out").mkdir()
    result = subprocess.run(
        ["tar", "-xzf", str(tmp_path / "s.tgz"), "-C", str(tmp_path / "out")],
        capture_output=True,
        check=True,
    )
    assert result.stderr == b""
    left_out = [".env", ".git"]
    shown = subprocess.run(
        ["diff", "-r", *(f"--exclude={name}" for name in left_out), "tree", "out/app"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert shown.stdout + shown.stderr == b""
    assert not (tmp_path / "out/app/.env").exists()
    assert os.readlink(tmp_path / "out/app/link") == "a/b"
    assert os.access(tmp_path / "out/app/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/app/empty", os.X_OK)
    assert (tmp_path / "out/app/void").is_dir()


def test_a_slug_has_the_layout_that_herokus_platform_api_takes(tmp_path: Path) -> None:
    """Everything under ./app/, owned by nobody, of no time, sorted."""
    pack_to(grow(tmp_path / "tree"), tmp_path / "s.tgz")
    with tarfile.open(tmp_path / "s.tgz", errors="surrogateescape") as tar:
        members = tar.getmembers()
    assert members[0].name == "./app"
    assert all(member.name.startswith("./app") for member in members)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
    assert {m.mode for m in members if m.isfile()} == {0o644, 0o755}
    # No name, no time, no system in gzip's header.
    assert (tmp_path / "s.tgz").read_bytes()[:10] == b"\x1f\x8b\x08" + bytes(6) + b"\xff"


def test_hard_links_are_packed_as_files_and_set_id_bits_are_dropped(tmp_path: Path) -> None:
    """So that what is expanded is safe to write to."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"same")
    os.link(tree / "a", tree / "b")
    (tree / "c").write_bytes(b"x")
    (tree / "c").chmod(0o6755)
    pack_to(tree, tmp_path / "s.tgz")
    with tarfile.open(tmp_path / "s.tgz") as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert members["./app/b"].isreg()
    assert members["./app/b"].size == 4
    assert members["./app/c"].mode == 0o755


def test_a_socket_and_a_fifo_are_left_out_with_a_warning(tmp_path: Path) -> None:
    """They mean nothing to another process, and reading a fifo would hang."""
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(tree)  # the path of a socket is limited to 108 bytes
        try:
            listening.bind("sock")
        finally:
            os.chdir(here)
        packed = pack_to(tree, tmp_path / "s.tgz")
    assert packed.warnings == (
        "pipe is a fifo and is left out",
        "sock is a socket and is left out",
    )
    assert len(survey(tmp_path / "s.tgz").entries) == 1


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "a/../../x"])
def test_a_link_that_leaves_the_tree_is_refused(tmp_path: Path, target: str) -> None:
    """What could not be expanded is not packed."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(target)
    with pytest.raises(SlugError, match="refused: link is a symbolic link"):
        pack_to(tree, tmp_path / "s.tgz")


@pytest.mark.parametrize("excluded", [False, True])
def test_a_tree_too_deep_to_be_walked_is_refused_unless_it_is_left_out(
    tmp_path: Path, excluded: bool
) -> None:
    """What went wrong in a loop that makes directories is told, not met by a crash."""
    tree = tmp_path / "tree"
    tree.mkdir()
    made = [tree / "loop" / "/".join(["d"] * depth) for depth in range(1000)]
    for path in made:
        path.mkdir()
    if excluded:
        (tree / ".slugignore").write_text("loop\n")
        pack_to(tree, tmp_path / "s.tgz")
    else:
        with pytest.raises(SlugError, match=r"refused: loop/d.* lies below more than 400"):
            pack_to(tree, tmp_path / "s.tgz")
    for path in reversed(made):  # pytest cannot
        path.rmdir()


def test_a_tree_too_large_is_refused_while_it_is_packed(tmp_path: Path) -> None:
    """Not after a gigabyte has been written."""
    tree = grow(tmp_path / "tree")
    with pytest.raises(SlugError, match="the limit is"):
        pack_to(tree, tmp_path / "s.tgz", limit=1024 * 1024)
    assert (tmp_path / "s.tgz").stat().st_size < 2 * 1024 * 1024


def test_a_file_that_grows_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """The packer is held in the middle of the file by a full pipe, so the change is in time."""
    tree = tmp_path / "tree"
    tree.mkdir()
    noise = tree / "noise"
    noise.write_bytes(random.Random(1).randbytes(32 * 1024 * 1024))
    reading, writing = os.pipe()

    def change() -> None:
        with open(reading, "rb") as pipe:
            pipe.read(1024)
            with open(noise, "r+b") as file:
                file.write(b"other")
            while pipe.read(1024 * 1024):
                pass

    reader = threading.Thread(target=change)
    reader.start()
    try:
        with pytest.raises(SlugError, match="noise changed while it was being packed"):
            pack(tree, writing)
    finally:
        os.close(writing)
        reader.join()


@pytest.mark.parametrize("act", ["replace", "remove"])
def test_a_file_that_is_replaced_or_gone_is_an_error(tmp_path: Path, act: str) -> None:
    """Between being listed and being read."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "b").write_bytes(b"12345")

    def change(done: int, total: int) -> None:
        if act == "replace":
            (tree / "new").write_bytes(b"67890")
            (tree / "new").rename(tree / "b")
        else:
            (tree / "b").unlink()

    descriptor = os.open(tmp_path / "s.tgz", os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(SlugError, match=r"b changed while|cannot read b: No such file"):
            pack(tree, descriptor, progress=change)
    finally:
        os.close(descriptor)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A full disk is an error with its name, not a slug."""
    tree = grow(tmp_path / "tree")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(SlugError, match="cannot write the slug: No space left on device"):
            pack(tree, full)
    finally:
        os.close(full)


def test_a_slugignore_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """A byte order mark is not."""
    assert read_slugignore(os.fsencode(tmp_path)) is None
    (tmp_path / ".slugignore").write_bytes(b"\xef\xbb\xbf*.log\n")
    assert read_slugignore(os.fsencode(tmp_path)) == "*.log\n"
    (tmp_path / ".slugignore").write_bytes(b"\xff\xfe\n")
    with pytest.raises(SlugError, match=r"cannot read \.slugignore"):
        read_slugignore(os.fsencode(tmp_path))


def test_slugignore_leaves_out_what_git_would_ignore(tmp_path: Path) -> None:
    """The same patterns, the same tree, a real git."""
    names = [
        "a.log",
        "keep.log",
        "build/x",
        "build/keep",
        "src/build/x",
        "doc/a/b",
        "test",
        "t/est",
    ]
    patterns = "*.log\n!keep.log\n/build/*\n!build/keep\ndoc/\n/test\n# comment\nt/**/est\n"
    tree = tmp_path / "tree"
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"x")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "init", "-q", str(tree)], check=True, env=environment)
    (tree / ".gitignore").write_text(patterns)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "-z"],
        cwd=tree,
        capture_output=True,
        check=True,
        env=environment,
    )
    expected = set(listed.stdout.decode().split("\0")) - {""}
    descriptor = os.open(tmp_path / "s.tgz", os.O_WRONLY | os.O_CREAT)
    pack(tree, descriptor, rules=Rules(patterns))
    os.close(descriptor)
    with tarfile.open(tmp_path / "s.tgz") as tar:
        packed = {m.name.removeprefix("./app/") for m in tar.getmembers() if m.isfile()}
    assert packed == expected
