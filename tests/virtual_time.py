"""An event loop whose time jumps: when all tasks wait, the next deadline is now.

An hour of waiting takes no time, and everything that is ready is done before the clock moves. When
all wait and no deadline is left, nothing will ever happen again: that is raised as Hang, where a
real loop would sleep for ever. After trio's MockClock with autojump.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

TICK = 1e-6  # the shortest step of the clock, in seconds: sums of floats do not add up


class Hang(Exception):
    """All tasks wait, and nothing will ever wake one."""


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait: it moves the clock, unless something can be read or written now."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; else the clock is moved on by `timeout` seconds."""
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Hang("all tasks wait, and nothing will ever wake one")
        self.now += max(timeout, TICK)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a clock that starts at 0 and jumps."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds since the loop was made, to a few microseconds."""
        return self._clock.now


def run(story: Coroutine[None, None, T]) -> T:
    """Run a story in virtual time. Raises Hang when it waits for what never comes."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(story)
