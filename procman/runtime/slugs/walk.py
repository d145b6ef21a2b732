"""Lists a source tree in the one order a slug has: a directory before what it holds, by bytes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from procman.core.slug import MAX_DEPTH, Kind, shown
from procman.core.slug_check import too_deep
from procman.errors import SlugError
from procman.runtime.slugs.written import written_slugs

if TYPE_CHECKING:
    from procman.core.slug_rules import Rules

OTHERS = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a fifo",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One thing of the tree; `inode` is what its directory says, to be compared when opened."""

    path: bytes
    kind: Kind
    inode: int = 0
    target: bytes = b""


@dataclass(slots=True)
class Walk:
    """What was found, and what was passed over because a slug cannot hold it."""

    found: list[Found] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def walk(root: bytes, rules: Rules | None) -> Walk:
    """What `rules` let in of `root`, or all; raises SlugError for what cannot be read."""
    result = Walk([Found(b"", Kind.DIRECTORY)])
    try:
        _walk(root, b"", rules, result)
    except OSError as problem:
        raise unreadable(problem, root) from None
    return result


def unreadable(problem: OSError, path: bytes) -> SlugError:
    """The one wording for a source that cannot be read."""
    name = problem.filename if problem.filename is not None else path
    text = shown(os.fsencode(name)) if isinstance(name, str | bytes) else shown(path)
    return SlugError(f"cannot read {text}: {problem.strerror}")


def _walk(root: bytes, at: bytes, rules: Rules | None, result: Walk) -> None:
    with os.scandir(os.path.join(root, at)) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    written = written_slugs(inside) if rules is not None else frozenset()
    for entry in inside:
        if entry.name in written:
            continue
        path = at + b"/" + entry.name if at else entry.name
        is_directory = entry.is_dir(follow_symlinks=False)
        if rules is not None and rules.excludes(path, is_directory=is_directory):
            continue
        if is_directory:
            if path.count(b"/") > MAX_DEPTH:
                raise too_deep(path)
            result.found.append(Found(path, Kind.DIRECTORY))
            _walk(root, path, rules, result)
        elif entry.is_symlink():
            target = os.readlink(entry.path)
            result.found.append(Found(path, Kind.SYMLINK, target=target))
        elif entry.is_file(follow_symlinks=False):
            result.found.append(Found(path, Kind.FILE, inode=entry.inode()))
        else:
            mode = entry.stat(follow_symlinks=False).st_mode
            what = OTHERS.get(stat.S_IFMT(mode), "no file")
            result.warnings.append(f"{shown(path)} is {what} and is left out")
