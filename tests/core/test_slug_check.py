"""What could write outside its own tree is refused, by a rule that can be read in a table."""

from __future__ import annotations

import pytest

from procman.core import slug_check
from procman.core.slug import Entry, Kind
from procman.core.slug_check import SafeTree
from procman.core.slug_tar import Member
from procman.errors import SlugError


def file(name: bytes, *, mode: int = 0o644, size: int = 0, type: bytes = b"0") -> Member:
    return Member(name, type, mode, size, b"")


def directory(name: bytes, mode: int = 0o755) -> Member:
    return Member(name, b"5", mode, 0, b"")


def link(name: bytes, target: bytes) -> Member:
    return Member(name, b"2", 0o777, 0, target)


def hard(name: bytes, target: bytes) -> Member:
    return Member(name, b"1", 0o644, 0, target)


def judge(*members: Member) -> list[Entry]:
    tree = SafeTree()
    entries = [entry for member in members if (entry := tree.admit(member)) is not None]
    tree.finish()
    return entries


MALICIOUS = {
    "an absolute path": [file(b"/app/x")],
    "a path out of the tree": [file(b"./app/../x")],
    "a path that comes back": [file(b"./app/a/../b")],
    "a path of dots alone": [file(b"..")],
    "a NUL": [file(b"./app/a\0b")],
    "a name longer than any": [file(b"./app/" + b"x" * 256)],
    "a path longer than any": [file(b"./app/" + b"x/" * 2000 + b"x")],
    "more directories than can be walked": [file(b"./app/" + b"x/" * 500 + b"x")],
    "a character device": [file(b"./app/x", type=b"3")],
    "a block device": [file(b"./app/x", type=b"4")],
    "a fifo": [file(b"./app/x", type=b"6")],
    "a sparse file": [file(b"./app/x", type=b"S")],
    "an unknown type": [file(b"./app/x", type=b"?")],
    "a set-user-id bit": [file(b"./app/x", mode=0o4755)],
    "a set-group-id bit": [file(b"./app/x", mode=0o2755)],
    "a set-group-id directory": [directory(b"./app/x", mode=0o2755)],
    "a device outside the app": [file(b"./dev/x", type=b"3")],
    "a file in the app's place": [file(b"./app")],
    "a link in the app's place": [link(b"./app", b"etc")],
    "a link to the root": [link(b"./app/x", b"/")],
    "a link to an absolute path": [link(b"./app/x", b"/app/y")],
    "a link above the app": [link(b"./app/x", b"..")],
    "a link above and back": [link(b"./app/x", b"../app/y")],
    "a link to nothing": [link(b"./app/x", b"")],
    "a link with a NUL": [link(b"./app/x", b"a\0b")],
    "a deep link above": [link(b"./app/a/b/x", b"../../../etc")],
    "a link by way of an earlier one": [link(b"./app/a/up", b".."), link(b"./app/x", b"a/up/../y")],
    "a link by way of a later one": [link(b"./app/x", b"a/up/../y"), link(b"./app/a/up", b"..")],
    "links in a chain": [
        link(b"./app/d/e/one", b"../.."),
        link(b"./app/two", b"d/e/one/d/e/one/.."),
    ],
    "a link through what may come to be": [link(b"./app/x", b"not/there/../../../etc")],
    "a file through an earlier link": [link(b"./app/l", b"sub"), file(b"./app/l/x")],
    "a file through an earlier file": [file(b"./app/f"), file(b"./app/f/x")],
    "a directory over a link": [link(b"./app/l", b"sub"), directory(b"./app/l")],
    "a link over a directory": [directory(b"./app/l"), link(b"./app/l", b"sub")],
    "a link over an implied directory": [file(b"./app/l/x"), link(b"./app/l", b"sub")],
    "a file over a link": [link(b"./app/l", b"sub"), file(b"./app/l")],
    "a file twice": [file(b"./app/f"), file(b"./app/f")],
    "a file twice by another spelling": [file(b"./app/f"), file(b"app//./f")],
    "a link twice": [link(b"./app/l", b"a"), link(b"./app/l", b"b")],
    "a hard link out of the tree": [hard(b"./app/x", b"/etc/shadow")],
    "a hard link above": [hard(b"./app/x", b"./app/../x")],
    "a hard link to nothing": [hard(b"./app/x", b"./app/y")],
    "a hard link to itself": [hard(b"./app/x", b"./app/x")],
    "a hard link to a link": [link(b"./app/l", b"a"), hard(b"./app/x", b"./app/l")],
    "a hard link through a link": [
        file(b"./app/d/f"),
        link(b"./app/l", b"d"),
        hard(b"./app/x", b"./app/l/f"),
    ],
    "a hard link to what is ignored": [file(b"./other/f"), hard(b"./app/x", b"./other/f")],
    "more than any app has": [file(b"./app/%d" % n, size=2**32) for n in range(3)],
    "a bomb of hard links": [
        file(b"./app/f", size=2**32),
        *(hard(b"./app/%d" % n, b"./app/f") for n in range(3)),
    ],
}


