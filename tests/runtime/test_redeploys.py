"""From a file on disk to the decision, over a real watcher and a real loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from procman.core.watch_rules import Subject, TypeGlobs
from procman.runtime.watch.redeploys import MANY, Decision, Redeploys
from procman.runtime.watch.watcher import Changes

ALWAYS = {".env": Subject.CONFIG, "Procfile": Subject.PROCFILE}


class Noting(Redeploys):
    """Tells what it noticed."""

    noticed: asyncio.Queue[set[str]]
    undecided: list[bool]

    def _noticed(self, changes: Changes) -> None:
        super()._noticed(changes)
        self.undecided.append(self.is_undecided)
        self.noticed.put_nowait(set(changes.subjects))


class App:
    """What is decided for an app of a web and a worker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.pids: dict[str, Iterable[int]] = {}
        self.decided = asyncio.Event()
        self._decisions: asyncio.Queue[Decision] = asyncio.Queue()
        self.redeploys = Noting(
            str(root),
            always=ALWAYS,
            types=TypeGlobs(["web", "worker"], {"worker": ["jobs/**"]}),
            pids=self.running,
            decide=self._decisions.put_nowait,
            decided=self.decided.set,
            say=self.lines.put_nowait,
        )
        self.redeploys.noticed = asyncio.Queue()
        self.redeploys.undecided = []

    def running(self) -> Mapping[str, Iterable[int]]:
        return self.pids

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    @asynccontextmanager
    async def at_once(self, *last: str) -> AsyncIterator[None]:
        """What is written in here is one decision on however slow a machine: a redeploy is said to
        be under way until the `last` paths were noticed."""
        self.redeploys._debounce.began()
        yield
        noticed: set[str] = set()
        while not noticed >= set(last):
            noticed |= await self.redeploys.noticed.get()
        assert self._decisions.empty()
        self.redeploys.ended()

    async def decision(self) -> Decision:
        """The next one, carried out at once."""
        decision = await self._decisions.get()
        self.redeploys.spawned()
        self.redeploys.came_up()
        self.redeploys.ended()
        return decision


@asynccontextmanager
async def app(root: Path) -> AsyncIterator[App]:
    made = App(root)
    await made.redeploys.start()
    await asyncio.gather(*made.redeploys._tasks)  # it has learnt what the files are like
    made.redeploys.spawned()
    made.redeploys.came_up()
    try:
        yield made
    finally:
        made.redeploys.close()


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


def test_a_save_is_decided_for_the_types_it_concerns(tmp_path: Path) -> None:
    async def story() -> None:
        async with app(tmp_path) as made:
            made.write("app.py", "1")
            decision = await made.decision()
            assert decision == Decision(("app.py",), ("web",), frozenset({Subject.CODE}))
            assert decision.message == "app.py changed, redeploying web"
            made.write("jobs/mail.py", "1")
            assert (await made.decision()).types == ("web", "worker")

    run(story)


def test_what_is_as_before_is_no_redeploy(tmp_path: Path) -> None:
    """Touched, saved without an edit, replaced by the same, made and removed again: the next
    decision is for the real change that follows."""

    async def story() -> None:
        async with app(tmp_path) as made:
            async with made.at_once("app.py", "lib.py"):
                made.write("app.py", "1")
                made.write("lib.py", "1")
            await made.decision()
            async with made.at_once("real.py"):
                (tmp_path / "app.py").touch()
                made.write("lib.py", "1")
                made.write("fresh", "1")
                os.replace(tmp_path / "fresh", tmp_path / "app.py")
                made.write("gone.py", "1")
                (tmp_path / "gone.py").unlink()
                made.write("real.py", "1")
            assert (await made.decision()).paths == ("real.py",)

    run(story)


def test_a_checkout_is_one_decision(tmp_path: Path) -> None:
    """More files than are read on the loop, in directories that did not exist."""

    async def story() -> None:
        async with app(tmp_path) as made:
            files = [f"d{number % 20}/f{number}.py" for number in range(10 * MANY)]
            async with made.at_once(*files):
                for file in files:
                    made.write(file, "1")
            decision = await made.decision()
            assert len(decision.paths) == 10 * MANY
            assert decision.message.endswith(f"and {10 * MANY - 1} more changed, redeploying web")

    run(story)


def test_changes_during_a_redeploy_make_exactly_one_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with app(tmp_path) as made:
            async with made.at_once("a.py", "b.py"):
                made.write("a.py", "1")
                made.write("b.py", "1")
            assert set((await made.decision()).paths) == {"a.py", "b.py"}

    run(story)


