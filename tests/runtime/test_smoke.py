"""The smoke test's course in virtual time: what would take minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from procman.core.fleet import Fleet
from procman.runtime import smoke
from procman.runtime.asking import Heard
from procman.runtime.smoke import Plan, Smoke
from procman.runtime.supervisor import Supervisor
from tests.virtual_time import run


class NoDynos:
    """As much of a supervisor as the course needs of an app without dynos."""

    def __init__(self) -> None:
        self.fleet = Fleet({})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Nothing ever happens: it is so, or it never is."""
        if not condition():
            await asyncio.Event().wait()

    def end(self, status: int, why: str, *, kill: bool) -> None:
        """There is nothing to end."""


@pytest.mark.parametrize(("takes", "told"), [(299.0, None), (301.0, "out of time")])
def test_an_answer_may_take_as_long_as_the_timeout_says(
    monkeypatch: pytest.MonkeyPatch, takes: float, told: str | None
) -> None:
    """The first request of an app that compiles what it needs then takes minutes."""

    async def answer_late(_url: str, _path: str, heard: Heard) -> None:
        await asyncio.sleep(takes)
        heard.status = 200

    monkeypatch.setattr(smoke, "ask", answer_late)
    course = Smoke(
        Plan(300.0, ["/"], frozenset({200}), 0.0, 10.0, argv=[], environment={}, output=1), "app"
    )
    run(course.watch(cast(Supervisor, NoDynos()), dict))
    assert [answer.reason for answer in course.report.answers] == [told]
