"""The sink that waits for a line: tells when a pattern was seen in what a dyno wrote."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from procman.core.recall import plain
from procman.runtime.loghub import Source


class Taps:
    """One pattern for each process type that has one, looked for anew in each boot.

    It listens from the first line on, before anybody waits, so that no line is too early.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.look_for(patterns)
        self._sources: dict[str, Source] = {}  # of the newest boots
        self._seen: set[str] = set()
        self._waiting: dict[str, Callable[[], None]] = {}

    def look_for(self, patterns: Mapping[str, str]) -> None:
        """From now on: the types, or their settings, are others."""
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Look through lines until the pattern was seen."""
        if source.name in self._seen or self._sources.get(source.name) is not source:
            return
        pattern = self._patterns.get(source.name.rpartition(".")[0])
        if pattern is None:
            return
        if any(pattern.search(plain(line)) for line in lines[:-1].split(b"\n")):
            self._seen.add(source.name)
            tell = self._waiting.pop(source.name, None)
            if tell is not None:
                tell()

    def close(self) -> None:
        """Nothing is held back."""

    def begin(self, source: Source) -> None:
        """A new boot, whose lines these are: what was seen is of the old one, and what that one may
        write beside it is of no interest.
        """
        self._sources[source.name] = source
        self._seen.discard(source.name)

    def wait(self, dyno: str, tell: Callable[[], None]) -> None:
        """Call `tell` when the pattern is seen, at once when it was."""
        if dyno in self._seen:
            tell()
        else:
            self._waiting[dyno] = tell

    def forget(self, dyno: str) -> None:
        """Nobody waits any more."""
        self._waiting.pop(dyno, None)
