"""How many fresh connections a dyno is given at once: as many as its listen backlog takes.

A backlog that is full drops what comes, and the kernel asks again after 1, 3, 7 s: fifty requests
at once to Python's `http.server`, whose backlog is 5, took 8 s. So a connection that is not made
at once, as all are on one machine, is given up, no more are tried than were waiting then, and each
that is made afterwards makes room for one more. A server that takes connections and answers slowly
makes room without a sign: one more is tried from time to time.
"""

from __future__ import annotations

import asyncio
from collections import deque

FIRST_TRY = 0.1  # seconds until one more is tried, doubled each time nothing comes of it …
LONGEST_TRY = 1.0  # … to the kernel's own first interval


class Gate:
    """Lets connections through; wide open until the first one finds the backlog full."""

    __slots__ = ("_inside", "_loop", "_pause", "_room", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._inside = 0  # being made, or made and not yet answered
        self._room: int | None = None  # None: nothing is known against one more
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pause = FIRST_TRY
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> None:
        """Waits for room; `leave` must follow."""
        if self._has_room():
            self._inside += 1
            return
        turn = self._loop.create_future()
        self._waiting.append(turn)
        self._try_later()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave()  # it was our turn: somebody else's now
            raise

    def found_full(self) -> None:
        """One of those inside was not taken."""
        self._room = max(1, self._inside - 1)

    def found_room(self) -> None:
        """One of those inside was taken."""
        self._pause = FIRST_TRY
        if self._room is None:
            return
        self._room += 1
        self._let_in()
        if not self._waiting:
            self._room = None

    def leave(self) -> None:
        """One was answered, or given up."""
        self._inside -= 1
        self._let_in()

    def _has_room(self) -> bool:
        return self._room is None or self._inside < self._room

    def _let_in(self) -> None:
        """Whoever waits longest is inside with this, not when it comes to run."""
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)

    def _try_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause, self._try_one_more)

    def _try_one_more(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        self._pause = min(2 * self._pause, LONGEST_TRY)
        self._room = self._inside + 1
        self._let_in()
        if self._waiting:
            self._try_later()