def test_config_vars_and_procfile_are_named_and_restart_no_type_by_themselves(
    tmp_path: Path,
) -> None:
    """What follows from them, the supervisor knows."""

    async def story() -> None:
        async with app(tmp_path) as made:
            made.write(".env", "A=1")
            assert await made.decision() == Decision((".env",), (), frozenset({Subject.CONFIG}))
            async with made.at_once("Procfile"):
                (tmp_path / ".env").unlink()
                made.write("Procfile", "web: true")
            decision = await made.decision()
            assert decision.subjects == {Subject.CONFIG, Subject.PROCFILE}
            assert decision.message == ".env and Procfile changed"

    run(story)


def test_a_directory_that_goes_is_every_file_that_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "jobs/old").mkdir(parents=True)
    (tmp_path / "jobs/old/a.py").write_text("1", "utf-8")
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")

    async def story() -> None:
        async with app(tmp_path) as made:
            (tmp_path / "jobs").rename(elsewhere)
            decision = await made.decision()
            assert decision.paths == ("jobs/old/a.py",)
            assert decision.types == ("web", "worker")

    run(story)


def test_a_dyno_that_writes_what_is_watched_is_not_restarted_for_it(tmp_path: Path) -> None:
    """It is told once; the other types are redeployed."""
    command = f"exec 3>>{tmp_path}/jobs/out.txt; while read line; do echo $line >&3; done"
    (tmp_path / "jobs").mkdir()

    async def story() -> None:
        async with app(tmp_path) as made:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", command, stdin=subprocess.PIPE
            )
            assert process.stdin is not None
            made.pids = {"worker.1": [process.pid]}
            for _ in range(2):
                process.stdin.write(b"line\n")
                assert (await made.decision()).types == ("web",)
            process.stdin.close()
            await process.wait()
            line = made.lines.get_nowait()
            assert line.startswith("warning: worker.1 writes jobs/out.txt itself")
            assert made.lines.empty()

    run(story)


def test_nobody_waits_for_what_is_known_to_be_written_by_the_app(tmp_path: Path) -> None:
    """The first time it may be a save; from then on requests go on, until it is one."""

    async def story() -> None:
        async with app(tmp_path) as made:
            with (tmp_path / "out.csv").open("a", encoding="ascii") as file:
                made.pids = {"web.1": [os.getpid()]}
                for number in range(3):
                    file.write("line\n")
                    file.flush()
                    await made.redeploys.noticed.get()
                    while made.redeploys._watcher.has_news():  # noqa: ASYNC110  # a thread's
                        await asyncio.sleep(0.001)
                    assert number == 0 or not made.redeploys.is_undecided
                    while "out.csv" not in made.redeploys._vain:  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
            assert made.redeploys.undecided[0]
            made.write("out.csv", "by hand")
            assert (await made.decision()).types == ("web",)
            made.write("out.csv", "by hand again")
            assert "out.csv" not in made.redeploys._vain

    run(story)


def test_a_file_written_at_every_boot_is_not_looped(tmp_path: Path) -> None:
    """Three boots, then it is left alone, and a person's save goes on as ever."""

    async def story() -> None:
        async with app(tmp_path) as made:
            made.redeploys.spawned()
            made.write("stamp.txt", "0")
            for boot in range(1, 3):
                assert (await made._decisions.get()).paths == ("stamp.txt",)
                made.redeploys.spawned()
                made.redeploys.ended()
                made.write("stamp.txt", str(boot))
            assert "stamp.txt changed after each of the last 3 starts" in await made.lines.get()
            made.write("app.py", "1")
            assert (await made._decisions.get()).paths == ("app.py",)

    run(story)


def test_a_save_before_everything_is_learnt_counts(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1", "utf-8")

    async def story() -> None:
        made = App(tmp_path)
        await made.redeploys.start()
        made.write("app.py", "2")
        assert (await made.decision()).paths == ("app.py",)
        made.redeploys.close()

    run(story)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells when it likes")
def test_a_save_is_known_of_before_anybody_could_ask(tmp_path: Path) -> None:
    """From the call that saved, without a turn of the loop, until it is decided."""

    async def story() -> None:
        async with app(tmp_path) as made:
            for number in range(50):
                before = made.redeploys.is_undecided
                made.write("app.py", str(number))
                assert (before, made.redeploys.is_undecided) == (False, True)
                await made.decision()

    run(story)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells when it likes")
def test_who_waits_for_what_turns_out_to_be_no_save_is_told(tmp_path: Path) -> None:
    """An ignored file, and one that is as it was."""

    async def story() -> None:
        (tmp_path / "app.py").write_text("1")
        async with app(tmp_path) as made:
            for path in ("x.log", "app.py"):
                made.write(path, "1")
                while made.redeploys.is_undecided:
                    await made.decided.wait()
                    made.decided.clear()

    run(story)