@pytest.mark.parametrize("members", MALICIOUS.values(), ids=MALICIOUS)
def test_a_malicious_archive_is_refused(members: list[Member]) -> None:
    """With an error that names the entry."""
    with pytest.raises(SlugError, match="refused"):
        judge(*members)


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million empty files are a bomb of inodes."""
    monkeypatch.setattr(slug_check, "MAX_ENTRIES", 3)
    judge(*(file(b"./app/%d" % n) for n in range(3)))
    with pytest.raises(SlugError, match="more than 3 entries"):
        judge(*(file(b"./app/%d" % n) for n in range(4)))


def test_directories_that_names_imply_are_entries_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few members of deep paths would make hundreds of directories each."""
    monkeypatch.setattr(slug_check, "MAX_ENTRIES", 5)
    judge(file(b"./app/a/b/c/f"), file(b"./app/a/b/c/g"))
    judge(file(b"./app/a/b/c/f"), *(directory(b"./app/a" + b"/b" * n) for n in range(2)))
    with pytest.raises(SlugError, match="more than 5 entries"):
        judge(file(b"./app/a/b/c/f"), file(b"./app/a/c/f"))


def test_links_that_are_long_to_follow_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few KB of them could hold up whoever looks into the slug for as long as they like."""
    monkeypatch.setattr(slug_check, "MAX_STEPS", 1000)
    chain = [link(b"./app/%d" % n, b"a/../" * 10 + b"%d" % (n + 1)) for n in range(10)]
    judge(*chain[5:])
    with pytest.raises(SlugError, match="more than 1000 steps"):
        judge(*chain)


def test_empty_names_are_steps_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are walked over, and there can be thousands of them."""
    monkeypatch.setattr(slug_check, "MAX_STEPS", 1000)
    with pytest.raises(SlugError, match="more than 1000 steps"):
        judge(link(b"./app/l", b"a" + b"/" * 1000 + b"b"))


def test_the_links_of_a_large_app_are_followed() -> None:
    """Of its packages' programs, and of packages that are kept elsewhere."""
    packages = [b"./app/node_modules/%d" % n for n in range(50_000)]
    stored = [link(name, b"../.store/%s/package" % name[-5:]) for name in packages]
    programs = [
        link(b"./app/node_modules/.bin/%d" % n, b"../%d/bin/cli.js" % n) for n in range(50_000)
    ]
    assert len(judge(*stored, *programs)) == 100_000


HARMLESS = {
    "the root": [directory(b"./"), directory(b"./app/")],
    "no leading dot": [file(b"app/x")],
    "a directory twice": [directory(b"./app/d/"), directory(b"./app/d")],
    "a directory after what it holds": [file(b"./app/d/x"), directory(b"./app/d")],
    "a link to a file beside it": [link(b"./app/l", b"x")],
    "a link to the app itself": [link(b"./app/d/l", b"..")],
    "a link up and down": [link(b"./app/d/l", b"../e/./f//g")],
    "a link to nothing there": [link(b"./app/l", b"gone")],
    "a link to itself": [link(b"./app/l", b"l")],
    "links in a circle": [link(b"./app/a", b"b"), link(b"./app/b", b"a")],
    "a hard link": [file(b"./app/f", size=3), hard(b"./app/g", b"./app/f")],
    "a hard link to a hard link": [
        file(b"./app/f"),
        hard(b"./app/g", b"app/f"),
        hard(b"./app/h", b"./app/g"),
    ],
    "a sticky bit, which is dropped": [directory(b"./app/tmp", mode=0o1777)],
}


@pytest.mark.parametrize("members", HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmless_is_let_in(members: list[Member]) -> None:
    """What apps and other tars do have."""
    assert len(judge(*members)) == sum(b"app" in member.name for member in members)


def test_a_chain_of_links_that_doubles_is_judged_at_once() -> None:
    """Each names the one before twice; followed to the end there would be 2**200 steps."""
    chain = [link(b"./app/%d" % n, b"%d/%d" % (n - 1, n - 1)) for n in range(1, 200)]
    assert len(judge(link(b"./app/0", b"."), *chain)) == 200


def test_what_lies_outside_the_app_is_ignored_and_counted() -> None:
    """As Heroku ignores it."""
    tree = SafeTree()
    assert tree.admit(file(b"./README")) is None
    assert tree.admit(directory(b"./")) is None
    assert tree.ignored == 1


def test_modes_come_down_to_executable_or_not() -> None:
    """And a hard link keeps the path of what it names."""
    first, second, third = judge(
        file(b"./app/a", mode=0o755), file(b"./app/b", mode=0o666), hard(b"./app/c", b"./app/a")
    )
    assert (first.executable, second.executable) == (True, False)
    assert third == Entry(b"c", Kind.HARDLINK, target=b"a")


def test_a_link_to_an_absolute_path_says_how_to_avoid_it() -> None:
    """A virtual environment has such links, and is what people pack first."""
    with pytest.raises(SlugError) as error:
        judge(link(b"./app/.venv/bin/python", b"/usr/bin/python3"))
    assert error.value.hint is not None
    assert "venv --copies" in error.value.hint
    assert ".slugignore" in error.value.hint
