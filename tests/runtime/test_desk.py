"""What the desk waits for, in virtual time."""

from __future__ import annotations

import asyncio

from procman.core.dyno import State
from procman.core.wire import Request
from procman.runtime.desk import Answer, Desk
from tests.runtime.test_supervisor import app
from tests.virtual_time import run


def test_one_that_crashes_before_anybody_is_told_that_it_is_up_is_waited_for() -> None:
    """Its process ends between the moment that it is up and the one in which who waits wakes."""

    async def story() -> tuple[Answer, State]:
        async with app("web", "worker") as it:

            def crash(dyno: str, boot: int) -> None:
                if dyno == "web.1" and boot <= 4:
                    it.loop.call_soon(it.exit, dyno, 1)

            it.boots.on_spawn = crash
            desk = Desk(
                it.supervisor,
                it.boots,
                dict,
                lambda kill: None,
                require_room=lambda formation: None,
            )
            waiting = asyncio.create_task(desk.answer(Request("wait", {"targets": ["web"]})))
            it.scale(web=1, worker=1)
            answer = await waiting
            return answer, it.fleet.dynos["web.1"].state

    assert run(story()) == ({"dynos": ["web.1"], "unsettled": {}}, State.UP)
