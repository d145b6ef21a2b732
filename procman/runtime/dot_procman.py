"""Makes `.procman/` in an app's root: private to its owner, and invisible to git."""

from __future__ import annotations

import os

NAME = ".procman"


def make_dot_procman(root: str) -> str:
    """The directory's path, made where it is not there. Raises OSError."""
    path = os.path.join(root, NAME)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    ignore = os.path.join(path, ".gitignore")
    try:
        descriptor = os.open(ignore, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return path
    try:
        os.write(descriptor, b"*\n")
    finally:
        os.close(descriptor)
    return path
