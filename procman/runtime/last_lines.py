"""The sink that remembers the last lines of each dyno, for error pages and reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from procman.runtime.loghub import Source

KEPT = 30  # lines: a traceback and what led to it
_LOOKED_AT = 16 * 1024  # bytes of a batch; a longer line is shown from its middle


class LastLines:
    """Keeps the last lines of every source, without a copy of the rest."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[bytes]] = {}

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Remember the end of a batch."""
        kept = self._lines.setdefault(source.name, deque(maxlen=KEPT))
        kept.extend(lines[-_LOOKED_AT:].splitlines()[-KEPT:])

    def close(self) -> None:
        """Nothing is held back."""

    def of(self, dyno: str) -> Sequence[bytes]:
        """The last lines of a dyno, oldest first."""
        return tuple(self._lines.get(dyno, ()))
