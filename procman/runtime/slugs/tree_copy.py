"""Copies a tree file by file, sharing blocks where the file system can, never by hard links.

A hard link would let one dyno write into the file of all.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from procman.core.slug import Kind, MiB, shown
from procman.errors import SlugError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procman.runtime.slugs.walk import Found

FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
CANNOT_CLONE = frozenset(
    {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
)


def copy_tree(source: bytes, found: Iterable[Found], target: bytes) -> None:
    """Copy what was `found` in `source` into the existing directory `target`, with modes and times.

    A directory that its owner has locked is copied unlocked: what is in it is still to be written.
    Raises SlugError; what was copied so far is left for the caller to throw away.
    """
    copier = _Copier()
    for one in found:
        old, new = os.path.join(source, one.path), os.path.join(target, one.path)
        try:
            match one.kind:
                case Kind.DIRECTORY:
                    if one.path:
                        os.mkdir(new)
                        os.chmod(new, stat.S_IMODE(os.stat(old).st_mode) | stat.S_IRWXU)
                case Kind.SYMLINK:
                    os.symlink(one.target, new)
                case Kind.FILE | Kind.HARDLINK:
                    copier.copy(old, new)
        except OSError as problem:
            raise SlugError(f"cannot copy {shown(one.path)}: {problem.strerror}") from None


class _Copier:
    """Clones until the file system says that it cannot, then copies."""

    def __init__(self) -> None:
        self._clones = hasattr(os, "copy_file_range")  # as good as: this is Linux

    def copy(self, old: bytes, new: bytes) -> None:
        source = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(source)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            target = os.open(new, flags, 0o600)
            try:
                self._content(source, target)
                os.fchmod(target, status.st_mode & 0o777)
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _content(self, source: int, target: int) -> None:
        if self._clones:
            try:
                fcntl.ioctl(target, FICLONE, source)
                return
            except OSError as problem:
                if problem.errno not in CANNOT_CLONE:
                    raise
                self._clones = False
        while data := os.read(source, MiB):
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
