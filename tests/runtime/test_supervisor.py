"""The supervisor as stories in virtual time, with processes that do as they are told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from procman.core.dyno import Policy, Restart
from procman.core.fleet import Fleet, ProcessType
from procman.runtime.boots import Boots
from procman.runtime.guardian import Guardian
from procman.runtime.intake import LONGEST_SILENCE, SILENCE
from procman.runtime.loghub import LogHub, Source
from procman.runtime.process import Command, Process
from procman.runtime.supervisor import Supervisor
from tests.virtual_time import Hang, run

OUT_OF_REACH = 1 << 30  # no such pid: the highest is 2^22


class FakeBoots(Boots):
    """Boots that live in memory, each with a real pipe to write into."""

    def __init__(self, hub: LogHub, *, is_pty: bool = False) -> None:
        self.sources: dict[str, Source] = {}
        super().__init__(
            plan=lambda dyno, boot: Command([], {}, is_pty),
            source=self._source,
            port_of=lambda dyno: None,
            hub=hub,
            guardian=Guardian.__new__(Guardian),  # there is nothing to guard
            cookie="c",
        )
        self.is_pty = is_pty
        self.told: list[str] = []
        self.refuses = False
        self.computes = False
        self.on_spawn: Callable[[str, int], None] = lambda dyno, boot: None
        self.on_signal: Callable[[str, int], None] = lambda dyno, number: None
        self.writers: dict[int, int] = {}
        self._ended: list[tuple[Process, int]] = []

    def _source(self, dyno: str) -> Source:
        return self.sources.setdefault(dyno, Source(dyno))

    def spawn(self, dyno: str, boot: int) -> Process | None:
        """A process that runs until `exit`."""
        if self.refuses:
            self.hub.say("cannot be started: Too many open files", dyno)
            return None
        assert dyno not in self.by_dyno, "two processes in one dyno"
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        pid = OUT_OF_REACH + len(self.told)
        process = Process(dyno, boot, pid, reading, is_pty=self.is_pty, source=self.source(dyno))
        self.by_pid[pid] = self.by_dyno[dyno] = process
        self.writers[pid] = writing
        self.told.append(f"spawn {dyno}")
        self.on_spawn(dyno, boot)
        return process

    def signal(self, dyno: str, boot: int, number: int) -> None:
        """As the process answers."""
        process = self.find(dyno, boot)
        if process is not None:
            self.told.append(f"{signal.Signals(number).name} {dyno}")
            if number == signal.SIGKILL:
                self.exit(dyno, -signal.SIGKILL)
            else:
                self.on_signal(dyno, number)

    def is_running(self, process: Process) -> bool:
        """Whether it computes, or wants to."""
        return self.computes

    def exit(self, dyno: str, status: int) -> None:
        """The process ends; who calls tells the supervisor, as SIGCHLD would."""
        self._ended.append((self.by_dyno[dyno], status))

    def write(self, dyno: str, data: bytes) -> None:
        """What the process writes."""
        os.write(self.writers[self.by_dyno[dyno].pid], data)

    def close_output(self, dyno: str) -> None:
        """The process closes its outputs and lives on."""
        os.close(self.writers.pop(self.by_dyno[dyno].pid))

    def reap(self) -> list[tuple[Process, int]]:
        """Those that have ended since."""
        ended, self._ended = self._ended, []
        return ended

    def bury(self, process: Process) -> None:
        """Show what it wrote, and close its pipe."""
        self.hub.drain(process.source, process.output)
        self.hub.flush(process.source)
        del self.by_pid[process.pid]
        del self.by_dyno[process.dyno]
        os.close(process.output)
        if process.pid in self.writers:
            os.close(self.writers.pop(process.pid))


class Lines:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """`web.1: line`."""
        for line in lines.decode().splitlines():
            self.text += f"{source.name}: {line}\n"

    def close(self) -> None:
        """Nothing is held."""


class App:
    """A fleet, its supervisor, its processes and its log."""

    def __init__(self, *names: str, policy: Policy, is_pty: bool) -> None:
        self.lines = Lines()
        hub = LogHub(lambda: 0.0)
        hub.add(self.lines)
        self.fleet = Fleet({name: ProcessType(name, name, policy) for name in names})
        self.boots = FakeBoots(hub, is_pty=is_pty)
        self.supervisor = Supervisor(self.fleet, self.boots, hub)
        self.loop = asyncio.get_running_loop()

    def scale(self, **quantities: int) -> None:
        """`procman scale`."""
        self.supervisor.perform(self.fleet.scale(quantities, self.supervisor.now))

    def exit(self, dyno: str, status: int) -> None:
        """The dyno's process ends, and SIGCHLD comes."""
        self.boots.exit(dyno, status)
        self.supervisor.reap()

    def obey(self, dyno: str, number: int) -> None:
        """Die of the signal, a moment later."""
        self.loop.call_soon(self.exit, dyno, -number)


