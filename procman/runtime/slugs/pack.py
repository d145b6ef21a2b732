"""Packs a tree into a slug: the same bytes for the same content, wherever and whoever packs it.

The tar is cut into blocks of 1 MiB whatever the files' sizes are, and each block is compressed
with the one before as its dictionary, so the bytes depend neither on the number of threads nor on
the sizes of our writes. They do depend on the version of ISA-L, as any compressor's do.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from procman.core.slug import MAX_PACKED, Entry, Kind, MiB, packed_size_warning, shown
from procman.core.slug_check import SafeTree
from procman.core.slug_rules import Rules
from procman.core.slug_tar import END, header, padding
from procman.errors import SlugError
from procman.runtime.slugs.walk import Found, unreadable, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from procman.runtime.slugs.walk import Walk

# Measured on 8,400 files and 218 MB, two cores, as share of `tar | pigz -6`'s time and of
# `gzip -6`'s size: level 2 0.18 and 1.156, level 3 0.20 and 1.128.
LEVEL = 3
THREADS = 3  # the bytes are the same for any number
EVERY = 64  # entries between two reports of progress
# No name, no time, no system. ISA-L's own has its last two bytes the other way round.
GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"


class Progress(Protocol):
    """Told how far a long work is; called often, so it must be cheap."""

    def __call__(self, done: int, total: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    digest: str  # of the whole file
    size: int
    entries: int
    unpacked: int
    warnings: tuple[str, ...]


class Sink:
    """The compressed bytes on their way to the file: counted, hashed, limited."""

    def __init__(self, descriptor: int, limit: int) -> None:
        self.size = 0
        self._descriptor = descriptor
        self._limit = limit
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write all of it; raises SlugError from the limit on."""
        if self._descriptor < 0:
            return len(data)
        if not self.size:
            # The header is held back: a gzip writer that fails at once is half made, and fails
            # again when it is thrown away.
            self.size = len(data)
            return len(data)
        if self.size == len(GZIP_HEADER):
            self._put(GZIP_HEADER)
        self.size += len(data)
        if self.size >= self._limit:
            packed_size_warning(MAX_PACKED)
        self._put(data)
        return len(data)

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as problem:
            raise SlugError(f"cannot write the slug: {problem.strerror}") from None

    def shut(self) -> None:
        """Take no more: a writer that failed is closed late, when the number is another file's."""
        self._descriptor = -1

    def flush(self) -> None:
        """Nothing is held back."""

    def digest(self) -> str:
        """Of everything written."""
        return self._hash.hexdigest()


def pack(
    root: str | os.PathLike[str],
    descriptor: int,
    *,
    rules: Rules | None = None,
    progress: Progress | None = None,
    limit: int = MAX_PACKED,
) -> Packed:
    """Pack the tree at `root` into the open file `descriptor`.

    Raises SlugError for a tree no slug can hold, for one too large, and for a file that changes
    while it is read; what is in the file then is of no use.
    """
    from isal import igzip_threaded

    base = os.fsencode(root)
    tree = walk(base, rules if rules is not None else Rules(read_slugignore(base)))
    sink = Sink(descriptor, limit)
    safe = SafeTree()
    root_fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with igzip_threaded.open(  # type: ignore[no-untyped-call]  # isal annotates its C parts only
            sink, "wb", LEVEL, threads=THREADS, block_size=MiB
        ) as out:
            _write(tree, root_fd, safe, out.write, progress)
    finally:
        sink.shut()
        os.close(root_fd)
    warning = packed_size_warning(sink.size)
    warnings = (*tree.warnings, *((warning,) if warning else ()))
    return Packed(sink.digest(), sink.size, safe.count, safe.unpacked, warnings)


def read_slugignore(root: bytes) -> str | None:
    """The text of the tree's own `.slugignore`, None where there is none."""
    try:
        with open(os.path.join(root, b".slugignore"), encoding="utf-8-sig", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise SlugError(f"cannot read .slugignore: {problem}") from None


def _write(
    tree: Walk,
    root_fd: int,
    safe: SafeTree,
    write: Callable[[bytes], object],
    progress: Progress | None,
) -> None:
    pending = bytearray()
    total = len(tree.found)
    for index, found in enumerate(tree.found):
        if found.kind is Kind.FILE:
            _add_file(found, root_fd, safe, pending, write)
        else:
            entry = Entry(found.path, found.kind, target=found.target)
            safe.place(entry)
            pending += header(entry)
            if len(pending) >= MiB:
                _drain(pending, write)
        if progress is not None and not index % EVERY:
            progress(index, total)
    safe.finish()
    pending += END
    _drain(pending, write)
    write(bytes(pending))
    if progress is not None:
        progress(total, total)


def _drain(pending: bytearray, write: Callable[[bytes], object]) -> None:
    """Give away whole blocks, so that where blocks begin depends on the content alone."""
    while len(pending) >= MiB:
        write(bytes(pending[:MiB]))
        del pending[:MiB]


def _add_file(
    found: Found,
    root_fd: int,
    safe: SafeTree,
    pending: bytearray,
    write: Callable[[bytes], object],
) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(found.path, flags, dir_fd=root_fd)
    except OSError as problem:
        raise unreadable(problem, found.path) from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or before.st_ino != found.inode:
            raise _changed(found.path)
        size = before.st_size
        entry = Entry(found.path, Kind.FILE, size, bool(before.st_mode & stat.S_IXUSR))
        safe.place(entry)
        pending += header(entry)
        left = size
        while left:
            data = os.read(descriptor, min(left, MiB))
            if not data:
                raise _changed(found.path)
            left -= len(data)
            pending += data
            if len(pending) >= MiB:
                _drain(pending, write)
        after = os.fstat(descriptor)
    except OSError as problem:
        raise unreadable(problem, found.path) from None
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_mode) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_mode,
    ):
        raise _changed(found.path)
    pending += bytes(padding(size))


def _changed(path: bytes) -> SlugError:
    return SlugError(
        f"{shown(path)} changed while it was being packed",
        hint="pack again when nothing writes to it, or leave it out with .slugignore",
    )
