"""Keeps an app's slugs by their digest, each packed and, once it is used, expanded.

    .procman/
      .gitignore          *
      slugs/DIGEST.tgz    the slug, and DIGEST.json, its metadata, written last
      expanded/DIGEST/    app, the tree that copies are made of; boot, the machine's boot it is of
      copies/             the dynos' own copies, each locked by its owner
      tmp/                what is being made, locked by its maker, or waits to be deleted

Nothing gets its final name before it is whole. The expanded trees keep the slug's modes, for a
copy-on-write copy shows them to the dyno, which may write to its own files; that they are never
written to is the overlay's doing.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from procman.core.slug import Metadata, is_digest, size_text
from procman.errors import SlugError
from procman.runtime.dot_procman import NAME, make_dot_procman
from procman.runtime.slugs.expand import expand, verify
from procman.runtime.slugs.scratch import TRASH, Claim, claimed, discard, sweep

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from procman.runtime.slugs.pack import Progress


class SlugStore:
    """The slugs of the app in `root`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self.home = self.root / NAME
        self.slugs = self.home / "slugs"
        self.expansions = self.home / "expanded"
        self.copies = self.home / "copies"
        self.temporary = self.home / "tmp"
        self.build_cache = self.home / "cache"

    def prepare(self) -> None:
        """Make the home, private to its owner and invisible to git."""
        try:
            make_dot_procman(str(self.root))
            self.slugs.mkdir(mode=0o700, exist_ok=True)
        except OSError as problem:
            raise SlugError(f"cannot write in {self.home}: {problem.strerror}") from None

    def claim(self, prefix: str) -> Claim:
        """A directory of our own on the file system of the store."""
        self.prepare()
        return Claim(self.temporary, prefix)

    def sweep(self) -> None:
        """Delete what killed commands have left, and what was discarded a while ago.

        For the end of a command, when nothing is to be expanded any more.
        """
        sweep(self.temporary)

    @contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Keep others from pruning (`shared`), or from any change at all, meanwhile."""
        self.prepare()
        descriptor = os.open(self.slugs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # --- packed ------------------------------------------------------------------------------

    def path_of(self, digest: str) -> Path:
        """Where the slug `digest` is, or would be."""
        if not is_digest(digest):
            raise SlugError(f"{digest!r} is not a slug's id")
        return self.slugs / f"{digest}.tgz"

    def add(self, file: Path, metadata: Metadata) -> Metadata:
        """Take over `file`, the very slug that `metadata` describes; it is renamed, not copied.

        The bytes of a slug that is there already stay; what is said of it is replaced.
        """
        target = self.path_of(metadata.id)
        if (unfit := metadata.problem()) is not None:  # no slug here could be listed any more
            raise SlugError(f"cannot keep the slug: {unfit}")
        try:
            _flush(file)
            with self.locked():
                os.rename(file, target)
                write_whole(self._metadata_path(metadata.id), metadata.to_json())
        except OSError as problem:
            raise SlugError(f"cannot keep the slug: {problem.strerror}") from None
        return metadata

    def get(self, prefix: str) -> Metadata:
        """The slug whose id begins with `prefix`; raises SlugError for none and for several."""
        found = [slug for slug in self.all() if slug.id.startswith(prefix)]
        if len(found) != 1 or not prefix:
            what = "no slug" if not found else "more than one slug"
            raise SlugError(f"{what} begins with {prefix!r}", hint="'procman slug list' shows them")
        return found[0]

    def all(self) -> list[Metadata]:
        """All slugs, the newest first."""
        slugs = [slug for digest in self._digests() if (slug := self._read(digest))]
        return sorted(slugs, key=lambda slug: (slug.created_at, slug.id), reverse=True)

    def prune(self, keep: Collection[str]) -> list[Metadata]:
        """Delete all slugs but `keep` and those a dyno has a copy of; returns the deleted."""
        try:
            with self.locked():
                gone = self._prune(keep)
        except OSError as problem:
            raise SlugError(f"cannot delete {problem.filename}: {problem.strerror}") from None
        self.sweep()
        sweep(self.temporary, TRASH)
        return gone

    def _prune(self, keep: Collection[str]) -> list[Metadata]:
        used = {self._used_by(copy) for copy in claimed(self.copies)}
        gone = [slug for slug in self.all() if slug.id not in keep and slug.id not in used]
        for slug in gone:
            # The metadata first: without them a slug is not listed, and a half-pruned one is none.
            self._metadata_path(slug.id).unlink(missing_ok=True)
            self.path_of(slug.id).unlink(missing_ok=True)
        left = {slug.id for slug in self.all()} | used
        for path in self.expansions.iterdir() if self.expansions.is_dir() else ():
            if path.name not in left:
                discard(path, self.temporary)
        for path in self.slugs.iterdir() if self.slugs.is_dir() else ():
            if path.name.partition(".")[0] not in left:
                path.unlink(missing_ok=True)
        return gone

    # --- expanded ----------------------------------------------------------------------------

    def expanded(self, digest: str, progress: Progress | None = None) -> Path:
        """The slug's tree, expanded at the first call; never to be written to.

        The checksum is verified before. A tree made before the machine's last boot is made anew:
        its files were not forced to the disk, and a power failure may have taken some.
        """
        target = self.expansions / digest
        if read_text(target / "boot") == boot_id():
            return target / "app"
        packed = self.path_of(digest)
        if not packed.exists():
            raise SlugError(f"the slug {digest[:12]} is gone", hint="build or deploy it again")
        verify(packed, digest)
        try:
            with self.claim("expand-") as directory:
                fresh = directory / "whole"
                tree = fresh / "app"
                tree.mkdir(parents=True)
                expand(packed, tree, progress=progress)
                (fresh / "boot").write_text(boot_id(), encoding="ascii")
                self.expansions.mkdir(mode=0o700, exist_ok=True)
                self._put_in_place(fresh, target)
        except OSError as problem:
            raise SlugError(f"cannot expand the slug: {problem.strerror}") from None
        return target / "app"

    def _put_in_place(self, fresh: Path, target: Path) -> None:
        """Rename, where a tree of an earlier boot or of a quicker command may be in the way."""
        while True:
            try:
                os.rename(fresh, target)
                return
            except OSError:
                if not target.exists():
                    raise
            if read_text(target / "boot") == boot_id():
                return
            discard(target, self.temporary)

    def _used_by(self, copy: Path) -> str | None:
        return read_text(copy / "slug")

    # --- metadata ----------------------------------------------------------------------------

    def _metadata_path(self, digest: str) -> Path:
        return self.slugs / f"{digest}.json"

    def _digests(self) -> list[str]:
        if not self.slugs.is_dir():
            return []
        names = (path.stem for path in self.slugs.glob("*.json"))
        return [name for name in names if is_digest(name) and self.path_of(name).exists()]

    def _read(self, digest: str) -> Metadata | None:
        return read_metadata(self._metadata_path(digest))


def describe(
    digest: str,
    size: int,
    process_types: Mapping[str, str],
    *,
    commit: str | None = None,
    commit_description: str | None = None,
    buildpack: str | None = None,
) -> Metadata:
    """Metadata of a slug made here and now."""
    return Metadata(
        id=digest,
        size=size,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        stack=stack(),
        process_types=dict(process_types),
        commit=commit,
        commit_description=commit_description,
        buildpack_provided_description=buildpack,
    )


def stack() -> str:
    """Where what is compiled here can run: `linux-x86_64`."""
    machine = os.uname()
    return f"{machine.sysname.lower()}-{machine.machine}"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, also after a power failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        flush_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush_directory(path: Path) -> None:
    """Force a directory's names to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """Names this boot of the machine; empty where the system does not say."""
    return (read_text(Path("/proc/sys/kernel/random/boot_id")) or "").strip()


def summary(slug: Metadata) -> str:
    """One line for people: `3f2c1a9b04de  12.3 MB  2026-11-23T12:00:01Z  web, worker`."""
    created = slug.created_at.partition(".")[0].rstrip("Z") + "Z"
    types = ", ".join(slug.process_types) or "no process types"
    return f"{slug.id[:12]}  {size_text(slug.size):>9}  {created}  {types}"


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path) -> str | None:
    """The text of a file, None when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_metadata(path: Path) -> Metadata | None:
    """What a file says of a slug, None when there is none; raises SlugError for anything else."""
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        raise SlugError(f"{path}: not a slug's metadata: it is not UTF-8") from None
    except OSError as problem:
        raise SlugError(f"cannot read {path}: {problem.strerror}") from None
    return None if text is None else Metadata.from_json(text, path=str(path))
