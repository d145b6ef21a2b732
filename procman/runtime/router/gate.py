"""How many fresh connections a dyno is given at once: as many as its listen backlog takes.

A backlog that is full drops what comes, and the kernel asks again after 1, 3, 7 s: fifty requests
at once to Python's `http.server`, whose backlog is 5, took 8 s. So a connection that is not made
at once, as all are on one machine, is given up, no more are tried than were waiting then, and each
that is made afterwards makes room for one more.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Gate:
    """Lets connections through; wide open until the first one finds the backlog full."""

    __slots__ = ("_inside", "_loop", "_room", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._inside = 0  # being made, or made and not yet answered
        self._room: int | None = None  # None: nothing is known against one more
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Waits for room; `leave` must follow."""
        while self._room is not None and self._inside >= self._room:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._call_next()  # it was our turn: somebody else's now
                raise
        self._inside += 1

    def found_full(self) -> None:
        """One of those inside was not taken."""
        self._room = max(1, self._inside - 1)

    def found_room(self) -> None:
        """One of those inside was taken."""
        if self._room is None:
            return
        self._room += 1
        if not self._call_next():
            self._room = None

    def leave(self) -> None:
        """One was answered, or given up."""
        self._inside -= 1
        self._call_next()

    def _call_next(self) -> bool:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return False