@asynccontextmanager
async def app(
    *names: str,
    policy: Policy = Policy(boot_timeout=None),  # noqa: B008  # frozen
    is_pty: bool = False,
) -> AsyncIterator[App]:
    """An app at nothing; whatever it still has is killed and waited for in the end."""
    made = App(*names, policy=policy, is_pty=is_pty)
    async with made.supervisor:
        yield made
        made.supervisor.end(0, "the test is over", kill=True)
        await made.supervisor.over.wait()
    assert made.boots.by_pid == {}


def test_a_stubborn_process_is_killed_at_its_grace() -> None:
    """SIGTERM at 0, SIGKILL at 10 s, and it is over."""

    async def story() -> tuple[list[str], float]:
        async with app("web") as it:
            it.scale(web=1)
            it.supervisor.end(143, "stopping", kill=False)
            await it.supervisor.over.wait()
            return it.boots.told, round(it.loop.time(), 3)

    assert run(story()) == (["spawn web.1", "SIGTERM web.1", "SIGKILL web.1"], 10.0)


def test_hours_of_crash_loop_are_milliseconds() -> None:
    """Ten hours; each boot lives half a second; a neighbour is not touched."""

    async def story() -> list[str]:
        async with app("web", "worker") as it:

            def crash(dyno: str, _boot: int) -> None:
                if dyno == "web.1":
                    it.loop.call_later(0.5, it.exit, dyno, 1)

            it.boots.on_spawn = crash
            it.scale(web=1, worker=1)
            await asyncio.sleep(36_000.0)
            it.boots.on_spawn = lambda dyno, boot: None
            await asyncio.sleep(61.0)
            return it.boots.told

    told = run(story())
    assert told.count("spawn worker.1") == 1
    assert 36_000 / 60.5 < told.count("spawn web.1") < 36_000 / 45


def test_an_app_at_rest_waits_for_nothing() -> None:
    """No timer, no poll: left alone, it would sleep for ever, and that is told here."""

    async def story() -> None:
        async with app("web") as it:
            it.scale(web=3)
            await asyncio.Event().wait()

    with pytest.raises(Hang):
        run(story())


def test_a_restart_waits_for_the_old_process() -> None:
    """Then the new one comes at once."""

    async def story() -> list[str]:
        async with app("web") as it:
            it.boots.on_signal = it.obey
            it.scale(web=1)
            names = it.fleet.names()
            it.supervisor.perform(it.fleet.restart(names, it.supervisor.now))
            await it.supervisor.until(lambda: it.fleet.dynos["web.1"].boot == 2)
            return list(it.boots.told)

    assert run(story()) == ["spawn web.1", "SIGTERM web.1", "spawn web.1"]


def test_what_the_system_refuses_to_start_is_a_crash_that_is_tried_again() -> None:
    """The reason is told, and nothing loops without a pause."""

    async def story() -> tuple[str, float, int | None]:
        made = App("web", policy=Policy(), is_pty=False)
        async with made.supervisor:
            made.boots.refuses = True
            made.scale(web=1)
            await made.supervisor.over.wait()
        return made.lines.text, made.loop.time(), made.fleet.status

    text, now, status = run(story())
    assert text.count("web.1 cannot be started: Too many open files") == 4
    assert status == 126
    assert 2.0 < now < 4.0


def test_half_a_line_on_a_pty_is_shown_after_a_silence_and_only_then() -> None:
    """A prompt. The rest of the line, when it comes, is a line of its own."""

    async def story() -> list[str]:
        seen = []
        async with app("web", is_pty=True) as it:
            it.scale(web=1)
            it.boots.write("web.1", b"Continue? ")
            await asyncio.sleep(SILENCE * 0.9)
            seen.append("Continue" in it.lines.text)
            it.boots.write("web.1", b"[y/n] ")
            await asyncio.sleep(SILENCE * 0.9)
            seen.append("Continue" in it.lines.text)
            await asyncio.sleep(SILENCE * 0.2)
            seen.append("web.1: Continue? [y/n] \n" in it.lines.text)
            return [str(found) for found in seen]

    assert run(story()) == ["False", "False", "True"]


