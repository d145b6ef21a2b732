"""What `.gitignore` means, held to git itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procman.core.gitignore import Patterns, split_lines

HAS_GIT = shutil.which("git") is not None


def ignored(patterns: Patterns, path: str) -> bool:
    """As a walk meets it: whether it or a directory above it is excluded."""
    parts = path.rstrip("/").split("/")
    for depth in range(1, len(parts) + 1):
        is_directory = depth < len(parts) or path.endswith("/")
        if patterns.excludes("/".join(parts[:depth]), is_directory=is_directory):
            return True
    return False


@pytest.mark.parametrize(
    ("lines", "out", "kept"),
    [
        (["*.log"], ["a.log", "x/b.log", "old.log/"], ["log", "a.logs"]),
        (["/build"], ["build/", "build"], ["x/build"]),
        (["build/"], ["build/", "x/build/", "build/a"], ["build", "x/build"]),
        (["*", "!*/", "!*.py"], ["a.txt", "src/a.txt"], ["src/", "a.py", "src/deep/a.py"]),
        (["*", "!src/"], ["a", "src/a"], ["src/"]),
        (["a/**"], ["a/x", "a/x/y"], ["a/"]),
        (["a/**/"], ["a/x/", "a/x/y"], ["a/", "a/x"]),
        (["a/**/b"], ["a/b", "a/x/y/b"], ["b", "x/a/b"]),
        (["*.py", "!keep/"], ["keep/a.py"], ["keep/"]),
        (["x", "!x"], [], ["x"]),
        (["!x", "x"], ["x"], []),
        (["out/", "!out/keep"], ["out/keep"], []),
        (["# no", "", "  ", "/", "!", "a\\"], [], ["no", "# no", "a"]),
        (["\\#a", "\\!b"], ["#a", "!b"], ["a", "b"]),
        (["\ufeffa"], ["a"], []),
        (
            ["[[:digit:]]*.log", "[z-a]", "[[:upper:]-]"],
            ["7.log", "x/0a.log", "Q", "-"],
            ["a.log"],
        ),
    ],
)
def test_gitignore_means_what_git_says(lines: list[str], out: list[str], kept: list[str]) -> None:
    """Also in a walk, where directories are asked for before what they hold."""
    patterns = Patterns(lines)
    assert [path for path in out if not ignored(patterns, path)] == []
    assert [path for path in kept if ignored(patterns, path)] == []


FILES = ["b", "b.py", "a/b", "a/b.py", "a/a/a", "a/ab/a", "ab/b/a", "ab/b/b.py", "ab/a/b", "c/a/b"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for file in FILES:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def seen_by_git(root: Path, lines: list[str], end: str = "\n") -> list[str]:
    """The files that git would add; `check-ignore` is another thing, it knows no walk."""
    (root / "patterns").write_bytes(("\n".join(lines) + end).encode())
    done = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-from=patterns", "-z"],
        cwd=root,
        stdout=subprocess.PIPE,
        check=True,
    )
    return [path for path in done.stdout.decode().split("\0")[:-1] if path != "patterns"]


ODD_LINES = ["a b\t", "a b \t ", "c\\ ", "c\\  ", "d\r", "d\x0be", "f\u2028g", "?", "[!a]", "é\\?"]
ODD_FILES = ["a b", "a b\t", "c ", "c", "d", "d\x0be", "e", "f\u2028g", "g", "é", "é?", "d\r"]


@pytest.mark.skipif(not HAS_GIT, reason="git is not installed")
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("line", ODD_LINES)
def test_odd_white_space_and_letters_of_two_bytes_mean_what_they_mean_to_git(
    tmp_path: Path, line: str, end: str
) -> None:
    """What ends a line, what is stripped from it, and what `?` is."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for file in ODD_FILES:
        (tmp_path / file).touch()
    seen = seen_by_git(tmp_path, [line], end)
    patterns = Patterns(split_lines(line + end))
    assert sorted(file for file in ODD_FILES if not ignored(patterns, file)) == sorted(seen)


PART = st.sampled_from(["a", "b", "ab", "*", "a*", "*.py", "b.py", "**", "?", "[ab]", "[!a]"])
LINE = st.builds(
    lambda bang, start, parts, end: bang + start + "/".join(parts) + end,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(PART, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", "/**", "/*"]),
)


@pytest.mark.skipif(not HAS_GIT, reason="git is not installed")
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(lines=st.lists(LINE, min_size=1, max_size=4))
def test_any_patterns_mean_to_us_what_they_mean_to_git(repository: Path, lines: list[str]) -> None:
    """Over a real tree and git's own walk."""
    patterns = Patterns(lines)
    ours = [file for file in FILES if not ignored(patterns, file)]
    assert sorted(ours) == sorted(seen_by_git(repository, lines)), lines
