"""Removes Python's compiled form of files that were saved, which Python may take for up to date.

It compares the time of the source in whole seconds, and the size (importlib's
`_validate_timestamp_pyc`): of two saves within a second, both of the same length, the second would
not be run. `1` made `2` is such a save.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

CACHE = "__pycache__"  # PEP 3147: sub/__pycache__/lib.cpython-311.pyc of sub/lib.py


def remove_stale_bytecode(root: str, paths: Iterable[str]) -> None:
    """Of these files, relative to `root` or absolute; what cannot be removed stays."""
    saved: dict[str, set[str]] = {}
    for path in paths:
        if path.endswith(".py"):
            directory, name = os.path.split(os.path.join(root, path))
            saved.setdefault(os.path.join(directory, CACHE), set()).add(name[:-3])
    for cache, stems in saved.items():
        try:
            names = os.listdir(cache)
        except OSError:
            continue  # nothing was compiled there
        for name in names:
            if name.endswith(".pyc") and name.partition(".")[0] in stems:
                try:
                    os.unlink(os.path.join(cache, name))
                except OSError:
                    pass  # another user's
