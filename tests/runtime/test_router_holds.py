"""Requests that come while it is not known whether the code is up to date."""

from __future__ import annotations

import asyncio

from procman.core.codes import Code
from procman.core.routing import Outage, Waiting
from tests.runtime.routed import GET, OK, dyno, routed, says, story


class Doubt:
    """Whether requests are to wait, and how often that was asked."""

    def __init__(self) -> None:
        self.lasts = True
        self.asked = asyncio.Semaphore(0)

    def __call__(self) -> bool:
        self.asked.release()
        return self.lasts


@story
async def test_they_wait_though_a_dyno_could_answer_and_are_answered_when_it_is_known() -> None:
    """All of them."""
    async with dyno(says(OK)) as served, routed(served) as it:
        it.router.holds = doubt = Doubt()
        waiting = [asyncio.create_task(it.ask(GET)) for _ in range(3)]
        for _ in waiting:
            await doubt.asked.acquire()
        it.router.refresh()
        assert served.connections == 0
        doubt.lasts = False
        it.router.refresh()
        assert {answer[-2:] for answer in await asyncio.gather(*waiting)} == {b"ok"}


@story
async def test_who_fell_asleep_meanwhile_is_woken_when_it_is_known() -> None:
    """Those who wait are no lease; nobody else may come who would wake it."""
    async with dyno(says(OK)) as served, routed(served) as it:
        it.router.holds = doubt = Doubt()
        waiting = asyncio.create_task(it.ask(GET))
        await doubt.asked.acquire()
        assert it.router.has_parked
        it.router.remove("web.1", 1)

        def boot() -> None:
            it.supervision.waker = lambda: None
            it.router.add(served.backend("web.1", 2))

        it.supervision.waker = boot
        doubt.lasts = False
        it.router.refresh()
        assert (await waiting)[-2:] == b"ok"
        assert not it.router.has_parked


@story
async def test_what_crashed_before_the_save_is_not_answered_for_it() -> None:
    """The outage is of the old code: it is not even asked for."""
    async with dyno(says(OK)) as served, routed() as it:
        it.supervision.says = Outage(Code.H10)
        it.router.holds = doubt = Doubt()
        waiting = asyncio.create_task(it.ask(GET))
        await doubt.asked.acquire()
        it.router.refresh()
        doubt.lasts, it.supervision.says = False, Waiting.SERVE_SOON  # it boots
        it.router.add(served.backend("web.1"))
        assert (await waiting)[-2:] == b"ok"
