"""The rules that keep a slug inside its own tree, for what is packed and what is expanded alike.

An entry is refused that
- has an absolute path, a `..`, a NUL, or a name no file system takes;
- lies deeper than a tree can be walked and deleted;
- is neither file, directory, symbolic link nor hard link (a device, a fifo, a sparse file);
- carries a set-user-id or set-group-id bit;
- lies below something that is no directory (such as an earlier symbolic link);
- is there twice (a file over a link over a file is how GNU tar once was tricked);
- is a hard link to anything but an earlier file of the same slug;
- is a symbolic link that leads out of the app, directly or by way of other links of the slug;
- makes the whole larger than any app is, or its links longer to follow.

Considered checking while expanding only: the tree of links is known at the end alone, so links
are made last, and an untrusted slug is read through once before anything is written.
"""

from __future__ import annotations

from procman.core.slug import (
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_NAME,
    MAX_PATH,
    MAX_UNPACKED,
    ROOT,
    Entry,
    Kind,
    shown,
    size_text,
)
from procman.core.slug_tar import FOREIGN, Member, Type
from procman.errors import SlugError

SET_ID = 0o6000
EXECUTABLE = 0o100
MAX_LINKS = 40  # Linux follows so many in one path, then gives up with ELOOP
MAX_STEPS = 10_000_000  # names in all paths followed, a second or so: 100,000 links of node_modules
# have fewer than 1,000,000, and 430 that were made for it, 11 KB packed, 33,000,000

KINDS = {
    Type.FILE: Kind.FILE,
    Type.OLD_FILE: Kind.FILE,
    Type.CONTIGUOUS: Kind.FILE,
    Type.DIRECTORY: Kind.DIRECTORY,
    Type.SYMLINK: Kind.SYMLINK,
    Type.HARDLINK: Kind.HARDLINK,
}


class _Directory:
    """Of the tree only what symbolic links are below: so that a step costs the same at any depth.

    What is in it is a directory, or a link's target.
    """

    __slots__ = ("holds", "parent")

    def __init__(self, parent: _Directory | None) -> None:
        self.parent = parent
        self.holds: dict[bytes, _Directory | bytes] = {}


