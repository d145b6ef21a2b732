"""Reads on the loop what the dynos write, while the sinks have room."""

from __future__ import annotations

import asyncio

from procman.runtime.boots import Boots
from procman.runtime.loghub import LogHub
from procman.runtime.process import Process

# A pty's unfinished line is a prompt when nothing follows it for this long; a program that is
# writing fills its line within a millisecond.
SILENCE = 0.1


class Intake:
    """The outputs of the live boots as readers of the loop."""

    def __init__(self, boots: Boots, hub: LogHub) -> None:
        self._boots = boots
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._silences: dict[int, asyncio.TimerHandle] = {}
        self._reading: set[int] = set()
        self._paused = False

    def begin(self, process: Process) -> None:
        """Read what a boot writes."""
        if not self._paused and process.output not in self._reading:
            self._reading.add(process.output)
            self._loop.add_reader(process.output, self._take, process)
            if process.is_pty:
                self._expect_silence(process)  # half a line may have been read before the loop ran

    def end(self, descriptor: int) -> None:
        """Read no more: all its writers are gone, or it is about to be closed."""
        handle = self._silences.pop(descriptor, None)
        if handle is not None:
            handle.cancel()
        if descriptor in self._reading:
            self._reading.discard(descriptor)
            self._loop.remove_reader(descriptor)

    def pause(self) -> None:
        """Read nothing: a sink is full."""
        self._paused = True
        for descriptor in self._reading:
            self._loop.remove_reader(descriptor)
        self._reading.clear()

    def resume(self) -> None:
        """The sink has room again."""
        if self._paused:
            self._paused = False
            for process in self._boots.by_pid.values():
                self.begin(process)

    def close(self) -> None:
        """Leave the loop."""
        for handle in self._silences.values():
            handle.cancel()
        self.pause()

    def _take(self, process: Process) -> None:
        source = process.source
        if not self._hub.take(source, process.output):
            self.end(process.output)  # the exit is on the way
        elif process.is_pty:
            self._expect_silence(process)

    def _expect_silence(self, process: Process) -> None:
        source = process.source
        handle = self._silences.pop(process.output, None)
        if handle is not None:
            handle.cancel()
        if source.cutter.rest:
            flush = self._loop.call_later(SILENCE, self._hub.flush, source)
            self._silences[process.output] = flush
