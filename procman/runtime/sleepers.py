"""Dynos that are suspended, and parents that are still held after a wake."""

from __future__ import annotations

import asyncio
import os
import sys

from procman.runtime.boots import Boots
from procman.runtime.freezer import Frozen, Held, Stopped, freeze
from procman.runtime.listening import waiting_count
from procman.runtime.process import Process
from procman.runtime.tree import started_at, state_of

# A parent with children is released this long after its children: gunicorn's arbiter kills workers
# whose heartbeat looks late, and an idle worker's next one comes within half its timeout, 15 s by
# default. Measured with a hold: no worker lost in any wake; without, one in 7 wakes of 8.
HOLD = 20.0

# When after a wake to look whether a connection still waits for somebody to accept it: then it is a
# held parent that accepts, and it is released at once.
LOOKS = (0.02, 0.1, 0.5)


class Sleepers:
    """Freezes and thaws boots. It holds what must be thawed, and the hold's timers."""

    def __init__(self, boots: Boots) -> None:
        self._boots = boots
        self._frozen: dict[int, Frozen] = {}
        self._held: dict[int, Held] = {}
        self._timers: dict[int, list[asyncio.TimerHandle]] = {}
        self._ends: dict[int, list[int]] = {}  # descriptors that tell of a leaf's end

    def freeze(self, process: Process) -> None:
        """Suspend the whole tree of a boot, its orphans included."""
        self.release(process)
        self._frozen[process.pid] = freeze(process.pid, lambda: self._boots.strays(process))

    def thaw(self, process: Process) -> None:
        """Let those run that serve, and their parents after the hold."""
        frozen = self._frozen.pop(process.pid, None)
        held = None if frozen is None else frozen.thaw_leaves()
        if held:
            loop = asyncio.get_running_loop()
            self._held[process.pid] = held
            self._timers[process.pid] = [
                loop.call_later(HOLD, self.release, process),
                *(loop.call_later(delay, self._look, process) for delay in LOOKS),
            ]
            self._ends[process.pid] = [e for leaf in held.leaves if (e := _end_of(leaf)) >= 0]
            for end in self._ends[process.pid]:  # a reloader's child, a worker that has had its day
                loop.add_reader(end, self.release, process)

    def release(self, process: Process) -> None:
        """Let everything of a boot run: it is to be stopped, or the hold is over."""
        frozen = self._frozen.pop(process.pid, None)
        if frozen is not None:
            frozen.thaw_all()
        held = self._held.pop(process.pid, None)
        if held is not None:
            held.release()
        for timer in self._timers.pop(process.pid, ()):
            timer.cancel()
        for end in self._ends.pop(process.pid, ()):
            asyncio.get_running_loop().remove_reader(end)
            os.close(end)

    def close(self) -> None:
        """Let everything run, and forget the timers."""
        for process in tuple(self._boots.by_pid.values()):
            self.release(process)

    def _look(self, process: Process) -> None:
        if process.reached_at is not None and waiting_count(process.reached_at[1]):
            self.release(process)


def _end_of(leaf: Stopped) -> int:
    """A descriptor that can be read when a process has ended, whosever child it is; -1: none."""
    if sys.platform != "linux":
        return -1
    try:
        end = os.pidfd_open(leaf.pid)
    except OSError:
        return -1  # it has ended, descriptors are used up, or the kernel is older than 5.3
    if started_at(leaf.pid) == leaf.since and state_of(leaf.pid) != "Z":  # had ended long before
        return end
    os.close(end)
    return -1
