"""Reads a slug back: `survey` judges all of it and writes nothing, `expand` writes it.

`expand` makes directories and files as they come and symbolic links last, so that no link of the
slug can be written through, and it judges every entry by the same rules once more.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from procman.core.slug import ROOT, Entry, Kind, MiB, shown
from procman.core.slug_check import SafeTree
from procman.core.slug_tar import TarReader
from procman.errors import SlugError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procman.runtime.slugs.pack import Progress

PROCFILE = b"Procfile"
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Survey:
    """What a slug holds, in its order."""

    entries: tuple[Entry, ...]
    unpacked: int  # bytes
    ignored: int  # members outside ./app
    procfile: bytes | None  # its content, where there is one


def digest_of(path: str | os.PathLike[str]) -> tuple[str, int]:
    """The SHA-256 and the size of a file; raises SlugError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as problem:
        raise SlugError(f"cannot read {os.fspath(path)}: {problem.strerror}") from None


def verify(
    path: str | os.PathLike[str], digest: str, *, named: str | os.PathLike[str] | None = None
) -> None:
    """Raise SlugError unless the file at `path` is the very slug `digest`; of a copy, `named` is
    what it was called where it came from.
    """
    found, _ = digest_of(path)
    if found != digest:
        raise SlugError(
            f"{os.fspath(named or path)}: the slug is altered or truncated: its checksum is "
            f"SHA256:{found[:12]}..., expected SHA256:{digest[:12]}..."
        )


def survey(path: str | os.PathLike[str], *, named: str | os.PathLike[str] | None = None) -> Survey:
    """Read all of a slug and judge it; raises SlugError, and writes nothing. `named` as in
    `verify`.
    """
    safe = SafeTree()
    entries = []
    procfile = None
    name = os.fspath(named or path)
    with _opened(path, name) as read:
        reader = TarReader(read)
        while (member := reader.next()) is not None:
            entry = safe.admit(member)
            if entry is None:
                continue
            entries.append(entry)
            if entry.path == PROCFILE and entry.kind is Kind.FILE and entry.size <= MiB:
                procfile = reader.whole(entry.size)
        _read_out(read)
    safe.finish()
    if not entries:
        raise SlugError(f"{name}: not a slug: nothing in it is under ./{ROOT.decode()}/")
    return Survey(tuple(entries), safe.unpacked, safe.ignored, procfile)


def expand(
    path: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    total: int = 0,
) -> int:
    """Write the app of a slug into the empty `directory`; returns the number of entries.

    Raises SlugError and leaves what was written so far, for the caller to throw away: give it a
    directory that nobody else looks at. `total` is for `progress` alone.
    """
    safe = SafeTree()
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise _unwritable(problem, b"") from None
    try:
        with _opened(path, os.fspath(path)) as read:
            reader = TarReader(read)
            writer = _Writer(root, reader)
            while (member := reader.next()) is not None:
                entry = safe.admit(member)
                if entry is None:
                    continue
                writer.write(entry)
                if progress is not None and not safe.count % 64:
                    progress(safe.count, total)
            _read_out(read)
        safe.finish()
        writer.make_links()
    finally:
        os.close(root)
    if progress is not None:
        progress(safe.count, safe.count)
    return safe.count


class _Writer:
    """Makes entries below one open directory. Modes are the slug's, whatever the umask is."""

    def __init__(self, root: int, reader: TarReader) -> None:
        self._root = root
        self._reader = reader
        self._made = {b""}
        self._links: list[Entry] = []
        self._masked = bool(_umask() & 0o755)

    def write(self, entry: Entry) -> None:
        try:
            match entry.kind:
                case Kind.FILE:
                    self._file(entry)
                case Kind.DIRECTORY:
                    self._directory(entry.path)
                case Kind.HARDLINK:
                    self._copy(entry)
                case Kind.SYMLINK:
                    self._directory(entry.path.rpartition(b"/")[0])
                    self._links.append(entry)
        except OSError as problem:
            raise _unwritable(problem, entry.path) from None

    def make_links(self) -> None:
        for link in self._links:
            try:
                os.symlink(link.target, link.path, dir_fd=self._root)
            except OSError as problem:
                raise _unwritable(problem, link.path) from None

    def _file(self, entry: Entry) -> None:
        descriptor = self._create(entry.path, entry.executable)
        try:
            size = entry.size
            if size <= MiB:
                _write_all(descriptor, self._reader.whole(size))
                return
            while size:
                data = self._reader.content(min(size, MiB))
                _write_all(descriptor, data)
                size -= len(data)
        finally:
            os.close(descriptor)

    def _copy(self, entry: Entry) -> None:
        source = os.open(entry.target, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._root)
        try:
            executable = bool(os.fstat(source).st_mode & 0o100)
            descriptor = self._create(entry.path, executable)
            try:
                while data := os.read(source, MiB):
                    _write_all(descriptor, data)
            finally:
                os.close(descriptor)
        finally:
            os.close(source)

    def _create(self, path: bytes, executable: bool) -> int:
        parent = path.rpartition(b"/")[0]
        if parent not in self._made:
            self._directory(parent)
        mode = 0o755 if executable else 0o644
        descriptor = os.open(path, CREATE, mode, dir_fd=self._root)
        if self._masked:
            os.fchmod(descriptor, mode)
        return descriptor

    def _directory(self, path: bytes) -> None:
        if path in self._made:
            return
        self._directory(path.rpartition(b"/")[0])
        os.mkdir(path, 0o755, dir_fd=self._root)
        if self._masked:
            os.chmod(path, 0o755, dir_fd=self._root)
        self._made.add(path)


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data) if data else 0
    while written < len(data):  # a nearly full disk takes a part
        written += os.write(descriptor, data[written:])


@contextmanager
def _opened(path: str | os.PathLike[str], name: str) -> Iterator[Callable[[int], bytes]]:
    """Read the uncompressed tar, unpacking ahead in a thread; gzip's errors become SlugErrors."""
    from isal import igzip_threaded

    try:
        with igzip_threaded.open(  # type: ignore[no-untyped-call]  # isal annotates its C parts only
            os.fspath(path), "rb", threads=1
        ) as tar:
            yield tar.read
    except (EOFError, zlib.error) as problem:
        raise SlugError(f"{name}: the slug is truncated or altered: {problem}") from None
    except OSError as problem:  # gzip.BadGzipFile is one
        raise SlugError(f"{name}: {problem.strerror or problem}") from None


def _read_out(read: Callable[[int], bytes]) -> None:
    """To gzip's own end, so that its checksum is looked at; tar pads with zeros."""
    while data := read(MiB):
        if data.count(0) != len(data):
            raise SlugError("refused: something follows the end of the slug's tar")


def _umask() -> int:
    """The process's umask without changing it for other threads, where the kernel tells it."""
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o777  # unknown: set every mode


def _unwritable(problem: OSError, path: bytes) -> SlugError:
    return SlugError(f"cannot write {shown(path) or 'the app'}: {problem.strerror}")
