"""Reads from disk what the rules of watching need: ignore files, and what a directory holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from procman.core.gitignore import split_lines
from procman.core.watch_rules import MADE_BY_TOOLS, Above, Subject, WatchRules


@dataclass(frozen=True, slots=True)
class Entries:
    """The files and directories in one directory that count, as paths relative to the app."""

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


def load_rules(root: str, always: Mapping[str, Subject]) -> WatchRules:
    """The rules as they are at the root; `.gitignore` files are read as the walk meets them."""
    slugignore = read_lines(os.path.join(root, ".slugignore"))
    return WatchRules(always, slugignore=slugignore, above=_above(root))


def entries(root: str, directory: str, rules: WatchRules) -> Entries | None:
    """What counts in `directory` (`` for the root); None when it is gone, not to be read, or made
    by a tool. Links to directories are not followed: they may lead in a circle."""
    try:
        with os.scandir(os.path.join(root, directory)) as found:
            inside = list(found)
    except OSError:
        return None
    names = {entry.name for entry in inside}
    if directory and names & MADE_BY_TOOLS:
        return None
    if ".gitignore" in names:
        rules.read(directory, read_lines(os.path.join(root, directory, ".gitignore")))
    files: list[str] = []
    directories: list[str] = []
    for entry in inside:
        path = f"{directory}/{entry.name}" if directory else entry.name
        try:
            is_directory = entry.is_dir(follow_symlinks=False)
        except OSError:
            continue  # gone just now
        if rules.counts(path, is_directory=is_directory):
            (directories if is_directory else files).append(path)
    return Entries(tuple(files), tuple(directories))


def all_files(root: str, rules: WatchRules) -> list[str]:
    """Every file that counts."""
    found: list[str] = []
    queue = [""]
    while queue:
        inside = entries(root, queue.pop(), rules)
        if inside is not None:
            found += inside.files
            queue += inside.directories
    return found


def read_lines(path: str) -> list[str]:
    """The lines of an ignore file, in whatever encoding; none when there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return split_lines(file.read())
    except OSError:
        return []


def _above(root: str) -> list[Above]:
    """The ignore files from the app's parent up to the repository's top, nearest first."""
    found: list[Above] = []
    directory, prefix = root, ""
    while not os.path.exists(os.path.join(directory, ".git")):
        parent, name = os.path.split(directory)
        if parent == directory:
            return []  # no repository: what lies above is nobody's word about this app
        directory, prefix = parent, f"{name}/{prefix}"
        found.append(Above(prefix, read_lines(os.path.join(directory, ".gitignore"))))
    exclude = read_lines(os.path.join(directory, ".git", "info", "exclude"))
    return [*found, Above(prefix, exclude)]