def test_half_a_line_of_a_process_that_runs_is_waited_for_but_not_for_ever() -> None:
    """On a busy machine it waits for a processor to write the other half."""

    async def story() -> tuple[str, str, bool]:
        async with app("web", is_pty=True) as it:
            it.boots.computes = True
            it.scale(web=1)
            it.boots.write("web.1", b"175")
            await asyncio.sleep(LONGEST_SILENCE * 0.9)
            it.boots.write("web.1", b"49\nworking ...")
            await asyncio.sleep(LONGEST_SILENCE * 0.9)
            whole = it.lines.text
            await asyncio.sleep(LONGEST_SILENCE * 0.2)
            shown = it.lines.text
            await asyncio.sleep(3600.0)
            return whole, shown, it.lines.text == shown

    whole, shown, stays = run(story())
    assert "web.1: 17549\n" in whole
    assert "working" not in whole
    assert "web.1: working ...\n" in shown
    assert stays


def test_half_a_line_that_was_read_before_a_sink_was_full_stays_half_until_it_has_room() -> None:
    """Who is not read is not silent."""

    async def story() -> tuple[str, str]:
        async with app("web", is_pty=True) as it:
            it.scale(web=1)
            it.boots.write("web.1", b"175")
            await asyncio.sleep(SILENCE * 0.5)
            it.supervisor.intake.pause()
            it.boots.write("web.1", b"49\n")
            await asyncio.sleep(3600.0)
            held = it.lines.text
            it.supervisor.intake.resume()
            await asyncio.sleep(SILENCE * 0.5)
            return held, it.lines.text

    held, text = run(story())
    assert "175" not in held
    assert "web.1: 17549\n" in text


def test_half_a_line_on_a_pipe_waits_for_its_end() -> None:
    """A program that writes into a pipe writes blocks, which end anywhere."""

    async def story() -> tuple[bool, str]:
        async with app("web") as it:
            it.scale(web=1)
            it.boots.write("web.1", b"half")
            await asyncio.sleep(3600.0)
            early = "half" in it.lines.text
            it.exit("web.1", 0)
            return early, it.lines.text

    early, text = run(story())
    assert not early
    assert "web.1: half\n" in text


def test_while_a_sink_is_full_nothing_is_read_and_nothing_is_lost() -> None:
    """Not by a boot that began meanwhile either."""

    async def story() -> tuple[str, str]:
        async with app("web") as it:
            it.scale(web=1)
            it.supervisor.intake.pause()
            it.scale(web=2)
            it.boots.write("web.1", b"one\n")
            it.boots.write("web.2", b"two\n")
            await asyncio.sleep(60.0)
            paused = it.lines.text
            it.supervisor.intake.resume()
            await asyncio.sleep(0.001)
            return paused, it.lines.text

    paused, text = run(story())
    assert "one" not in paused
    assert "two" not in paused
    assert "web.1: one\n" in text
    assert "web.2: two\n" in text


def test_a_dyno_that_closes_its_output_does_not_spin_the_loop_and_its_exit_is_seen() -> None:
    """The end of a pipe is always ready to be read: it is looked at once."""

    async def story() -> list[str]:
        async with app("web", policy=Policy(restart=Restart.NEVER)) as it:
            it.scale(web=1)
            it.boots.close_output("web.1")
            await asyncio.sleep(3600.0)
            it.supervisor.intake.pause()
            it.supervisor.intake.resume()
            await asyncio.sleep(3600.0)
            state = it.fleet.dynos["web.1"].state.value
            it.exit("web.1", 7)
            return [state, str(it.fleet.status)]

    assert run(story()) == ["up", "7"]


def test_who_waits_for_something_is_told_after_the_event_that_brings_it() -> None:
    """And one that gives up waiting leaves nothing behind."""

    async def story() -> float:
        async with app("web") as it:
            it.scale(web=1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(it.supervisor.until(lambda: False), 5.0)
            it.loop.call_later(5.0, it.scale)
            it.loop.call_later(7.0, lambda: it.scale(web=2))
            await it.supervisor.until(lambda: len(it.fleet.dynos) == 2)
            return round(it.loop.time(), 3)

    assert run(story()) == 12.0


def test_nothing_outlives_the_supervisor() -> None:
    """No reader, no timer: the loop has nothing left to do."""

    async def story() -> None:
        async with app("web", is_pty=True) as it:
            it.scale(web=2)
            it.boots.write("web.1", b"half")
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()

    with pytest.raises(Hang):
        run(story())


def test_a_child_that_ends_after_the_supervisor_is_asked_of_nobody() -> None:
    """A handler stays: Python complains of a signal that comes as its handler is taken away.

    That moment is too short to be made to come in a test.
    """

    async def story() -> None:
        async with app("web"):
            pass

    run(story())
    assert callable(signal.getsignal(signal.SIGCHLD))
    signal.raise_signal(signal.SIGCHLD)  # the loop is closed: whoever called it would fail
