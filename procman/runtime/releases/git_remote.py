"""The bare repository that an app is pushed to, with the hook that deploys what arrives."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from procman.errors import ProcmanError
from procman.runtime.releases.git import ask

if TYPE_CHECKING:
    from pathlib import Path

    from procman.runtime.slugs.store import SlugStore

REMOTE = "procman"
HOOKS = "hooks"
# git runs it in the repository, which is two levels below the app wherever that is moved to.
HOOK = """\
#!/bin/sh
# Written by `procman git init`: deploys what is pushed, or refuses the push.
exec {python} -m procman -d ../.. git receive
"""


def repository_of(store: SlugStore) -> Path:
    """Where the repository is, or would be."""
    return store.home / "repository.git"


def make_repository(store: SlugStore) -> Path:
    """Make the repository, or only its hook anew, for the procman that is running."""
    store.prepare()
    repository = repository_of(store)
    ask(store.home, "init", "--quiet", "--bare", "--template=", repository.name)
    ask(repository, "symbolic-ref", "HEAD", "refs/heads/main")
    # A user's own core.hooksPath would take the place of our hook. git runs it in the repository,
    # and so finds it there as well when the app has been moved.
    ask(repository, "config", "core.hooksPath", HOOKS)
    hook = repository / HOOKS / "pre-receive"
    try:
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(HOOK.format(python=shlex.quote(sys.executable)), encoding="utf-8")
        hook.chmod(0o755)
    except OSError as problem:
        raise ProcmanError(f"cannot write {hook}: {problem.strerror}") from None
    return repository


def add_remote(root: Path, repository: Path) -> Path | None:
    """Name the repository `procman` in the one that `root` is in; that one's top, None for none."""
    try:
        top = ask(root, "rev-parse", "--show-toplevel")
    except ProcmanError:
        return None
    remotes = ask(root, "remote").splitlines()
    ask(root, "remote", "set-url" if REMOTE in remotes else "add", REMOTE, str(repository))
    return type(root)(os.path.realpath(top))
