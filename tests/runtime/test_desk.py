"""What the desk waits for, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from procman.core.dyno import State
from procman.core.wire import Request
from procman.errors import ProcmanError
from procman.runtime.desk import Answer, Desk
from tests.runtime.test_supervisor import App, app
from tests.virtual_time import run


def desk(it: App) -> Desk:
    """Where other terminals ask about an app."""
    return Desk(
        it.supervisor, it.boots, dict, lambda kill: None, require_room=lambda formation: None
    )


def test_one_that_crashes_before_anybody_is_told_that_it_is_up_is_waited_for() -> None:
    """Its process ends between the moment that it is up and the one in which who waits wakes."""

    async def story() -> tuple[Answer, State]:
        async with app("web", "worker") as it:

            def crash(dyno: str, boot: int) -> None:
                if dyno == "web.1" and boot <= 4:
                    it.loop.call_soon(it.exit, dyno, 1)

            it.boots.on_spawn = crash
            waiting = asyncio.create_task(desk(it).answer(Request("wait", {"targets": ["web"]})))
            it.scale(web=1, worker=1)
            answer = await waiting
            return answer, it.fleet.dynos["web.1"].state

    assert run(story()) == ({"dynos": ["web.1"], "unsettled": {}}, State.UP)


@pytest.mark.parametrize(
    "request_",
    [
        Request("scale", {"changes": ["web=2"]}),
        Request("restart", {"targets": ["web"]}),
        Request("wake", {"targets": ["web"]}),
    ],
)
def test_while_the_app_ends_nothing_is_promised(request_: Request) -> None:
    """Nothing boots any more; what the formation is may still be asked."""

    async def story() -> None:
        async with app("web") as it:
            it.scale(web=1)
            it.supervisor.end(143, "stopping", kill=False)
            assert (await desk(it).answer(Request("scale", {})))["formation"] == {"web": 1}
            with pytest.raises(ProcmanError, match="the app is being stopped"):
                await desk(it).answer(request_)

    run(story())