class SafeTree:
    """The entries admitted so far; every refusal is a SlugError that names the entry."""

    def __init__(self) -> None:
        self.unpacked = 0
        self.count = 0
        self.ignored = 0  # members outside ./app, which Heroku ignores as well
        self._kinds: dict[bytes, Kind] = {b"": Kind.DIRECTORY}
        self._sizes: dict[bytes, int] = {}
        self._links: dict[bytes, bytes] = {}

    def admit(self, member: Member) -> Entry | None:
        """Turn an archive's member into an entry; None for one outside `./app`."""
        parts = _parts(member.name)
        if member.mode & SET_ID:
            raise _refused(member.name, "has a set-user-id or set-group-id bit")
        try:
            kind = KINDS[Type(member.type)]
        except (ValueError, KeyError):
            what = FOREIGN.get(member.type, f"of the unknown type {member.type!r}")
            raise _refused(member.name, f"is {what}") from None
        if kind is Kind.FILE and member.name.endswith(b"/"):
            kind = Kind.DIRECTORY  # the tars before POSIX had no other sign of one
        if not parts or parts[0] != ROOT:
            self.ignored += bool(parts)
            return None
        path = b"/".join(parts[1:])
        if not path and kind is not Kind.DIRECTORY:
            raise _refused(member.name, "takes the place of the app's own directory")
        target = member.target
        if kind is Kind.HARDLINK:
            target = self._hard_link_target(member)
        entry = Entry(
            path,
            kind,
            size=member.size if kind is Kind.FILE else 0,
            executable=bool(member.mode & EXECUTABLE),
            target=target if kind in (Kind.SYMLINK, Kind.HARDLINK) else b"",
        )
        self.place(entry)
        return entry

    def place(self, entry: Entry) -> None:
        """Take one entry in, after the rules that need only what came before it."""
        path = entry.path
        seen = self._kinds.get(path)
        if seen is not None and not (seen is Kind.DIRECTORY is entry.kind):
            raise _refused(path, "is there twice")
        if seen is None:
            self._check_names(path)
            self._make_parents(path)
            self._kinds[path] = entry.kind
        self.count += 1
        # Those that are but implied by a name are directories to be made as well.
        if self.count > MAX_ENTRIES or len(self._kinds) - 1 > MAX_ENTRIES:
            raise SlugError(f"refused: more than {MAX_ENTRIES} entries")
        match entry.kind:
            case Kind.FILE:
                self._sizes[path] = entry.size
                self._weigh(entry.size)
            case Kind.HARDLINK:
                size = self._sizes[entry.target]
                self._sizes[path] = size
                self._weigh(size)
            case Kind.SYMLINK:
                self._check_link(entry)
                self._links[path] = entry.target
            case Kind.DIRECTORY:
                pass  # nothing to weigh

    def finish(self) -> None:
        """Follow every symbolic link by the links of the slug; call it after the last entry."""
        directories = _directories_of(self._links)
        steps = 0
        for path in self._links:
            steps += self._follow(path, directories[_parent(path)])
            if steps > MAX_STEPS:
                raise SlugError(f"refused: its links take more than {MAX_STEPS} steps to follow")

    def _check_names(self, path: bytes) -> None:
        if len(path) > MAX_PATH:
            raise _refused(path[:60] + b"...", f"has a path longer than {MAX_PATH} bytes")
        if len(path) > MAX_NAME and any(len(part) > MAX_NAME for part in path.split(b"/")):
            raise _refused(path[:60] + b"...", f"has a name longer than {MAX_NAME} bytes")
        if path.count(b"/") > MAX_DEPTH:
            raise too_deep(path)

    def _make_parents(self, path: bytes) -> None:
        parent = _parent(path)
        missing = []
        while (kind := self._kinds.get(parent)) is None:
            missing.append(parent)
            parent = _parent(parent)
        if kind is not Kind.DIRECTORY:
            raise _refused(path, f"lies below {shown(parent)}, which is a {kind.value}")
        for path in missing:
            self._kinds[path] = Kind.DIRECTORY

    def _weigh(self, size: int) -> None:
        self.unpacked += size
        if self.unpacked > MAX_UNPACKED:
            raise SlugError(f"refused: more than {size_text(MAX_UNPACKED)} unpacked")

    def _hard_link_target(self, member: Member) -> bytes:
        parts = _parts(member.target)
        path = b"/".join(parts[1:])
        if not parts or parts[0] != ROOT or path not in self._sizes:
            where = shown(member.target)
            raise _refused(member.name, f"is a hard link to {where}, no earlier file of the slug")
        return path

    def _check_link(self, entry: Entry) -> None:
        if not entry.target or b"\0" in entry.target or len(entry.target) > MAX_PATH:
            raise _refused(entry.path, "is a symbolic link to nothing a path can name")
        if entry.target.startswith(b"/"):
            raise _refused(
                entry.path,
                f"is a symbolic link to the absolute path {shown(entry.target)}",
                hint="make it relative, or leave it out with .slugignore; a virtual environment "
                "is made without such links by 'python -m venv --copies'",
            )

    def _follow(self, path: bytes, place: _Directory) -> int:
        """Walk as the kernel would, from the link's own directory; returns the steps.

        What does not exist counts as a directory: it may come. The walk is `beyond` of those
        below `place`.
        """
        ahead = self._links[path].split(b"/")[::-1]
        steps, followed, beyond = len(ahead), 1, 0
        while ahead:
            part = ahead.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if beyond:
                    beyond -= 1
                elif place.parent is not None:
                    place = place.parent
                else:
                    raise _refused(
                        path, f"is a symbolic link out of the app, to {shown(self._links[path])}"
                    )
                continue
            found = None if beyond else place.holds.get(part)
            if found is None:
                beyond += 1
            elif isinstance(found, _Directory):
                place = found
            else:
                followed += 1
                if followed > MAX_LINKS:
                    break  # the kernel refuses such a path itself, wherever it leads
                names = found.split(b"/")[::-1]
                steps += len(names)
                ahead += names
        return steps


def _directories_of(links: dict[bytes, bytes]) -> dict[bytes, _Directory]:
    directories = {b"": _Directory(None)}
    for path, target in links.items():
        above = _parent(path)
        missing = []
        while above not in directories:
            missing.append(above)
            above = _parent(above)
        place = directories[above]
        for directory in reversed(missing):
            inner = directories[directory] = _Directory(place)
            place.holds[_name(directory)] = inner
            place = inner
        place.holds[_name(path)] = target
    return directories


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _parts(name: bytes) -> list[bytes]:
    if name.startswith(b"/"):
        raise _refused(name, "has an absolute path")
    if b"\0" in name:
        raise _refused(name, "has a NUL in its name")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise _refused(name, "has '..' in its path")
    return parts


def too_deep(path: bytes) -> SlugError:
    """Of an entry below more directories than can be walked."""
    return _refused(path[:60] + b"...", f"lies below more than {MAX_DEPTH} directories")


def _refused(path: bytes, why: str, *, hint: str | None = None) -> SlugError:
    return SlugError(f"refused: {shown(path)} {why}", hint=hint)
