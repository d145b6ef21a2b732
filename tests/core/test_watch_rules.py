"""What counts as a change: tables of paths."""

from __future__ import annotations

import pytest

from procman.core.watch_rules import Above, Subject, TypeGlobs, WatchRules, summary

ALWAYS = {".env": Subject.CONFIG, "Procfile": Subject.PROCFILE}


def rules(**gitignores: str) -> WatchRules:
    """Rules with a `.gitignore` in each of these directories; `root` is the app's own."""
    made = WatchRules(ALWAYS)
    for directory, lines in gitignores.items():
        made.read("" if directory == "root" else directory.replace("__", "/"), lines.split())
    return made


@pytest.mark.parametrize(
    "path",
    [
        ".git/",
        "sub/.git",
        ".procman/",
        "node_modules/",
        "packages/shop/node_modules/",
        "pkg/__pycache__/",
        "app.pyc",
        ".venv/",
        ".mypy_cache/",
        ".app.py.swp",
        "lib/.app.py.swx",
        "4913",
        "app.py~",
        "#app.py#",
        ".#app.py",
        ".goutputstream-X1Y2",
        "app.py___jb_tmp___",
        "log/development.log",
        "db.sqlite3",
        "db.sqlite3-journal",
        ".DS_Store",
        "x.egg-info/",
    ],
)
def test_what_tools_and_editors_leave_behind_is_no_source(path: str) -> None:
    """At any depth, with no ignore file at all."""
    assert not rules().counts(path.rstrip("/"), is_directory=path.endswith("/"))


@pytest.mark.parametrize(
    "path",
    [
        "app.py",
        "node_modules",
        "venv",
        "logs/",
        "log/",
        "tmp/",
        "a.swap",
        ".github/",
        "git/",
        "x~/y",
    ],
)
def test_the_rest_is_source(path: str) -> None:
    """A file named as an ignored directory is as well, and a directory that only sounds like it."""
    assert rules().counts(path.rstrip("/"), is_directory=path.endswith("/"))


def test_the_nearest_gitignore_decides() -> None:
    made = rules(root="*.gen *.tmp2", lib="!*.gen", lib__deep="x.gen")
    assert not made.counts("a.gen", is_directory=False)
    assert made.counts("lib/a.gen", is_directory=False)
    assert made.counts("lib/deep/a.gen", is_directory=False)
    assert not made.counts("lib/deep/x.gen", is_directory=False)
    assert not made.counts("lib/deep/a.tmp2", is_directory=False)
    assert made.counts("library/b.py", is_directory=False)


def test_a_pattern_with_a_slash_is_anchored_at_its_own_file() -> None:
    made = rules(lib="/out dist/x")
    assert not made.counts("lib/out", is_directory=True)
    assert made.counts("out", is_directory=True)
    assert made.counts("lib/sub/out", is_directory=True)
    assert not made.counts("lib/dist/x", is_directory=False)


def test_a_bang_takes_back_what_is_built_in_but_never_git_itself() -> None:
    made = rules(root="!*.db !.git !.procman")
    assert made.counts("zones.db", is_directory=False)
    assert not made.counts(".git", is_directory=True)
    assert not made.counts(".procman", is_directory=True)


def test_slugignore_excludes_as_well_and_neither_file_takes_back_what_the_other_leaves_out() -> (
    None
):
    made = WatchRules({}, slugignore=["docs/", "*.psd", "!a.gen"])
    made.read("", ["*.gen", "!docs/"])
    assert not made.counts("docs", is_directory=True)
    assert not made.counts("art/logo.psd", is_directory=False)
    assert not made.counts("a.gen", is_directory=False)


def test_the_repository_above_the_app_has_its_say() -> None:
    """Its patterns are anchored at it; and an app that lies in an ignored directory is watched."""
    made = WatchRules(
        {},
        above=[
            Above("shop/", ["/shop/out", "*.gen", "!keep.gen"]),
            Above("services/shop/", ["services/", "*.bak"]),
        ],
    )
    assert not made.counts("out", is_directory=True)
    assert not made.counts("lib/a.gen", is_directory=False)
    assert made.counts("keep.gen", is_directory=False)
    assert not made.counts("a.bak", is_directory=False)
    assert made.counts("lib", is_directory=True)
    made.read("", ["!*.bak"])
    assert made.counts("a.bak", is_directory=False)


def test_env_and_procfile_count_whatever_is_ignored_and_are_their_own_kinds() -> None:
    made = WatchRules({**ALWAYS, "/etc/shop/.env": Subject.CONFIG})
    made.read("", [".env", "Procfile", "*"])
    assert made.subject(".env") is Subject.CONFIG
    assert made.subject("Procfile") is Subject.PROCFILE
    assert made.subject("/etc/shop/.env") is Subject.CONFIG
    assert made.subject("app.py") is None


def test_an_ignore_file_is_a_change_of_rules_and_not_of_code() -> None:
    made = rules()
    assert made.subject("lib/.gitignore") is Subject.RULES
    assert made.subject(".slugignore") is Subject.RULES
    assert made.subject("app.py") is Subject.CODE
    assert made.subject("app.pyc") is None


def test_globs_narrow_what_a_type_is_redeployed_for() -> None:
    globs = TypeGlobs(
        ["web", "worker", "mail"], {"worker": ["jobs/**"], "mail": ["*.eml", "!x.eml"]}
    )
    assert globs.affected(["app.py"]) == ("web",)
    assert globs.affected(["jobs/a/b.py"]) == ("web", "worker")
    assert globs.affected(["jobs/"]) == ("web", "worker")
    assert globs.affected(["jobs.py", "out/a.eml"]) == ("web", "mail")
    assert globs.affected(["x.eml"]) == ("web",)
    assert globs.affected([]) == ()


def test_a_type_with_an_empty_list_is_never_redeployed_for_a_file() -> None:
    assert TypeGlobs(["web", "db"], {"db": []}).affected(["a.py"]) == ("web",)


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        ([], "nothing"),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a and 2 more"),
        (["two\nlines.py", "caf\udce9.py"], r"two\nlines.py and caf\xe9.py"),
    ],
)
def test_the_log_names_what_changed(paths: list[str], text: str) -> None:
    assert summary(paths) == text
