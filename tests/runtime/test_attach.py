"""The window's changes, and the loop that hears of them."""

from __future__ import annotations

import asyncio
import signal

from procman.runtime.attach import Terminals
from procman.runtime.loghub import LogHub
from tests.runtime.test_supervisor import FakeBoots


def test_no_signal_is_written_to_a_loop_that_has_ended() -> None:
    """asyncio closes what signals are written to while they still are: it is taken away before."""

    async def story() -> None:
        terminals = Terminals(FakeBoots(LogHub(lambda: 0.0)), lambda: (24, 80))
        async with terminals.following():
            written_to = signal.set_wakeup_fd(-1)
            assert written_to != -1, "a loop that waits would not see a signal"
            signal.set_wakeup_fd(written_to)
        assert signal.set_wakeup_fd(-1) == -1

    with asyncio.Runner() as runner:
        runner.run(story())
