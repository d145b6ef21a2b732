"""A commit is packed as it was committed, whatever the working tree is by now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from procman.core.slug import Metadata
from procman.errors import InputError, SlugError
from procman.runtime.releases.git import current_commit, find_commit
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.store import SlugStore


def git(directory: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "x@y"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    result = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, check=True
    )
    return result.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "sub").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "Procfile").write_text("web: one\n")
    (root / "sub/Procfile").write_text("web: sub\n")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("run")
    (root / "dos.txt").write_text("a\r\n")
    (root / ".gitattributes").write_text("run export-ignore\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "First: with\ttab", "-m", "body")
    (root / "Procfile").write_text("web: two\n")
    (root / "untracked").write_text("x")
    return root


def build_commit(root: Path, reference: str | None) -> tuple[Metadata, str]:
    said: list[str] = []
    return build(SlugStore(root), Order(git=reference), Log(said.append)), "".join(said)


def test_a_commit_is_packed_without_what_came_after_it(repository: Path) -> None:
    """Links, modes and all; nothing is left out by export-ignore, and no file of git's is in it."""
    slug, said = build_commit(repository, "main")
    commit = git(repository, "rev-parse", "HEAD")
    assert said.startswith(f"-----> Checking out main ({commit[:12]}: First: with\ttab)\n")
    assert (slug.commit, slug.commit_description) == (commit, "First: with\ttab")
    assert slug.process_types == {"web": "one"}
    tree = SlugStore(repository).expanded(slug.id)
    names = sorted(path.name for path in tree.iterdir())
    assert names == [".gitattributes", "Procfile", "dos.txt", "link", "run", "sub"]
    assert os.access(tree / "run", os.X_OK)
    assert os.readlink(tree / "link") == "run"
    assert git(repository, "status", "--porcelain") == "M Procfile\n?? untracked"


def test_the_same_commit_is_the_same_slug_as_its_clean_checkout(repository: Path) -> None:
    """Whichever way it came."""
    slug, _ = build_commit(repository, "HEAD")
    git(repository, "stash", "-q", "-u")
    again, _ = build_commit(repository, None)
    assert again.id == slug.id
    assert again.commit == slug.commit


def test_a_changed_working_tree_is_no_commit(repository: Path) -> None:
    """Its slug does not claim to be one."""
    assert current_commit(repository) is None
    slug, _ = build_commit(repository, None)
    assert slug.commit is None
    assert slug.process_types == {"web": "two"}
    assert current_commit(repository.parent) is None


def test_an_app_in_a_subdirectory_is_packed_alone(repository: Path) -> None:
    """As it would be from the working tree."""
    slug, _ = build_commit(repository / "sub", "HEAD")
    assert slug.process_types == {"web": "sub"}
    tree = SlugStore(repository / "sub").expanded(slug.id)
    assert [path.name for path in tree.iterdir()] == ["Procfile"]


@pytest.mark.parametrize("reference", ["nope", "--help", "HEAD:Procfile", ""])
def test_what_is_no_commit_is_told(repository: Path, reference: str) -> None:
    """By the name that was given."""
    with pytest.raises(InputError, match=f"^--git {reference}: "):
        find_commit(repository, reference)


def test_a_hooks_environment_does_not_mislead(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git sets these for hooks, of another repository."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    slug, _ = build_commit(repository, "HEAD")
    assert slug.process_types == {"web": "one"}


HOOK = """#!{python}
import sys
sys.path[:] = {path}
from pathlib import Path
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.store import SlugStore
old, new, name = sys.stdin.readline().split()
order = Order(git=new, repository=Path.cwd())
def write(text):
    print(text, end="", flush=True)
build(SlugStore({root!r}), order, Log(write))
sys.exit({status})
"""


@pytest.mark.parametrize("status", [0, 1])
def test_a_pushed_commit_can_be_built_before_it_is_accepted(
    repository: Path, tmp_path: Path, status: int
) -> None:
    """By a hook of a bare repository, where the new commit is still in quarantine."""
    root = tmp_path / "app"
    root.mkdir()
    bare = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    hook = bare / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    text = HOOK.format(python=sys.executable, path=sys.path, root=str(root), status=status)
    hook.write_text(text)
    hook.chmod(0o755)
    pushed = subprocess.run(
        ["git", "push", str(bare), "main"], cwd=repository, capture_output=True, check=False
    )
    said = pushed.stderr.decode()
    assert "remote: -----> Checking out " in said
    assert "remote:        Procfile declares types -> web" in said
    assert bool(pushed.returncode) is bool(status)
    assert SlugStore(root).all()[0].process_types == {"web": "one"}
    assert bool(git(bare, "for-each-ref")) is not bool(status)


def test_without_git_a_working_tree_is_still_packed(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit is not known, which is no reason to fail."""
    monkeypatch.setenv("PATH", "/nowhere")
    slug, _ = build_commit(repository, None)
    assert slug.commit is None
    with pytest.raises(SlugError, match="cannot run git: No such file"):
        build_commit(repository, "HEAD")
