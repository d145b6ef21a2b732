"""Reads on the loop what the dynos write, while the sinks have room."""

from __future__ import annotations

import asyncio
import select

from procman.runtime.boots import Boots
from procman.runtime.loghub import LogHub
from procman.runtime.process import Process

# A pty's unfinished line is a prompt when nothing follows it for this long: a program that is
# writing fills its line within a millisecond, if it has a processor. On a busy machine it may wait
# long for one, and it is looked at again, up to the longest silence. Seconds.
SILENCE = 0.1
LONGEST_SILENCE = 2.0


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
        self._end_silence(descriptor)
        if descriptor in self._reading:
            self._reading.discard(descriptor)
            self._loop.remove_reader(descriptor)

    def pause(self) -> None:
        """Read nothing: a sink is full."""
        self._paused = True
        for descriptor in self._reading:
            self._loop.remove_reader(descriptor)
            self._end_silence(descriptor)  # who is not read is not silent
        self._reading.clear()

    def resume(self) -> None:
        """The sink has room again."""
        if self._paused:
            self._paused = False
            for process in self._boots.by_pid.values():
                self.begin(process)

    def close(self) -> None:
        """Leave the loop."""
        self.pause()

    def _take(self, process: Process) -> None:
        if not self._hub.take(process.source, process.output):
            self.end(process.output)  # the exit is on the way
        elif process.is_pty:
            self._expect_silence(process)

    def _expect_silence(self, process: Process) -> None:
        self._end_silence(process.output)
        if process.source.cutter.rest:
            self._look_later(process, self._loop.time() + LONGEST_SILENCE)

    def _look_later(self, process: Process, end: float) -> None:
        timer = self._loop.call_later(SILENCE, self._look, process, end)
        self._silences[process.output] = timer

    def _look(self, process: Process, end: float) -> None:
        """Nothing has come for a while: is it a prompt, or half of what is being written?"""
        is_late = _is_readable(process.output)  # libuv looks at its timers before it reads
        if is_late or (self._loop.time() < end and self._boots.is_running(process)):
            self._look_later(process, end)
        else:
            del self._silences[process.output]
            self._hub.flush(process.source)

    def _end_silence(self, descriptor: int) -> None:
        handle = self._silences.pop(descriptor, None)
        if handle is not None:
            handle.cancel()


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
