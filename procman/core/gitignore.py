"""Decides about one entry of a tree as git's `.gitignore` does, its parents being included.

pathspec's patterns, but neither of its classes: they answer for a file alone, without a walk.
`PathSpec` takes a `!` line inside of an excluded directory at its word, and `GitIgnoreSpec` lets a
pattern for files beat a later one for directories, so that of `*`, `!src/` the directory stays
out (and with it, in a walk, all that `!*.py` would take back). In a walk git's rule is simple: the
last pattern that matches this very entry decides, and what is in an excluded directory is not
looked at.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

# What stands in brackets as `[:digit:]`, which Python's expressions do not know (git, wildmatch.c).
_CLASS = re.compile(r"\[:([a-z]+):\]")
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \t",
    "digit": "0-9",
    "lower": "a-z",
    "space": " \t\n\v\f\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


_TRIMMED = re.compile(r"((?:[^\\]|\\.)*?) *", re.DOTALL)  # git strips spaces alone, not `\ `
BOM = "\ufeff".encode().decode("latin-1")


def split_lines(text: str) -> list[str]:
    """The lines of an ignore file as git tells them apart: by newlines, and a CR before one is not
    part of the line. Nothing else that ends a line elsewhere does so here.
    """
    return [line.removesuffix("\r") for line in text.split("\n")]


class Patterns:
    """The lines of one ignore file, each byte a character: git's `?` is a byte, and `[!a]` none of
    the two that are an `é`.
    """

    __slots__ = ("_rules",)

    def __init__(self, lines: Iterable[str]) -> None:
        """A line that is no pattern is passed over, as git does."""
        self._rules = [rule for line in lines if (rule := _rule(_bytes(line)))][::-1]

    def excludes(self, path: str, *, is_directory: bool) -> bool | None:
        """True for ignored, False for taken back by `!`, None when no line speaks of it.

        `path` is relative to the file's directory, by slashes, without one at its end.
        """
        path = _bytes(path)
        for rule in self._rules:
            if (is_directory or not rule.only_directories) and _speaks_of(rule.regex, path):
                return rule.excludes
        return None


def _bytes(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: what it matches and what that means."""

    regex: re.Pattern[str]
    only_directories: bool
    excludes: bool


def _rule(line: str) -> Rule | None:
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # 20 ms of imports

    text = line.removeprefix(BOM)
    if (trimmed := _TRIMMED.fullmatch(text)) is not None:
        text = trimmed[1]
    # The slash at the end says "a directory", not "and what is in it": `a/**/` is no `a/`.
    only_directories = text.endswith("/")
    text = _CLASS.sub(lambda found: _CLASSES.get(found[1], found[0]), text.removesuffix("/"))
    if text[-1:].isspace() and not text.endswith("\\ "):
        text = f"{text[:-1]}[{text[-1]}]"  # pathspec would strip it, git does not
    try:
        with warnings.catch_warnings():  # in `[[a]` Python expects sets of another day
            warnings.simplefilter("ignore", FutureWarning)
            pattern = GitIgnoreSpecPattern(text)
    except (ValueError, re.error):  # `[z-a]`
        return None
    if pattern.regex is None or pattern.include is None:
        return None
    return Rule(pattern.regex, only_directories, pattern.include)


def _speaks_of(regex: re.Pattern[str], path: str) -> bool:
    """Whether a pattern matches this entry itself, not only a directory that it lies in.

    The group `ps_d` of pathspec's expressions is the slash after a directory that matched.
    """
    match = regex.search(path)
    return match is not None and match.groupdict().get("ps_d") is None
