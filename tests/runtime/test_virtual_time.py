"""The loop that tests run in: time jumps, order stays, and a hang is told."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.virtual_time import Hang, run


def test_waiting_takes_no_time_and_happens_in_order() -> None:
    """A year in three steps."""

    async def story() -> list[tuple[str, float]]:
        loop, told = asyncio.get_running_loop(), list[tuple[str, float]]()

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            told.append((name, round(loop.time(), 3)))

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("year", 31_536_000.0), ("second", 1.0), ("hour", 3600.0)):
                group.create_task(wait(name, seconds))
        return told

    assert run(story()) == [("second", 1.0), ("hour", 3600.0), ("year", 31_536_000.0)]


def test_a_hang_reports_itself() -> None:
    """Nobody will ever set this event."""

    async def story() -> None:
        await asyncio.sleep(10.0)
        await asyncio.Event().wait()

    with pytest.raises(Hang):
        run(story())


def test_what_can_be_read_now_is_read_before_the_clock_moves() -> None:
    """A pipe is real, and needs no time."""

    async def story() -> float:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        seen = asyncio.Event()
        loop.add_reader(reading, seen.set)
        loop.call_later(5.0, os.write, writing, b"x")
        try:
            await asyncio.wait_for(seen.wait(), 3600.0)
            return round(loop.time(), 3)
        finally:
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)

    assert run(story()) == 5.0
