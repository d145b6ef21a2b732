"""What git's own lock says of the working tree, asked of a real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from procman.runtime.releases.git_lock import find_git_lock, is_held


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With one commit, of `app.py`."""
    root = tmp_path / "app"
    root.mkdir()
    (root / "app.py").write_text("1")
    git(root, "init", "--quiet")
    git(root, "config", "user.name", "n")
    git(root, "config", "user.email", "n@example.com")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message=one")
    return root


def git(root: Path, *arguments: str, **variables: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, env={**os.environ, **variables})


def held_in(script: str, root: Path) -> str:
    """A program that git runs, and that writes down whether the lock was there, and its size."""
    program = root.parent / "program"
    program.write_text(f"#!/bin/sh\n{script}\nwc -c < .git/index.lock > ../lock\n")
    program.chmod(0o755)
    return str(program)


def test_git_holds_an_empty_lock_while_it_writes_files(repository: Path) -> None:
    """A filter runs in the middle of a checkout; what it finds is what `is_held` means."""
    program = held_in("cat", repository)
    git(repository, "config", "filter.spy.smudge", program)
    (repository / ".gitattributes").write_text("app.py filter=spy\n")
    (repository / "app.py").unlink()
    git(repository, "checkout", "--", "app.py")
    assert int((repository.parent / "lock").read_text()) == 0
    lock = find_git_lock(str(repository))
    assert lock == str(repository / ".git/index.lock")
    assert not is_held(lock)
    Path(lock).touch()
    assert is_held(lock)


def test_a_lock_kept_while_a_message_is_written_is_nobodys_checkout(repository: Path) -> None:
    """`git commit -a` holds it for as long as the editor is open, and saves must not wait for
    that."""
    program = held_in('echo two > "$1"', repository)
    (repository / "app.py").write_text("2")
    git(repository, "commit", "--quiet", "--all", GIT_EDITOR=program)
    size = int((repository.parent / "lock").read_text())
    assert size > 0
    lock = find_git_lock(str(repository))
    assert lock is not None
    Path(lock).write_bytes(bytes(size))
    assert not is_held(lock)
