"""Decides when changes of files have come to an end and are one redeploy.

A save is one closed write, or a few events within a millisecond; a checkout is a stream of them.
So: quiet for 30 ms after the last change, at most 1 s after the first unless it is known who is at
it, and while a redeploy is under way none: what changed meanwhile makes one more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

QUIET = 0.030  # design: above the gap between two files of a checkout, below what is felt
LONGEST = 1.0  # a stream that does not end, as of a build, must not starve the redeploy


class Phase(Enum):
    """Where the redeploys stand."""

    RESTING = "resting"
    GATHERING = "gathering"
    REDEPLOYING = "redeploying"
    AGAIN = "redeploying, and once more after it"


@dataclass(slots=True)
class Debounce:
    """The changes that wait. Times are readings of one monotonic clock, in seconds."""

    quiet: float = QUIET
    longest: float = LONGEST
    phase: Phase = Phase.RESTING
    _waiting: dict[str, None] | None = None
    _first: float = 0.0
    _last: float = 0.0

    def changed(self, paths: Iterable[str], now: float) -> None:
        """These paths are not what they were; no path, no change."""
        new = dict.fromkeys(paths)
        if not new:
            return
        if self._waiting is None:
            self._waiting, self._first = {}, now
        self._waiting.update(new)
        self._last = now
        match self.phase:
            case Phase.RESTING:
                self.phase = Phase.GATHERING
            case Phase.REDEPLOYING:
                self.phase = Phase.AGAIN
            case Phase.GATHERING | Phase.AGAIN:
                pass  # already known to be needed

    def hold(self, now: float) -> None:
        """Who makes the changes is known to be still at it: no quiet began before now."""
        self._first = self._last = now

    def stir(self, now: float) -> None:
        """Something happened just now of which it is not known yet whether it is a change."""
        self._last = now

    def began(self) -> None:
        """A redeploy began for another reason; what waits makes one more after it."""
        match self.phase:
            case Phase.RESTING:
                self.phase = Phase.REDEPLOYING
            case Phase.GATHERING:
                self.phase = Phase.AGAIN
            case Phase.REDEPLOYING | Phase.AGAIN:
                pass  # said twice

    def ended(self) -> None:
        """The redeploy is done, whether it came up or not."""
        match self.phase:
            case Phase.REDEPLOYING:
                self.phase = Phase.RESTING
            case Phase.AGAIN:
                self.phase = Phase.GATHERING
            case Phase.RESTING | Phase.GATHERING:
                pass  # said twice

    @property
    def deadline(self) -> float | None:
        """When `take` is worth a call; None while there is nothing to wait for."""
        match self.phase:
            case Phase.GATHERING:
                return min(self._last + self.quiet, self._first + self.longest)
            case Phase.RESTING | Phase.REDEPLOYING | Phase.AGAIN:
                return None

    @property
    def waiting(self) -> Collection[str]:
        """The paths that were not taken yet."""
        return self._waiting or ()

    def take(self, now: float) -> tuple[str, ...]:
        """The paths to redeploy for, in the order of their first change; empty while it is not
        time. What is taken is a redeploy under way, until `ended`."""
        deadline = self.deadline
        if deadline is None or now < deadline or self._waiting is None:
            return ()
        paths = tuple(self._waiting)
        self._waiting = None
        self.phase = Phase.REDEPLOYING
        return paths


@dataclass(slots=True)
class Contents:
    """What the files were when last looked at, so that unchanged content is no change.

    A digest is any bytes that tell contents apart; None is a file that is not there. Ask when the
    quiet has come, not at each event: between two events of one save a file may be missing.
    """

    known: dict[str, bytes] = field(default_factory=dict)
    is_learnt: bool = False
    _asked: set[str] = field(default_factory=set)  # before anything was learnt

    def learn(self, digests: Mapping[str, bytes]) -> None:
        """Take these for the state from which changes count; what is known already stays.

        Until then every file that is asked about is taken for changed.
        """
        self.is_learnt = True
        for path, digest in digests.items():
            if path not in self._asked:
                self.known.setdefault(path, digest)
        self._asked.clear()

    def changed(self, digests: Mapping[str, bytes | None]) -> tuple[str, ...]:
        """The paths that are not what they were, and from now on known as they are."""
        if not self.is_learnt:
            self._asked.update(digests)
        found = []
        for path, digest in digests.items():
            if path.endswith("/"):  # a directory that went, with all that was known in it
                gone = [file for file in self.known if file.startswith(path)]
                for file in gone:
                    del self.known[file]
                found += gone
            elif digest is None:
                if self.known.pop(path, None) is not None or not self.is_learnt:
                    found.append(path)
            elif self.known.get(path) != digest:
                self.known[path] = digest
                found.append(path)
        return tuple(found)
