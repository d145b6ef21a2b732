"""Asks git for a commit's name and for its files, without touching the working tree."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from procman.errors import InputError, ProcmanError, SlugError

if TYPE_CHECKING:
    from pathlib import Path

# A hook's variables would make git look at the repository it runs for, not at the one named. Those
# that say where objects are stay: before a push is accepted, its commits are in quarantine.
HOOK_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_QUARANTINE_PATH")
# All that git sets for a program that runs in a repository (git rev-parse --local-env-vars), which
# is none of the app's business.
OF_A_REPOSITORY = frozenset(
    {
        *HOOK_VARIABLES,
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PUSH_OPTION_COUNT",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
    }
)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit."""

    id: str
    subject: str


def find_commit(repository: Path, reference: str) -> Commit:
    """The commit that `reference` names; raises InputError when there is none."""
    if reference.startswith("-"):
        raise InputError(f"--git {reference}: not a reference")
    name = f"{reference}^{{commit}}"
    found = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    if found.returncode != 0:
        complaint = found.stderr.decode("utf-8", "replace").strip()
        raise InputError(f"--git {reference}: {complaint or 'no such commit'}")
    id = found.stdout.decode().strip()
    subject = _git(repository, "log", "-1", "--format=%s", id).stdout.decode("utf-8", "replace")
    return Commit(id, subject.strip())


def current_commit(directory: Path) -> Commit | None:
    """The commit that the files of `directory` are, None for files that are no commit's."""
    if not (directory / ".git").exists():
        return None
    try:
        commit = find_commit(directory, "HEAD")
    except ProcmanError:
        return None  # not even a first commit, or no git at all
    status = _git(directory, "--no-optional-locks", "status", "--porcelain")
    return commit if status.returncode == 0 and not status.stdout else None


def export(repository: Path, commit: str, target: Path) -> None:
    """Write the files of `commit` into the empty directory `target`.

    By an index of its own: git's filters and line endings as in a checkout, and unlike
    `git archive` nothing is left out by export-ignore. Of a repository's subdirectory only what
    is below it. Submodules are left empty, as git leaves them.
    """
    prefix = _git(repository, "rev-parse", "--show-prefix").stdout.decode().strip()
    git_dir = _git(repository, "rev-parse", "--absolute-git-dir").stdout.decode().strip()
    tree = f"{commit}:{prefix}" if prefix else commit
    index = target.with_name(target.name + ".index")
    environment = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(target), "GIT_DIR": git_dir}
    for arguments in (("read-tree", tree), ("checkout-index", "--all", "--force")):
        result = _git(target, *arguments, environment=environment)
        if result.returncode != 0:
            complaint = result.stderr.decode("utf-8", "replace").strip()
            raise SlugError(f"git {arguments[0]} failed: {complaint}")
    index.unlink(missing_ok=True)


def ask(directory: Path, *arguments: str) -> str:
    """What git prints when it is asked in `directory`; raises ProcmanError when it fails."""
    result = _git(directory, *arguments)
    if result.returncode != 0:
        complaint = result.stderr.decode("utf-8", "replace").strip()
        raise ProcmanError(f"git {arguments[0]} failed: {complaint}")
    return result.stdout.decode("utf-8", "surrogateescape").strip()


def _git(
    directory: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    inherited = {name: text for name, text in os.environ.items() if name not in HOOK_VARIABLES}
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as problem:
        raise SlugError(f"cannot run git: {problem.strerror}") from None
