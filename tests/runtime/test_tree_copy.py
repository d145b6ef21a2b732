"""A tree is copied by whoever may read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
from procman.runtime.slugs.tree_copy import copy_tree
from procman.runtime.slugs.walk import walk
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
copy_tree(b"source", walk(b"source", None).found, b"target")
"""


def test_a_directory_that_its_owner_has_locked_is_copied_with_what_is_in_it(tmp_path: Path) -> None:
    """Also by another than root, to whom no mode matters."""
    locked = tmp_path / "source/locked/too"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    for directory in (locked, locked.parent):
        directory.chmod(0o555)
    tmp_path.chmod(0o755)
    (tmp_path / "target").mkdir()
    (tmp_path / "target").chmod(0o777)
    # From the current directory: those above it are closed to others.
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, check=True)
    copy = tmp_path / "target/locked/too"
    assert (copy / "file").read_text() == "x"
    assert copy.stat().st_mode & 0o777 == 0o755
    assert copy.parent.stat().st_mode & 0o777 == 0o755
