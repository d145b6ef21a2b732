"""The lines of the history read back: who said what and when, and which of it is wanted.

A line has Heroku's form, `2026-11-23T12:00:01.123456+00:00 app[web.1]: …`, or `procman: …` for our
own. Lines that were taken in one go have the same beginning, so a beginning is parsed once and its
lines are only compared with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from procman.core.style import SYSTEM

_HEAD = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00) (?:procman|app\[([^\]\n]+)\]): "
_COLOUR = r"\x1b\[[0-9;:]*m"


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one source with one time (RFC 5424, UTC). `source` is a dyno, or SYSTEM."""

    time: str
    source: str
    texts: list[bytes]


def batches(lines: bytes) -> Iterator[Batch]:
    """Whole lines of the history as batches. What has no form of ours is left out."""
    if not lines:
        return
    match_head = re.compile(_HEAD).match
    batch: Batch | None = None
    head, skip = b"\n", 0  # no line begins with a newline
    for line in lines[:-1].split(b"\n"):
        if not line.startswith(head):
            if batch is not None:
                yield batch
            found = match_head(line)
            if found is None:
                batch, head = None, b"\n"
                continue
            head, skip = found[0], found.end()
            source = SYSTEM if found[2] is None else found[2].decode("utf-8", "replace")
            batch = Batch(found[1].decode(), source, [])
        if batch is not None:
            batch.texts.append(line[skip:])
    if batch is not None:
        yield batch


@dataclass(frozen=True, slots=True)
class Selection:
    """Which lines are wanted: all that pass every condition given.

    `targets` are dynos, process types, globs over either, or `procman`; `since` is a time of the
    history's form; `grep` is searched in the text without its colours.
    """

    targets: tuple[str, ...] = ()
    since: str = ""
    grep: re.Pattern[str] | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return not self.targets and not self.since and self.grep is None

    @property
    def is_by_name(self) -> bool:
        """Whether lines are left out by nothing but their source."""
        return bool(self.targets) and not self.since and self.grep is None

    def choose(self, batch: Batch) -> list[bytes]:
        """The wanted texts of a batch."""
        if batch.time < self.since:
            return []
        texts = batch.texts
        if self.targets and not self.is_meant(batch.source):
            if batch.source != SYSTEM:
                return []
            texts = [text for text in texts if self.is_meant(_subject(text))]
        if self.grep is not None:
            search = self.grep.search
            texts = [text for text in texts if search(plain(text))]
        return texts

    def count(self, lines: bytes) -> int:
        """How many of some whole lines are wanted."""
        if self.is_all:
            return lines.count(b"\n")
        return sum(len(self.choose(batch)) for batch in batches(lines))

    def is_meant(self, source: str) -> bool:
        """Whether a target names this dyno, its type, or procman."""
        from fnmatch import fnmatchcase

        names = (source, source.rpartition(".")[0])
        return any(fnmatchcase(name, target) for target in self.targets for name in names if name)


def begins_before(lines: bytes, time: str) -> bool:
    """Whether the first of some whole lines is older than a time."""
    found = re.compile(_HEAD).match(lines)
    return found is not None and found[1].decode() < time


def plain(text: bytes) -> str:
    """A line as it is read: without colours."""
    shown = text.decode("utf-8", "replace")
    return re.sub(_COLOUR, "", shown) if "\x1b" in shown else shown


def _subject(text: bytes) -> str:
    """The dyno that a line of our own is about: `web.1 crashed, …` begins with its name."""
    return text.partition(b" ")[0].decode("utf-8", "replace")
