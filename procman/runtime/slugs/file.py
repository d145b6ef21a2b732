"""A slug outside the store: looked into, extracted, written out, taken in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from procman.core.procfile import Procfile, is_type_name, parse_procfile
from procman.core.slug import Kind, Metadata, is_digest
from procman.errors import SlugError
from procman.runtime.slugs.expand import digest_of, expand, survey, verify
from procman.runtime.slugs.scratch import Claim, sweep
from procman.runtime.slugs.store import SlugStore, describe, read_metadata, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from procman.runtime.slugs.expand import Survey
    from procman.runtime.slugs.pack import Progress

INSIDE = ".procman-extract-"  # what begins so in a directory is an extraction into it


def find(store: SlugStore, name: str) -> Path:
    """The file `name`, else the store's slug whose id begins so."""
    path = Path(name)
    if name and path.is_dir():
        raise SlugError(f"{name} is a directory, and a slug is a file")
    if name and path.exists():
        return path
    if name and not name.strip("0123456789abcdef"):
        return store.path_of(store.get(name).id)
    raise SlugError(f"{name or 'a slug without a name'}: no such file")


def metadata_beside(file: Path) -> Metadata | None:
    """What is said of a slug in `FILE.json`, in the store `DIGEST.json`; None for no such file.

    Of a symbolic link it may be beside the file that this leads to, where `write_out` leaves it.
    """
    for one in (file, _followed(file)):
        path = one.with_suffix(".json") if is_digest(one.stem) else _beside(one)
        if (metadata := read_metadata(path)) is not None:
            return metadata
    return None


def look_into(file: Path) -> tuple[Metadata, Survey]:
    """Verify and read all of a slug; raises SlugError for one that is altered, broken or unsafe.

    Of a slug without metadata the size and the checksum are still told.
    """
    metadata = metadata_beside(file)
    if metadata is not None:
        verify(file, metadata.id)
    else:
        digest, size = digest_of(file)
        metadata = describe(digest, size, {})
    return metadata, survey(file)


def extract(file: Path, directory: Path, progress: Progress | None = None) -> int:
    """Expand a slug into `directory`, which must not exist or be empty; returns the entries.

    All of it is judged before anything is written, and it gets its name when it is whole. A
    directory that exists is not replaced: a shell may be in it, a link lead to it, a disk be
    mounted there. It gets the entries one by one, or none of them.
    """
    _, contents = look_into(file)
    give: Callable[[Path, Path], None]
    if os.path.lexists(directory):
        place, prefix, give = directory, INSIDE, _move_entries
        _require_empty(directory)
    else:
        target = _in_a_directory(directory)
        place, prefix, give = target.parent, f".{target.name}.procman-", os.rename
        sweep(place, prefix)
    with Claim(place, prefix) as work:
        tree = work / "app"
        tree.mkdir(mode=0o755)
        count = expand(file, tree, progress=progress, total=len(contents.entries))
        try:
            give(tree, directory)
        except OSError as problem:
            raise SlugError(f"cannot write {directory}: {problem.strerror}") from None
    return count


def write_out(store: SlugStore, slug: Metadata, file: Path) -> None:
    """Copy a slug of the store to `file` and its metadata beside it, whole or not at all.

    A symbolic link stays one: what it leads to is written. Raises SlugError, and writes nothing,
    where there is something that is no file.
    """
    target = _in_a_directory(_writable(file))
    prefix = f".{target.name}.procman-"
    sweep(target.parent, prefix)
    with Claim(target.parent, prefix) as work:
        copy = work / "slug.tgz"
        try:
            shutil.copyfile(store.path_of(slug.id), copy)
            os.rename(copy, target)
            write_whole(_beside(target), slug.to_json())
        except OSError as problem:
            raise SlugError(f"cannot write {file}: {problem.strerror}") from None


def files_of(file: Path) -> list[Path]:
    """What `write_out` writes: the slug, by its name and where that leads to, and its metadata.

    Raises SlugError, as that does, so that a build fails before it begins.
    """
    target = _writable(file)
    return [file, target, _beside(target)]


