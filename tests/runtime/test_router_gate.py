"""A full listen backlog is waited for, not hammered."""

from __future__ import annotations

import asyncio

from procman.runtime.router.gate import Gate
from tests.runtime.routed import jumping_story


@jumping_story
async def test_a_gate_is_open_until_a_backlog_was_found_full() -> None:
    gate = Gate(asyncio.get_running_loop())
    for _ in range(1000):
        await gate.enter()
        gate.found_room()


@jumping_story
async def test_a_full_gate_lets_one_in_for_each_that_leaves_and_opens_again() -> None:
    gate = Gate(asyncio.get_running_loop())
    for _ in range(4):
        await gate.enter()
    gate.found_full()
    gate.leave()
    inside: list[int] = []

    async def enter(number: int) -> None:
        await gate.enter()
        inside.append(number)

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(enter(number)) for number in range(7)]
        await asyncio.sleep(1)
        assert inside == []
        gate.leave()
        await asyncio.sleep(1)
        assert inside == [0]
        waiting[1].cancel()
        gate.leave()
        waiting[2].cancel()  # in the moment of its turn, which is the next one's then
        await asyncio.sleep(1)
        assert inside == [0, 3]
        gate.found_room()  # the last one was taken: there is room for one more
        await asyncio.sleep(1)
        assert inside == [0, 3, 4]
        gate.leave()
        gate.leave()
        await asyncio.sleep(1)
        assert inside == [0, 3, 4, 5, 6]
        gate.found_room()
        for _ in range(1000):
            await gate.enter()
