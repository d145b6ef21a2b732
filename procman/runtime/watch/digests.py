"""Digests of files, so that unchanged content is no change."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b

from procman.runtime.tree import IS_LINUX

UNKNOWN = b""  # equal to no digest
NO_FILE = b"no file"  # a fifo or a socket, which a dyno may make anew in each boot
_COARSE = 5  # CLOCK_REALTIME_COARSE: linux/time.h
LARGE = 8 * 1024 * 1024  # bytes; a larger file is told by its inode, size and time


def read_digests(paths: Iterable[str], absolute: Callable[[str], str]) -> dict[str, bytes | None]:
    """The digest of each path, None for one that is not there; `absolute` says where it lies."""
    return {path: None if path.endswith("/") else _digest(absolute(path)) for path in paths}


def start_of_watching() -> int:
    """Now, in ns, so that no file written later is stamped earlier: on Linux files are stamped by a
    clock that ticks every 1 to 10 ms, and the ordinary one is ahead of it."""
    return time.clock_gettime_ns(_COARSE if IS_LINUX else time.CLOCK_REALTIME)


def read_baseline(
    paths: Iterable[str], absolute: Callable[[str], str], since: int
) -> dict[str, bytes]:
    """The digests from which changes count: as the files were at `start_of_watching`.

    One that was changed or went since then is given none that any file has: we came too late to
    read what it was, and its event, which may come after this, must count.
    """
    found = {}
    for path in paths:
        place = absolute(path)
        digest = _digest(place)
        found[path] = digest if digest is not None and _is_older(place, since) else UNKNOWN
    return found


def _is_older(place: str, since: int) -> bool:
    try:
        return os.stat(place).st_ctime_ns < since
    except OSError:
        return True  # a link that leads nowhere, read as such


def _digest(place: str) -> bytes | None:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return _of_link(place)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):  # by a link, for directories themselves are not asked for
            return b"%d %d" % (status.st_dev, status.st_ino)
        if not stat.S_ISREG(status.st_mode):
            return NO_FILE
        if status.st_size > LARGE:
            return b"%d %d %d" % (status.st_ino, status.st_size, status.st_mtime_ns)
        digest = blake2b(digest_size=16)
        while part := os.read(descriptor, 1 << 18):
            digest.update(part)
        return digest.digest()
    except OSError as error:
        return str(error.errno).encode()
    finally:
        os.close(descriptor)


def _of_link(place: str) -> bytes | None:
    """Of what cannot be opened: a link to nowhere, a file that may not be read, a socket."""
    try:
        status = os.lstat(place)
    except OSError:
        return None
    if stat.S_ISSOCK(status.st_mode):
        return NO_FILE
    return b"%d %d %d" % (status.st_ino, status.st_size, status.st_mtime_ns)
