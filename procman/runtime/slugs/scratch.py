"""Directories that vanish with the process that claimed them, if not at once then swept later.

A claim is a lock on the directory itself. The kernel drops it with its holder, also after
kill -9, so whoever gets the lock knows that nobody works there any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from procman.errors import SlugError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

TRASH, GONE = "trash-", "gone-"
# Deleting a tree is slow, and so is what comes after: ext4 passes over inodes deleted within the
# last five minutes (fs/ext4/ialloc.c, recently_deleted). Measured, the next expansion takes four
# times as long. So trees are deleted when it is unlikely that one is about to be expanded.
DELETE_AFTER = 300.0  # seconds


class Claim:
    """A fresh directory below `parent`, ours until `close` or the end of the process."""

    def __init__(self, parent: Path, prefix: str) -> None:
        """Raises SlugError when the disk refuses."""
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path, self._lock = _claim(parent, prefix)
        except OSError as problem:
            raise SlugError(f"cannot write in {parent}: {problem.strerror}") from None

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the directory and all in it, then give the lock back, in any case: what could not
        be removed is the next sweep's.
        """
        if self._lock >= 0:
            try:
                remove_tree(self.path)
            finally:
                self.leave()

    def leave(self) -> None:
        """Give the lock back and leave the directory to the next sweep."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(
    parent: Path, prefix: str = "", before: Callable[[Path], None] | None = None
) -> list[Path]:
    """Remove what is in `parent`, begins with `prefix`, and is claimed by nobody.

    Returns what was removed. `before` is called with each one first, while it is ours. What was
    discarded lately stays for a later sweep, unless `prefix` is TRASH.
    """
    swept = []
    try:
        names = os.listdir(parent)
    except (FileNotFoundError, NotADirectoryError):
        return []
    for name in names:
        path = parent / name
        if not name.startswith(prefix) or (prefix != TRASH and _is_fresh_trash(path)):
            continue
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else has just swept it
        try:
            if _is_taken(lock):
                continue
            if before is not None:
                before(path)
            remove_tree(path)
            swept.append(path)
        except OSError:
            continue  # another user's, perhaps root's: no reason to fail what sweeps in passing
        finally:
            os.close(lock)
    return swept


def claimed(parent: Path) -> list[Path]:
    """The directories below `parent` that somebody works in."""
    held = []
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if _is_taken(lock):
                held.append(path)
        finally:
            os.close(lock)
    return held


def discard(path: Path, parent: Path, prefix: str = TRASH) -> None:
    """Move `path` below `parent`, for a later sweep: for the next one with the prefix GONE."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.utime(path)  # says since when it is trash
        os.rename(path, parent / f"{prefix}{os.urandom(8).hex()}")
    except FileNotFoundError:
        pass  # somebody else was quicker


def remove_tree(path: Path) -> None:
    """Remove a file or a tree, also one with directories that its owner has locked."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            path.unlink()
            return
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        # Overlay's work directory has mode 0, and an app may lock directories of its own.
        os.chmod(path, 0o700)
        for directory, inside, _ in os.walk(path):
            for name in inside:
                below = os.path.join(directory, name)
                if not os.path.islink(below):
                    os.chmod(below, 0o700)
        shutil.rmtree(path)


def _claim(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        # A sweep may have it before each of the next two lines, and then it is gone.
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if os.stat(path).st_ino == os.fstat(lock).st_ino:
                return Path(path), lock
        except FileNotFoundError:
            pass
        os.close(lock)


def _is_fresh_trash(path: Path) -> bool:
    if not path.name.startswith(TRASH):
        return False
    try:
        return time.time() - path.stat().st_mtime < DELETE_AFTER
    except OSError:
        return False


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        raise
    return False
