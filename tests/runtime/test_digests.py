"""What makes a file another."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from procman.runtime.watch.digests import (
    LARGE,
    UNKNOWN,
    read_baseline,
    read_digests,
    start_of_watching,
)


def make(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("x", "utf-8")


def test_digests_tell_contents_and_nothing_else(tmp_path: Path) -> None:
    """Not the time nor the inode; a link is what it leads to; a directory that went is nothing."""
    make(tmp_path, "a", "b")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("missing")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE + 1)

    def digests(*paths: str) -> dict[str, bytes | None]:
        return read_digests(paths, lambda path: os.path.join(tmp_path, path))

    before = digests("a", "b", "link", "dangling", "fifo", "large", "missing", "gone/")
    assert before["a"] == before["b"] == before["link"]
    assert before["missing"] is None
    assert before["gone/"] is None
    assert None not in (before["dangling"], before["fifo"], before["large"])
    (tmp_path / "a").unlink()
    make(tmp_path, "a")
    os.utime(tmp_path / "a", (1, 1))
    assert digests("a", "link") == {"a": before["a"], "link": before["link"]}
    (tmp_path / "b").write_text("y", "utf-8")
    os.utime(tmp_path / "large", (1, 1))
    assert digests("b")["b"] != before["b"]
    assert digests("large")["large"] != before["large"]


def test_a_link_that_leads_to_another_directory_is_another(tmp_path: Path) -> None:
    """`ln -sfn v2 current`, which is how some deploy; files of the same content may lie there."""
    make(tmp_path, "v1/app.py", "v2/app.py")

    def digest_of_link_to(target: str) -> bytes | None:
        (tmp_path / "current").unlink(missing_ok=True)
        (tmp_path / "current").symlink_to(target)
        return read_digests(["current"], str(tmp_path / "{}").format)["current"]

    first = digest_of_link_to("v1")
    assert first is not None
    assert digest_of_link_to("v1") == first
    assert digest_of_link_to("v2") != first


def test_a_socket_or_a_fifo_made_anew_is_no_change(tmp_path: Path) -> None:
    """A server makes its own in each boot; none is source code."""

    def digests() -> dict[str, bytes | None]:
        for path in ("socket", "fifo"):
            (tmp_path / path).unlink(missing_ok=True)
        os.mkfifo(tmp_path / "fifo")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(tmp_path / "socket"))  # 108 bytes are a socket's limit
        return read_digests(["socket", "fifo"], str(tmp_path / "{}").format)

    assert digests() == digests()
    assert None not in digests().values()


def test_the_baseline_is_how_files_were_when_the_watching_began(tmp_path: Path) -> None:
    """What was written or deleted since is known to be another than what is read now."""
    start = start_of_watching()
    make(tmp_path, "file", "deleted")
    (tmp_path / "dangling").symlink_to("missing")
    (tmp_path / "deleted").unlink()
    last = (tmp_path / "file").stat().st_ctime_ns
    assert last >= start, "no file written later looks older"

    def baseline(since: int) -> dict[str, bytes]:
        names = ("file", "deleted", "dangling")
        return read_baseline(names, lambda path: os.path.join(tmp_path, path), since)

    written_before = baseline(last + 1)
    assert written_before["file"] == read_digests(["file"], str(tmp_path / "{}").format)["file"]
    assert written_before["dangling"] != UNKNOWN
    assert written_before["deleted"] == UNKNOWN
    assert baseline(last)["file"] == baseline(start)["file"] == UNKNOWN
