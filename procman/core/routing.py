"""Which web dyno a request gets, and which requests wait for one.

The router holds this table and does as it says: fewest leases, ties in rotation, a dyno that
refused a connection passed over for a moment, what cannot be served yet parked in order. Time is
an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from procman.core.codes import Code

PATIENCE = 75.0  # Heroku's H20: so long a request waits for a dyno
MOST_PARKED = 5000  # a bound on memory; Heroku's backlog is 50 a dyno, for tenants that share
FIRST_QUARANTINE = 0.05  # a server that reloads itself is back within moments …
LONGEST_QUARANTINE = 1.0  # … and Heroku's 5 s are long beside a terminal
RATE_WINDOW = 10  # seconds over which requests per second are counted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backend:
    """One boot of a web dyno, and where it listens."""

    dyno: str
    boot: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What one dyno does: requests now, in all, and per second of late."""

    in_flight: int
    served: int
    per_second: float


class Waiting(Enum):
    """A web dyno will be up: requests are parked."""

    SERVE_SOON = "serve soon"


@dataclass(frozen=True, slots=True)
class Outage:
    """No web dyno will be up: requests are answered at once with what is known of it."""

    code: Code
    dyno: str | None = None
    status_line: str = ""  # `exited with status 1`
    last_lines: Sequence[bytes] = ()
    retry_in: float | None = None  # seconds
    remedy: str = ""  # the command that would start one


Outlook = Waiting | Outage


class Supervision(Protocol):
    """What the router asks of, and tells, the supervisor; all of it on the loop, at once."""

    def outlook(self) -> Outlook:
        """What a request can hope for while no dyno is ready."""

    def wake(self) -> None:
        """Somebody is asking: a suspended dyno is thawed before this returns."""

    def busy(self) -> None:
        """The first lease began."""

    def quiet(self) -> None:
        """The last lease ended."""

    def drained(self, dyno: str, boot: int) -> None:
        """The last lease of a dyno that was to be drained has ended."""

    def log(self, line: str) -> None:
        """A line of the router's."""


class Standing(Enum):
    """Whether a dyno takes requests."""

    SERVING = "serving"
    DRAINING = "draining"
    GONE = "gone"


# In CPython 3.11 a member of an enum takes 70 ns to look up, and a global 8.
_SERVING = Standing.SERVING
_DRAINING = Standing.DRAINING


class Entry:
    """One backend in the table, and its leases."""

    __slots__ = (
        "_seconds",
        "backend",
        "endless",
        "leases",
        "quarantined",
        "refusals",
        "second",
        "served",
        "served_before",
        "standing",
        "turn",
    )

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.standing = Standing.SERVING
        self.leases = 0
        self.endless = 0  # of the leases, those that have no end of their own
        self.turn = 0  # of the last lease
        self.refusals = 0  # one after the other
        self.quarantined = 0.0  # until then
        self.served = 0
        self.second = 0  # in which the last request was served
        self.served_before = 0  # before that second
        self._seconds: deque[tuple[int, int]] = deque()  # (second, requests served in it)

    def __repr__(self) -> str:
        return f"<{self.backend.dyno} boot {self.backend.boot} {self.standing.value} {self.leases}>"

    def next_second(self, second: int) -> None:
        """Another second begins, before its first request is counted."""
        self._seconds.append((self.second, self.served - self.served_before))
        if len(self._seconds) > RATE_WINDOW:
            self._seconds.popleft()
        self.second, self.served_before = second, self.served

    def stats(self, now: float) -> Stats:
        current = (self.second, self.served - self.served_before)
        whole = range(int(now) - RATE_WINDOW, int(now))  # the second that runs is not over
        recent = sum(number for second, number in (*self._seconds, current) if second in whole)
        return Stats(self.leases, self.served, recent / RATE_WINDOW)


