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
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}
        self._seen: set[str] = set()
        self._waiting: dict[str, Callable[[], None]] = {}

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Look through lines until the pattern was seen."""
        pattern = self._patterns.get(source.name.rpartition(".")[0])
        if pattern is None or source.name in self._seen:
            return
        if any(pattern.search(plain(line)) for line in lines[:-1].split(b"\n")):
            self._seen.add(source.name)
            tell = self._waiting.pop(source.name, None)
            if tell is not None:
                tell()

    def close(self) -> None:
        """Nothing is held back."""

    def begin(self, dyno: str) -> None:
        """A new boot of the dyno: what was seen is of the old one."""
        self._seen.discard(dyno)

    def wait(self, dyno: str, tell: Callable[[], None]) -> None:
        """Call `tell` when the pattern is seen, at once when it was."""
        if dyno in self._seen:
            tell()
        else:
            self._waiting[dyno] = tell

    def forget(self, dyno: str) -> None:
        """Nobody waits any more."""
        self._waiting.pop(dyno, None)
