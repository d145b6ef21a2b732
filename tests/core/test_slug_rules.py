"""What gets into a slug: never a secret, and what .slugignore says in git's own meaning."""

from __future__ import annotations

import pytest

from procman.core.slug_rules import Rules

EXAMPLE = "# Heres a comment\n*.psd\n*.pdf\n/test\n/spec\n"  # Heroku's own


def kept(rules: Rules, path: str) -> bool:
    """Walk down to `path` as a packer does; a trailing slash makes it a directory."""
    parts = path.rstrip("/").split("/")
    for depth in range(1, len(parts) + 1):
        is_directory = depth < len(parts) or path.endswith("/")
        if rules.excludes("/".join(parts[:depth]).encode(), is_directory=is_directory):
            return False
    return True


@pytest.mark.parametrize(
    "path",
    [".env", ".env.production", ".envrc", "deep/.env", ".git/", ".procman/", "sub/.git", ".env/x"],
)
@pytest.mark.parametrize("slugignore", [None, "", "!.env\n!.env*\n!.git\n!**\n"])
@pytest.mark.parametrize("conveniences", [True, False])
def test_secrets_never_get_in(path: str, slugignore: str | None, conveniences: bool) -> None:
    """Whatever .slugignore takes back, and whatever a buildpack has made."""
    assert not kept(Rules(slugignore, conveniences=conveniences), path)


@pytest.mark.parametrize("slugignore", [None, "", "# nothing\n"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("app.py", True),
        (".DS_Store", False),
        ("deep/.DS_Store", False),
        (".slugignore", False),
        ("__pycache__/", False),
        ("a/__pycache__/", False),
        ("__pycache__", True),  # a file of that name is nobody's cache
        (".environment", False),
        ("env", True),
        (".gitignore", True),
        ("my.env", True),
    ],
)
def test_conveniences_are_the_same_with_and_without_a_slugignore(
    slugignore: str | None, path: str, expected: bool
) -> None:
    """Without the file the patterns are matched by name, which is quicker and means the same."""
    assert kept(Rules(slugignore), path) is expected


@pytest.mark.parametrize(
    ("slugignore", "path", "expected"),
    [
        (EXAMPLE, "test/", False),
        (EXAMPLE, "test/a.py", False),
        (EXAMPLE, "app/test/a.py", True),  # anchored
        (EXAMPLE, "a.psd", False),
        (EXAMPLE, "deep/b.pdf", False),
        (EXAMPLE, "Heres", True),  # a word of a comment, which Heroku's compiler deleted
        (EXAMPLE, "comment", True),
        ("doc/\n", "doc/x", False),
        ("doc/\n", "doc", True),  # a file, not a directory
        ("*.log\n!keep.log\n", "keep.log", True),
        ("*.log\n!keep.log\n", "a.log", False),
        ("!keep.log\n*.log\n", "keep.log", False),  # the last match wins
        ("logs/\n!logs/keep\n", "logs/keep", False),  # in an excluded directory nothing is seen
        ("logs/*\n!logs/keep\n", "logs/keep", True),
        ("*\n!*/\n!*.py\n", "src/deep/a.py", True),
        ("*\n!*/\n!*.py\n", "src/deep/a.txt", False),
        ("a name\n", "a name", False),
        ("a name\n", "a", True),
        ("**/tmp\n", "x/y/tmp/z", False),
        ("\\#hash\n", "#hash", False),
        ("trailing   \n", "trailing", False),
        ("!__pycache__/\n", "__pycache__/", True),  # a convenience can be taken back
        ("*.pyc\r\n", "a.pyc", False),
    ],
)
def test_slugignore_means_what_gitignore_means(slugignore: str, path: str, expected: bool) -> None:
    """The table where Heroku's compiler, GNU tar's -X and git differ."""
    assert kept(Rules(slugignore), path) is expected


def test_a_name_that_is_no_utf_8_can_be_matched() -> None:
    """Paths are bytes; patterns are text."""
    assert not kept_bytes(Rules("*.bin\n"), b"\xff.bin")
    assert kept_bytes(Rules("*.txt\n"), b"\xff.bin")


def kept_bytes(rules: Rules, path: bytes) -> bool:
    return not rules.excludes(path, is_directory=False)


def test_what_a_buildpack_made_is_packed_without_the_conveniences() -> None:
    """A buildpack may compile bytecode that is checked by nothing but its hash."""
    assert kept(Rules(conveniences=False), "__pycache__/")
