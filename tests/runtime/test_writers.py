"""Who is caught writing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from procman.runtime.watch.writers import open_for_writing, written_here


def make(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("x", "utf-8")


def test_who_has_a_file_open_for_writing_is_caught(tmp_path: Path) -> None:
    """By the dyno's name; a reader is none, and a link to the file is the file."""
    make(tmp_path, "log.txt", "app.py", "other.txt")
    (tmp_path / "link").symlink_to(tmp_path / "log.txt")
    places = {name: str(tmp_path / name) for name in ("link", "app.py", "other.txt")}
    command = f"exec 3>>{tmp_path}/log.txt 4<{tmp_path}/app.py; echo open; exec cat"
    with subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        dynos = {"web.1": [os.getpid()], "worker.1": [process.pid, 2**22 + 1]}
        found = open_for_writing(list(places.values()), dynos)
        process.communicate()
    assert found == {places["link"]: "worker.1"}


def test_what_procman_itself_writes_is_known(tmp_path: Path) -> None:
    """Where its standard output goes is no source."""
    make(tmp_path, "out.txt", "in.txt")
    with open(tmp_path / "out.txt", "ab"), open(tmp_path / "in.txt", "rb"):
        found = written_here()
    assert str(tmp_path / "out.txt") in found
    assert str(tmp_path / "in.txt") not in found
