"""Tells the slugs that procman wrote into a tree from the app's own files, by what is in them.

A slug in the next slug would make it another one although no code has changed, and each the larger.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from procman.core.slug import Metadata, MiB
from procman.errors import SlugError
from procman.runtime.slugs.expand import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

METADATA = b".json"  # NAME.json is beside the slug NAME
LONGEST_METADATA = MiB  # a Procfile's commands are nearly all of it


def written_slugs(entries: Iterable[os.DirEntry[bytes]]) -> frozenset[bytes]:
    """Of one directory's entries the names of slugs, and of the metadata beside them.

    No name makes a slug: somebody's `data.json` beside `data` is the app's own.
    """
    found = {entry.name: entry for entry in entries}
    names: set[bytes] = set()
    for name, metadata in found.items():
        slug = found.get(name.removesuffix(METADATA))
        if slug is not None and slug is not metadata and _describes(metadata, slug):
            names |= {name, slug.name}
    return frozenset(names)


def _describes(metadata: os.DirEntry[bytes], slug: os.DirEntry[bytes]) -> bool:
    """Whether these are the metadata of the very slug; only where the size fits is it read.

    Of what cannot be read nothing is known. Whoever packs it will say so.
    """
    if not all(one.is_file(follow_symlinks=False) for one in (metadata, slug)):
        return False
    path = os.fsdecode(metadata.path)
    try:
        if metadata.stat(follow_symlinks=False).st_size > LONGEST_METADATA:
            return False
        said = Metadata.from_json(Path(path).read_text(encoding="utf-8"), path=path)
        size = slug.stat(follow_symlinks=False).st_size
        return said.size == size and digest_of(os.fsdecode(slug.path)) == (said.id, size)
    except (OSError, UnicodeDecodeError, SlugError):
        return False
