"""What of a source tree gets into a slug.

Two lists and the app's own. The secrets and procman's own files never get in, whatever
`.slugignore` says. The conveniences come before the app's patterns, so that a `!` line takes one
back. `.slugignore` is read as git reads `.gitignore`: the last pattern that matches wins, and
what lies in an excluded directory is not looked at.

Heroku's compiler splits the file on white space and knows no `!`; GNU tar's -X, which others use,
leaves `/test` in. Both are read here as their writers meant them.
"""

from __future__ import annotations

from collections.abc import Collection

from procman.core.gitignore import Patterns, split_lines

NEVER = frozenset({b".git", b".procman"})  # at any depth: submodules, nested apps
SECRETS = b".env"  # and all that begins so: .env.production, .envrc
CONVENIENCES = (
    ".DS_Store",  # as Heroku prunes
    ".slugignore",  # as Heroku prunes
    ".gitmodules",  # as Heroku prunes: names what is not there any more
    "__pycache__/",  # says when its source was changed, which a slug does not keep: never valid
    ".hg/",
    ".svn/",
)


def never_packed(name: bytes) -> bool:
    """Whether a file or directory of this name is left out of every slug."""
    return name in NEVER or name.startswith(SECRETS)


class Rules:
    """The rules for one tree; `excludes` answers for one entry whose parents are all included."""

    def __init__(
        self,
        slugignore: str | None = None,
        *,
        conveniences: bool = True,
        never: Collection[bytes] = (),
    ) -> None:
        """With `conveniences` off, as for what a buildpack made, only `never_packed` holds.

        `never` are more paths, relative to the app: files of config vars of any name, and where
        the packed slug is written to, for the last one must not be in the next.
        """
        self._never = frozenset(never)
        self._patterns: Patterns | None = None
        self._names: dict[bytes, bool] = {}  # → whether directories alone are meant
        defaults = CONVENIENCES if conveniences else ()
        if slugignore is not None:
            self._patterns = Patterns([*defaults, *split_lines(slugignore)])
        else:
            self._names = {line.rstrip("/").encode(): line.endswith("/") for line in defaults}

    def excludes(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether the entry at `path`, relative to the app, stays out."""
        name = path.rpartition(b"/")[2]
        if never_packed(name) or path in self._never:
            return True
        if self._patterns is None:
            directories_alone = self._names.get(name)
            return directories_alone is not None and (is_directory or not directories_alone)
        text = path.decode("utf-8", "surrogateescape")
        return bool(self._patterns.excludes(text, is_directory=is_directory))
