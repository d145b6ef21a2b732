"""Whether git is changing the working tree: it holds `index.lock` from before the first file that
it writes until after the last, so that a checkout is one change however long it takes.

The lock is the new index, and git fills it when the files are written. It may go on holding it:
`git commit -a` does while the message is being written, and then saves are saves.
"""

from __future__ import annotations

import os
import time

STALE = 60.0  # seconds; left by a git that was killed, which git itself then complains of


def find_git_lock(root: str) -> str | None:
    """Where git's lock would be for the repository that `root` lies in; None outside of one."""
    directory = root
    while True:
        place = os.path.join(directory, ".git")
        if os.path.isdir(place):
            return os.path.join(place, "index.lock")
        if os.path.isfile(place):  # a worktree or a submodule: gitrepository-layout(5)
            with open(place, encoding="utf-8", errors="surrogateescape") as file:
                inside = file.read().removeprefix("gitdir:").strip()
            return os.path.join(directory, inside, "index.lock")
        above = os.path.dirname(directory)
        if above == directory:
            return None
        directory = above


def is_held(lock: str) -> bool:
    """Whether a git holds it now, and has files still to write."""
    try:
        status = os.stat(lock)
    except OSError:
        return False
    return not status.st_size and time.time() - status.st_mtime < STALE
