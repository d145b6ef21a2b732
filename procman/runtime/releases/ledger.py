"""The ledger's file: appended to by one writer at a time, forced to the disk, readable always.

A line counts when its newline is there, so a writer that is killed in the middle of one leaves the
ledger as it was. The next writer cuts the torn line off, and settles as failed what a killed
deploy left pending: holding the lock, it knows that nobody is at it any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from procman.core.release import Release, Settled, Status, decode, encode, fold, unsettled
from procman.errors import InputError, ProcmanError
from procman.runtime.slugs.store import flush_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from procman.core.release import Record
    from procman.runtime.slugs.store import SlugStore

INTERRUPTED = "its deploy was interrupted"


class Ledger:
    """The releases of one app."""

    def __init__(self, store: SlugStore) -> None:
        self._store = store
        self.path: Path = store.home / "releases.jsonl"

    def read(self) -> tuple[Release, ...]:
        """All releases, v1 first. A deploy that goes on is pending, and so is one just killed."""
        return _read(self.path)[0]

    @contextmanager
    def writing(self) -> Iterator[LedgerWriter]:
        """Be the one writer, for as long as a whole deploy takes.

        Raises ProcmanError when another is; the config vars make the file readable to its owner
        alone.
        """
        self._store.prepare()
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise ProcmanError(f"cannot write {self.path}: {problem.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise ProcmanError("another deploy of this app is going on") from None
        try:
            os.fchmod(file, 0o600)
            flush_directory(self.path.parent)
            writer = LedgerWriter(file, self.path)
            for release in unsettled(writer.releases):
                writer.settle(release, Status.FAILED, reason=INTERRUPTED)
            yield writer
        finally:
            os.close(file)


class LedgerWriter:
    """Appends; made by `Ledger.writing` alone."""

    def __init__(self, file: int, path: Path) -> None:
        self._file = file
        self._path = path
        self.releases, good = _read(path)
        if os.fstat(file).st_size != good:
            os.ftruncate(file, good)
            os.fsync(file)

    def add(self, release: Release) -> Release:
        """Append a pending release, made by `draft` or `rollback` from `self.releases`."""
        self._append(release)
        return self.releases[-1]

    def settle(self, release: Release, status: Status, *, reason: str | None = None) -> Release:
        """Say how a release ended; on the disk when this returns."""
        self._append(Settled(release.version, status, now(), reason))
        return self.releases[release.version - 1]

    def _append(self, record: Record) -> None:
        line = encode(record)
        releases = fold([*self.releases, record])
        before = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as problem:
            os.ftruncate(self._file, before)
            raise ProcmanError(f"cannot write {self._path}: {problem.strerror}") from None
        self.releases = releases


def now() -> str:
    """The time as records hold it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _read(path: Path) -> tuple[tuple[Release, ...], int]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return (), 0
    except OSError as problem:
        raise ProcmanError(f"cannot read {path}: {problem.strerror}") from None
    records, good = decode(data, path=str(path))
    try:
        return fold(records), good
    except ValueError as problem:
        raise InputError(f"the ledger of releases is damaged: {problem}", path=str(path)) from None
