"""Who is held after a wake, and until when: real processes, and a hold without an end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import cast

import pytest

from procman.runtime import sleepers
from procman.runtime.boots import Boots
from procman.runtime.process import Process
from procman.runtime.sleepers import Sleepers
from procman.runtime.tree import state_of
from tests.runtime.test_freezer import FAMILY, line_of, running, runs, stopped

PATIENCE = 60.0

needs_pidfd = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of others' ends")


class OneBoot:
    """As much of the boots as there is to one without orphans."""

    def __init__(self, process: Process) -> None:
        self.by_pid = {process.pid: process}

    def strays(self, _process: Process) -> list[int]:
        """None."""
        return []


def asleep(parent: subprocess.Popen[bytes]) -> tuple[Sleepers, Process]:
    """A boot that is suspended."""
    process = Process("web.1", 1, parent.pid, -1, is_pty=False)
    suspended = Sleepers(cast(Boots, OneBoot(process)))
    suspended.freeze(process)
    return suspended, process


@needs_pidfd
def test_a_parent_is_released_when_a_child_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that reloads itself after a save, a worker that has had its day: nobody else would
    replace it.
    """

    async def story() -> None:
        with running(FAMILY) as parent:
            children = [int(word) for word in line_of(parent).split()]
            suspended, process = asleep(parent)
            suspended.thaw(process)
            assert all(map(runs, children))
            assert stopped(parent.pid)
            os.kill(children[1], signal.SIGKILL)
            end = asyncio.get_running_loop().time() + PATIENCE
            while not runs(parent.pid):  # nobody tells us of it
                assert asyncio.get_running_loop().time() < end
                await asyncio.sleep(0)
            suspended.close()

    monkeypatch.setattr(sleepers, "HOLD", 2 * PATIENCE)
    asyncio.run(story())


@needs_pidfd
def test_a_child_that_ended_long_before_releases_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent has not asked for its status, and need not do so now."""

    async def story() -> None:
        with running(FAMILY) as parent:
            children = [int(word) for word in line_of(parent).split()]
            suspended, process = asleep(parent)
            os.kill(children[1], signal.SIGKILL)
            while state_of(children[1]) != "Z":
                os.sched_yield()
            suspended.thaw(process)
            assert runs(children[0])
            for _ in range(10):
                await asyncio.sleep(0)
            assert stopped(parent.pid)
            suspended.close()
            assert runs(parent.pid)

    monkeypatch.setattr(sleepers, "HOLD", 2 * PATIENCE)
    asyncio.run(story())