class Table:
    """The web dynos that are ready, and their leases."""

    __slots__ = ("_entries", "_turn", "in_flight")

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], Entry] = {}
        self._turn = 0
        self.in_flight = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, backend: Backend) -> Entry:
        entry = self._entries[backend.dyno, backend.boot] = Entry(backend)
        return entry

    def drain(self, dyno: str, boot: int) -> bool:
        """No more leases for it; is it drained already?

        Nobody waits for a WebSocket or a stream of events: the dyno says goodbye on these itself
        when it is told to stop, and has its grace for that. Waited for, one page left open would
        keep every save from being live until the grace is over.
        """
        entry = self._entries.get((dyno, boot))
        if entry is None:
            return True
        entry.standing = Standing.DRAINING
        return entry.leases == entry.endless

    def became_endless(self, entry: Entry) -> bool:
        """A lease turned out to have no end of its own; is its dyno drained with that?"""
        entry.endless += 1
        return entry.leases == entry.endless and entry.standing is _DRAINING

    def remove(self, dyno: str, boot: int) -> Entry | None:
        entry = self._entries.pop((dyno, boot), None)
        if entry is not None:
            entry.standing = Standing.GONE
        return entry

    def lease(self, now: float, avoid: Sequence[Entry] = ()) -> Entry | None:
        """The serving dyno with the fewest leases, the one longest without among equals.

        One in quarantine is passed over. One to `avoid` is taken only when no other can serve.
        """
        best: Entry | None = None
        for entry in self._entries.values():
            if entry.standing is not _SERVING or entry.quarantined > now:
                continue
            if best is None or _rank(entry, avoid) < _rank(best, avoid):
                best = entry
        if best is None:
            return None
        self._turn += 1
        best.turn = self._turn
        best.leases += 1
        self.in_flight += 1
        return best

    def can_avoid(self, avoid: Sequence[Entry], now: float) -> bool:
        """Is there a serving dyno besides those, or none at all to wait a moment for?"""
        serving = [e for e in self if e.standing is Standing.SERVING]
        return not serving or any(e not in avoid and e.quarantined <= now for e in serving)

    def end(self, entry: Entry, served: float | None, *, endless: bool = False) -> bool:
        """A lease ended, having served at that time; was it the last that a drain waited for?"""
        if served is not None:
            second = int(served)
            if second != entry.second:
                entry.next_second(second)
            entry.served += 1
        self.in_flight -= 1
        entry.leases -= 1
        if endless:
            entry.endless -= 1
            return False
        return entry.leases == entry.endless and entry.standing is _DRAINING

    def refused(self, entry: Entry, now: float) -> None:
        """It refused a connection: passed over for a moment, longer each time."""
        span = min(LONGEST_QUARANTINE, FIRST_QUARANTINE * 2.0**entry.refusals)
        entry.refusals = min(entry.refusals + 1, 10)
        entry.quarantined = now + span

    def accepted(self, entry: Entry) -> None:
        entry.refusals = 0
        entry.quarantined = 0.0

    def released_at(self) -> float | None:
        """When the first quarantine of a serving dyno ends; None when no dyno serves."""
        return min(
            (e.quarantined for e in self._entries.values() if e.standing is Standing.SERVING),
            default=None,
        )


def _rank(entry: Entry, avoid: Sequence[Entry]) -> tuple[bool, int, int]:
    return entry in avoid, entry.leases, entry.turn


@dataclass(frozen=True, slots=True)
class _Parked(Generic[T]):
    arrived: float
    item: T


class Parking(Generic[T]):
    """Requests that wait for a dyno, in the order of their arrival."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[_Parked[T]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def park(self, item: T, arrived: float) -> bool:
        """False when there are too many. One that was out already gets its old place."""
        if len(self._waiting) >= MOST_PARKED:
            return False
        parked = _Parked(arrived, item)
        if self._waiting and self._waiting[-1].arrived > arrived:
            place = bisect.bisect_right(self._waiting, arrived, key=lambda other: other.arrived)
            self._waiting.insert(place, parked)
        else:
            self._waiting.append(parked)
        return True

    def forget(self, item: T) -> None:
        """Its client has left."""
        for parked in self._waiting:
            if parked.item is item:
                self._waiting.remove(parked)
                return

    def first(self) -> T | None:
        return self._waiting[0].item if self._waiting else None

    def take(self) -> T:
        return self._waiting.popleft().item

    def take_all(self) -> list[T]:
        taken = [parked.item for parked in self._waiting]
        self._waiting.clear()
        return taken

    def expired(self, now: float) -> list[T]:
        """Those that have waited long enough, taken out."""
        out: list[T] = []
        while self._waiting and self._waiting[0].arrived + PATIENCE <= now:
            out.append(self.take())
        return out

    def deadline(self) -> float | None:
        return self._waiting[0].arrived + PATIENCE if self._waiting else None
