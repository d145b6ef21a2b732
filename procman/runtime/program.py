"""Finds the program of a user's command as a shell does, and starts it: for `run`, and `smoke`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from procman.runtime.boots import CANNOT_EXECUTE
from procman.runtime.process import SHELL

NOT_FOUND = 127  # POSIX 2.8.2: command not found


def find_program(name: str, path: str) -> str | int:
    """The program's path as a shell finds it in PATH, else 127 or 126."""
    candidates = [name] if "/" in name else [os.path.join(d, name) for d in path.split(os.pathsep)]
    found = [c for c in candidates if os.path.isfile(c)]
    for candidate in found:
        if os.access(candidate, os.X_OK):
            return candidate
    exists = found or any(os.path.isdir(c) for c in candidates if "/" in name)
    return CANNOT_EXECUTE if exists else NOT_FOUND


def spawn_program(spawned: Callable[[str, list[str]], int], program: str, argv: list[str]) -> int:
    """Its pid, from a caller's `posix_spawn`. A script that names no interpreter is the shell's, as
    POSIX has it. Raises OSError.
    """
    try:
        return spawned(program, argv)
    except OSError as error:
        if error.errno != errno.ENOEXEC or not _is_text(program):
            raise
    return spawned(SHELL, [SHELL, program, *argv[1:]])


def _is_text(path: str) -> bool:
    """bash's rule: the first line of a script holds no NUL."""
    with open(path, "rb") as file:
        return b"\0" not in file.read(80).partition(b"\n")[0]