def adopt(
    store: SlugStore, file: Path, tell: Callable[[Procfile], object] | None = None
) -> Metadata:
    """Copy a slug from elsewhere into the store, once it is seen to be whole and safe.

    Without metadata beside it, its process types are those of the Procfile in it, which `tell` is
    given: it may have lines that declare nothing.
    """
    beside = metadata_beside(file)
    with store.claim("adopt-") as work:
        copy = work / "slug.tgz"
        try:
            shutil.copyfile(file, copy)
        except OSError as problem:
            raise SlugError(f"cannot read {file}: {problem.strerror or problem}") from None
        if beside is not None:
            for name in beside.process_types:
                if not is_type_name(name):  # it becomes a directory's, each dyno's copy
                    raise SlugError(f"{file}: {name!r} is no name of a process type")
            verify(copy, beside.id, named=file)
            survey(copy, named=file)
            return store.add(copy, beside)
        # Not expanded for it: deleting a tree makes ext4's next expansion several times slower.
        data = survey(copy, named=file).procfile
        procfile = None if data is None else valid_procfile(data)
        if procfile is not None and tell is not None:
            tell(procfile)
        types = {} if procfile is None else procfile.commands
        digest, size = digest_of(copy)
        return store.add(copy, describe(digest, size, types))


def procfile_of(tree: Path) -> Procfile | None:
    """The Procfile in `tree`, None without one; raises ProcmanError for one that is no use."""
    path = tree / "Procfile"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise SlugError(f"cannot read Procfile: {problem.strerror}") from None
    return valid_procfile(data)


def valid_procfile(data: bytes) -> Procfile:
    """A Procfile's text as a slug takes it; raises InputError for a fatal problem of it."""
    procfile = parse_procfile(data, "Procfile")
    procfile.require_valid()
    return procfile


def largest(contents: Survey, count: int) -> list[tuple[bytes, int]]:
    """The `count` largest files of a slug, the largest first."""
    files = [(entry.path, entry.size) for entry in contents.entries if entry.kind is Kind.FILE]
    return sorted(files, key=lambda file: (-file[1], file[0]))[:count]


def _require_empty(directory: Path) -> None:
    """Raises SlugError; what a killed extraction has left in `directory` is swept, if that is all
    there is: beside anything else it may be somebody's own.
    """
    try:
        if directory.is_dir():
            if all(name.startswith(INSIDE) for name in os.listdir(directory)):
                sweep(directory, INSIDE)
            if not os.listdir(directory):
                return
    except OSError as problem:
        raise SlugError(f"cannot read {directory}: {problem.strerror}") from None
    raise _not_empty(directory)


def _not_empty(directory: Path) -> SlugError:
    return SlugError(f"{directory} exists and is not an empty directory")


def _move_entries(tree: Path, directory: Path) -> None:
    """Move all that is in `tree` to `directory`, which holds nothing but the claim with `tree`.

    Raises SlugError when something else came there meanwhile, OSError when the disk refuses;
    then all of it is back in `tree`.
    """
    if os.listdir(directory) != [tree.parent.name]:
        raise _not_empty(directory)
    names = os.listdir(tree)
    try:
        for name in names:
            os.rename(tree / name, directory / name)
    except BaseException:
        for name in names:
            if not os.path.lexists(tree / name):  # asked, not noted: Ctrl-C comes at any moment
                os.rename(directory / name, tree / name)
        raise


def _in_a_directory(path: Path) -> Path:
    """The absolute path; what is to be written is made beside it, so its directory must exist."""
    target = path.absolute()
    if not target.parent.is_dir():
        raise SlugError(f"{path.parent}: no such directory")
    return target


def _writable(file: Path) -> Path:
    """Where `file` leads to; a device or a pipe there would be replaced by a file, not written."""
    target = _followed(file)
    if file.exists() and not target.is_file():  # of /dev/stdout's pipe there is not even a name
        raise SlugError(f"{file} is no file, and a slug can only be written to one")
    return target


def _followed(file: Path) -> Path:
    return Path(os.path.realpath(file)) if file.is_symlink() else file


def _beside(file: Path) -> Path:
    return file.with_name(file.name + ".json")
