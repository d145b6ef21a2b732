"""Many at once: dynos come and go under load, and a sleeper is woken by a crowd."""

from __future__ import annotations

import asyncio
import itertools

from procman.runtime.router import RouterLog
from tests.runtime.routed import (
    GET,
    OK,
    Dyno,
    Handler,
    dyno,
    read_answer,
    read_head,
    routed,
    says,
    story,
)


def takes_turns() -> Handler:
    """A dyno whose answers are in flight for some turns of the loop."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            for _ in range(5):
                await asyncio.sleep(0)
            writer.write(OK)

    return handle


@story
async def test_idempotent_requests_lose_nothing_while_dynos_are_killed_and_replaced() -> None:
    """web=3 under load; each in turn is killed, or drained and stopped, and comes back."""
    asked = 0
    over = asyncio.Event()

    async with (
        dyno(takes_turns()) as one,
        dyno(takes_turns()) as two,
        dyno(takes_turns()) as three,
        routed(one, two, three, router_log=RouterLog.ERRORS) as it,
    ):

        async def load() -> None:
            nonlocal asked
            reader, writer = await it.connect()
            while not over.is_set():
                writer.write(GET)
                assert await read_answer(reader) == OK
                asked += 1

        async def served(number: int) -> None:
            until = asked + number
            while asked < until:
                assert await it.ask(GET) == OK

        async def killed(name: str, boot: int, served_by: Dyno) -> None:
            await served_by.stop()  # the supervisor hears of it some requests later
            await served(20)
            it.router.remove(name, boot)

        async def scaled_away(name: str, boot: int, served_by: Dyno) -> None:
            it.router.drain(name, boot)
            while f"drained {name} {boot}" not in it.supervision.told:
                assert await it.ask(GET) == OK
            it.router.remove(name, boot)
            await served_by.stop()

        async with asyncio.TaskGroup() as group:
            loads = [group.create_task(load()) for _ in range(16)]
            dynos = {"web.1": one, "web.2": two, "web.3": three}
            ends = itertools.cycle((killed, scaled_away))
            for boot in range(1, 5):
                for name, served_by in dynos.items():
                    await next(ends)(name, boot, served_by)
                    await served(20)
                    await served_by.start()
                    it.router.add(served_by.backend(name, boot + 1))
                    await served(20)
            over.set()
        assert all(task.done() for task in loads)
        assert it.supervision.lines == []


@story
async def test_two_hundred_requests_to_a_stopped_dyno_cause_one_wake_and_are_all_served() -> None:
    """Each asks to be woken, as it must; the supervisor wakes once, and all were parked."""
    async with dyno(says(OK)) as one, routed() as it:
        asked = [asyncio.create_task(it.ask(GET)) for _ in range(200)]
        for _ in asked:
            await it.supervision.asked.acquire()
        it.router.add(one.backend())
        assert await asyncio.gather(*asked) == [OK] * 200
        told = it.supervision.told
        assert told[:200] == ["wake"] * 200
        assert told[200:].count("busy") == told[200:].count("quiet")


@story
async def test_a_request_that_thaws_its_dyno_is_served_and_never_parked() -> None:
    """200 at once: the first wake puts the dyno into the table before it returns."""
    async with dyno(says(OK)) as one, routed(router_log=RouterLog.ERRORS) as it:
        thawed = 0

        def thaw() -> None:
            nonlocal thawed
            if not it.router.stats():
                thawed += 1
                it.router.add(one.backend())

        it.supervision.waker = thaw
        assert await asyncio.gather(*(it.ask(GET) for _ in range(200))) == [OK] * 200
        assert thawed == 1
        assert it.supervision.asked.locked()  # for the outlook nobody asked


@story
async def test_a_crowd_is_spread_over_the_dynos_by_what_they_have_to_do() -> None:
    """A dyno that is busy with a slow request gets fewer of the others."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        busy.set()
        await release.wait()
        writer.write(OK)

    busy = asyncio.Event()
    async with dyno(slow) as one, dyno(says(OK)) as two, routed(one, two) as it:
        first = asyncio.create_task(it.ask(GET))
        await busy.wait()
        for _ in range(10):
            assert await it.ask(GET) == OK
        assert one.connections == 1
        release.set()
        assert await first == OK
