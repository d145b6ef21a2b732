"""A full listen backlog is waited for, not hammered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import sys

import pytest

from procman.core.routing import Backend
from procman.runtime.router.gate import FIRST_TRY, Gate
from tests.runtime.routed import GET, OK, jumping_story, read_head, routed, story

SHORT = FIRST_TRY / 10


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
        await asyncio.sleep(SHORT)
        assert inside == []
        gate.leave()
        await asyncio.sleep(SHORT)
        assert inside == [0]
        waiting[1].cancel()
        gate.leave()
        waiting[2].cancel()  # before its turn, which is the next one's then
        await asyncio.sleep(SHORT)
        assert inside == [0, 3]
        gate.leave()
        waiting[4].cancel()  # in the moment of its turn
        await asyncio.sleep(SHORT)
        assert inside == [0, 3, 5]
        gate.found_room()  # the last one was taken: there is room for one more
        await asyncio.sleep(SHORT)
        assert inside == [0, 3, 5, 6]
        gate.found_room()
        for _ in range(1000):
            await gate.enter()


@jumping_story
async def test_one_that_comes_just_then_does_not_take_the_place_of_who_waits() -> None:
    gate = Gate(asyncio.get_running_loop())
    await gate.enter()
    gate.found_full()
    waits = asyncio.create_task(gate.enter())
    await asyncio.sleep(SHORT)
    gate.leave()
    late = asyncio.create_task(gate.enter())
    await waits
    await asyncio.sleep(SHORT)
    assert not late.done()
    gate.leave()
    await late


@jumping_story
async def test_one_more_is_tried_from_time_to_time_though_nobody_leaves() -> None:
    """Those inside may have been taken long ago, and be answered slowly, or never."""
    loop = asyncio.get_running_loop()
    gate = Gate(loop)
    await gate.enter()
    gate.found_full()
    tries: list[float] = []

    async def enter() -> None:
        while True:
            await gate.enter()
            tries.append(loop.time())
            if loop.time() > 5:
                gate.found_room()
                return
            gate.found_full()
            gate.leave()

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(enter())
    spans = [round(b - a, 3) for a, b in itertools.pairwise([0.0, *tries])]
    assert spans == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.skipif(sys.platform != "linux", reason="when a backlog is full, a kernel decides")
@story
async def test_requests_are_not_held_up_by_a_server_that_takes_all_and_answers_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backlog that was full once, and has long been emptied."""
    full = asyncio.Event()
    found_full = Gate.found_full

    def tell(gate: Gate) -> None:
        found_full(gate)
        full.set()

    monkeypatch.setattr(Gate, "found_full", tell)
    everybody = asyncio.Barrier(6)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            await read_head(reader)
            await everybody.wait()
            writer.write(OK)

    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        async with routed() as it:
            it.router.add(Backend("web.1", 1, *listener.getsockname()))
            asked = asyncio.gather(*(it.ask(GET) for _ in range(6)))
            await full.wait()
            server = await asyncio.start_server(handle, sock=listener, backlog=1)
            assert await asked == [OK] * 6
            server.close()
