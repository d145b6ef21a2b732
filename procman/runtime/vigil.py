"""Watches in a sleeping dyno's place what it listens on, and calls when somebody comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence


class Vigil:
    """Holds copies of listening sockets, which keep their ports bound until they are closed."""

    def __init__(self, come: Callable[[], None]) -> None:
        self._come = come
        self._copies: Sequence[socket.socket] = ()

    def __bool__(self) -> bool:
        return bool(self._copies)

    def begin(self, copies: Sequence[socket.socket]) -> None:
        """Watch these from now on; who waits at one already has come."""
        self.end()
        self._copies = copies
        loop = asyncio.get_running_loop()
        for copy in copies:
            loop.add_reader(copy.fileno(), self._somebody)

    def end(self) -> None:
        """Watch no more, and hold no port."""
        copies, self._copies = self._copies, ()
        loop = asyncio.get_running_loop()
        for copy in copies:
            loop.remove_reader(copy.fileno())
            copy.close()

    def _somebody(self) -> None:
        self._come()
        self.end()  # also where nobody was woken: else this would be called for ever
