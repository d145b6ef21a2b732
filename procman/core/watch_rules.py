"""Which paths of an app are its source, so that a change of one of them means a redeploy.

Not: what `.gitignore` (nested ones too, and those of the repository above) or `.slugignore`
excludes, and the built-in list, which a `!` line of them takes back. `.env` and the Procfile always
count, each as its own kind, wherever they lie and whatever is ignored.

A type's own globs, `watch = ["jobs/**"]`, narrow what it is redeployed for; they never widen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from procman.core.gitignore import Patterns
from procman.core.slug import shown

NEVER = frozenset({".git", ".procman"})  # at any depth, and no `!` brings them back
RULE_FILES = frozenset({".gitignore", ".slugignore"})
# A directory with one of these in it is made by a tool: a virtualenv of any name (PEP 405), a
# cache that says so (bford.info/cachedir), as pytest, mypy, ruff and cargo's target/ do.
MADE_BY_TOOLS = frozenset({"pyvenv.cfg", "CACHEDIR.TAG"})

BUILT_IN = (
    # dependencies and what tools make
    "node_modules/",
    "bower_components/",
    "__pycache__/",
    "*.py[cod]",
    "*.egg-info/",
    ".venv/",
    "venv/",
    ".tox/",
    ".nox/",
    ".*_cache/",
    ".hypothesis/",
    ".cache/",
    ".parcel-cache/",
    ".next/",
    ".nuxt/",
    ".svelte-kit/",
    ".turbo/",
    ".bundle/",
    ".gradle/",
    ".terraform/",
    ".direnv/",
    ".coverage",
    ".coverage.*",
    "htmlcov/",
    # other people's metadata
    ".hg/",
    ".svn/",
    ".idea/",
    ".vscode/",
    ".DS_Store",
    "Thumbs.db",
    # what editors put beside a file while they write it: vim, nano, emacs, kate, GNOME, JetBrains
    ".*.sw[a-p]",
    ".*.swx",
    "4913",
    "*~",
    "\\#*#",
    ".#*",
    ".*.kate-swp",
    ".goutputstream-*",
    "*___jb_tmp___",
    "*___jb_old___",
    # what is packed of an app, by `procman slug build -o` too
    "*.tgz",
    "*.tgz.json",
    ".*.procman-*",
    # what apps write while they run
    "*.log",
    "*.pid",
    "*.sock",
    "*.sqlite",
    "*.sqlite3",
    "*.db",
    "*-journal",
    "*-wal",
    "*-shm",
)


class Subject(Enum):
    """What a changed path is to the app."""

    CODE = "code"
    CONFIG = "config"  # a layer of .env: config vars change
    PROCFILE = "procfile"  # types come and go
    SETTINGS = "settings"  # procman.toml
    RULES = "rules"  # .gitignore, .slugignore: no change of the app, but of what is watched


@dataclass(frozen=True, slots=True)
class Above:
    """An ignore file of the repository that the app is a directory of.

    `prefix` leads from its directory to the app: `services/shop/`.
    """

    prefix: str
    lines: Sequence[str]


class WatchRules:
    """The rules of one app, filled while its tree is walked: `read` a directory's own `.gitignore`
    before asking about what is in it.

    Paths are relative to the app, by slashes; those of `always` may be absolute, for files that lie
    elsewhere.
    """

    def __init__(
        self,
        always: Mapping[str, Subject],
        *,
        slugignore: Sequence[str] = (),
        above: Sequence[Above] = (),
    ) -> None:
        """`above` comes nearest first; `.git/info/exclude` is one with the prefix of the app."""
        self.always = dict(always)
        self._slugignore = Patterns(slugignore)
        self._above = [(one.prefix, Patterns(one.lines)) for one in above]
        self._nested: dict[str, Patterns] = {}
        self._built_in = Patterns(BUILT_IN)

    def read(self, directory: str, gitignore: Iterable[str]) -> None:
        """Take in the `.gitignore` of a directory, `` for the app's root."""
        self._nested[directory] = Patterns(gitignore)

    def counts(self, path: str, *, is_directory: bool) -> bool:
        """Whether an entry whose parents count does so as well."""
        name = path.rpartition("/")[2]
        if path in self.always and not is_directory:
            return True
        if name in NEVER or self._slugignore.excludes(path, is_directory=is_directory):
            return False
        verdict = self._by_git(path, is_directory)
        if verdict is None:
            verdict = self._built_in.excludes(name, is_directory=is_directory)
        return not verdict

    def subject(self, path: str) -> Subject | None:
        """What a file is whose directory counts; None when nothing depends on it."""
        if path in self.always:
            return self.always[path]
        if path.rpartition("/")[2] in RULE_FILES:
            return Subject.RULES
        return Subject.CODE if self.counts(path, is_directory=False) else None

    def _by_git(self, path: str, is_directory: bool) -> bool | None:
        """The nearest file that speaks of it decides."""
        directory = path
        while directory:
            directory = directory.rpartition("/")[0]
            patterns = self._nested.get(directory)
            if patterns is not None:
                inside = path[len(directory) + 1 :] if directory else path
                verdict = patterns.excludes(inside, is_directory=is_directory)
                if verdict is not None:
                    return verdict
        for prefix, patterns in self._above:
            verdict = patterns.excludes(prefix + path, is_directory=is_directory)
            if verdict is not None:
                return verdict
        return None


class TypeGlobs:
    """Which process types a change concerns: those without globs, and those with one that fits."""

    def __init__(self, types: Sequence[str], globs: Mapping[str, Sequence[str]]) -> None:
        """`globs` are lines as in `.gitignore`, `!` included, read as what to watch."""
        self._types = [(name, _matcher(globs[name]) if name in globs else None) for name in types]

    def affected(self, paths: Iterable[str]) -> tuple[str, ...]:
        """In the Procfile's order; a path that ends in a slash is a directory."""
        changed = tuple(paths)
        return tuple(
            name
            for name, matches in self._types
            if (bool(changed) if matches is None else any(map(matches, changed)))
        )


def _matcher(lines: Sequence[str]) -> Callable[[str], bool]:
    from pathspec import GitIgnoreSpec  # answers for a file alone, which is what is asked here

    return GitIgnoreSpec.from_lines(lines).match_file


def summary(paths: Sequence[str]) -> str:
    """`app.py`, `app.py and lib.py`, `app.py and 2 more`: what a log line names."""
    named = [shown_path(path) for path in paths[:2]]
    match len(paths):
        case 0:
            return "nothing"
        case 1 | 2:
            return " and ".join(named)
        case many:
            return f"{named[0]} and {many - 1} more"


def shown_path(path: str) -> str:
    """A path for the log: one line, whatever bytes it is made of."""
    return shown(path.encode("utf-8", "surrogateescape"))
