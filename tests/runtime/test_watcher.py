"""The watcher over real directories.

Events come in order, so that "nothing else was told" is proven by a last file, `fence`, that is.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from procman.core.watch_rules import Subject
from procman.runtime.watch import poll as watch_poll
from procman.runtime.watch import watcher
from procman.runtime.watch.events import WatchLimitError
from procman.runtime.watch.inotify import Inotify
from procman.runtime.watch.observer import Observed
from procman.runtime.watch.watcher import Changes, LimitReached, Watcher

ALWAYS = {".env": Subject.CONFIG, "Procfile": Subject.PROCFILE}


class Watched:
    """A watcher at work and what it delivered."""

    def __init__(self, root: Path, always: dict[str, Subject]) -> None:
        self.root = root
        self.limits: list[LimitReached] = []
        self.at_start: list[str] = []
        self.told = asyncio.Event()
        self._batches: asyncio.Queue[Changes] = asyncio.Queue()
        self._fences = 0
        self.watcher = Watcher(
            str(root),
            asyncio.get_running_loop(),
            self._batches.put_nowait,
            self.limits.append,
            self.told.set,
            always=always,
        )

    async def seen(self) -> dict[str, Subject]:
        """All that was told up to now."""
        fence = f"fence{self._fences}"
        self._fences += 1
        (self.root / fence).touch()
        return await self.until(fence)

    async def until(self, path: str) -> dict[str, Subject]:
        """All that is told up to this path, and without it."""
        found: dict[str, Subject] = {}
        while path not in found:
            found.update((await self._batches.get()).subjects)
        return {name: what for name, what in found.items() if not name.startswith("fence")}

    def write(self, path: str, text: str = "x") -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def make(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("x", "utf-8")


@asynccontextmanager
async def watching(root: Path, always: dict[str, Subject] | None = None) -> AsyncIterator[Watched]:
    watched = Watched(root, ALWAYS if always is None else always)
    watched.at_start = watched.watcher.start()
    try:
        yield watched
    finally:
        watched.watcher.close()


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


def kernel_watches() -> int:
    """How many inotify watches this process has, as the kernel counts them."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify":
                count += Path(f"/proc/self/fdinfo/{name}").read_text("ascii").count("inotify wd:")
        except FileNotFoundError:
            pass  # the listing's own descriptor
    return count


def test_written_created_deleted_and_moved_files_count(tmp_path: Path) -> None:
    make(tmp_path, "app.py", "lib/old.py", "lib/from.py")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            watched.write("app.py", "new")
            watched.write("lib/new.py")
            (tmp_path / "lib/old.py").unlink()
            (tmp_path / "lib/from.py").rename(tmp_path / "to.py")
            seen = await watched.seen()
        assert set(seen) == {"app.py", "lib/new.py", "lib/old.py", "lib/from.py", "to.py"}
        assert set(seen.values()) == {Subject.CODE}

    run(story)


def test_reading_listing_and_changing_modes_do_not_count(tmp_path: Path) -> None:
    """On Linux a read is an event too: opened, closed without writing."""
    make(tmp_path, "app.py", "lib/a.py")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            (tmp_path / "app.py").read_text("utf-8")
            list((tmp_path / "lib").iterdir())
            (tmp_path / "app.py").chmod(0o600)
            os.utime(tmp_path / "lib/a.py")
            shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-copy"))
            assert await watched.seen() == {}

    run(story)


def test_ignored_directories_cost_no_watch(tmp_path: Path) -> None:
    """A node_modules of 2,000 directories, a .gitignore'd tree, a virtualenv of any name."""
    make(tmp_path, "app.py", "lib/deep/a.py", ".git/objects/00/x", "env/pyvenv.cfg", "env/bin/x")
    for number in range(2000):
        (tmp_path / f"node_modules/p{number // 50}/{number}").mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("/out\n", "utf-8")
    make(tmp_path, "out/a/b/c", "lib/out/d.py")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            assert kernel_watches() == watched.watcher.watched == 4  # the app, lib, lib/*
            watched.write("node_modules/p1/51/index.js")
            watched.write("out/a/b/c", "2")
            assert await watched.seen() == {}
        assert kernel_watches() == 0

    run(story)


def test_new_directories_are_watched_with_what_is_in_them(tmp_path: Path) -> None:
    """Also what was created before the watch could be set, and what comes after."""

    async def story() -> None:
        async with watching(tmp_path) as watched:
            for number in range(50):
                watched.write(f"pkg{number}/sub/deep/early.py")
            seen = await watched.seen()
            assert {f"pkg{number}/sub/deep/early.py" for number in range(50)} <= set(seen)
            watched.write("pkg7/sub/deep/late.py")
            assert await watched.seen() == {"pkg7/sub/deep/late.py": Subject.CODE}
            assert kernel_watches() == 151

    run(story)


def test_a_new_ignored_directory_is_not_watched(tmp_path: Path) -> None:
    async def story() -> None:
        async with watching(tmp_path) as watched:
            watched.write("node_modules/a/index.js")
            watched.write("venv/bin/python")
            assert await watched.seen() == {}
            assert kernel_watches() == 1

    run(story)


def test_deleted_and_moved_directories_are_dropped(tmp_path: Path) -> None:
    """They are told as a whole, and a new one of the same name is watched again."""
    make(tmp_path, "lib/a/b.py", "pkg/c.py")
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            assert kernel_watches() == 4
            shutil.rmtree(tmp_path / "lib")
            (tmp_path / "pkg").rename(elsewhere)
            assert {"lib/", "pkg/"} <= set(await watched.seen())
            assert kernel_watches() == watched.watcher.watched == 1
            (elsewhere / "c.py").write_text("not ours any longer", "utf-8")
            assert await watched.seen() == {}
            elsewhere.rename(tmp_path / "lib")
            assert await watched.seen() == {"lib/c.py": Subject.CODE}
            watched.write("lib/c.py", "ours again")
            assert await watched.seen() == {"lib/c.py": Subject.CODE}
            assert kernel_watches() == watched.watcher.watched == 2

    run(story)


def test_a_directory_renamed_within_the_app_goes_by_its_new_name(tmp_path: Path) -> None:
    make(tmp_path, "old/sub/a.py")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            (tmp_path / "old").rename(tmp_path / "new")
            assert set(await watched.seen()) == {"old/", "new/sub/a.py"}
            watched.write("new/sub/a.py", "2")
            assert await watched.seen() == {"new/sub/a.py": Subject.CODE}

    run(story)


def in_place(file: Path) -> None:
    """VS Code, nano: truncate and write."""
    file.write_text("edited", "utf-8")


def by_rename(file: Path) -> None:
    """JetBrains, gedit, most formatters: a new file is moved over the old one."""
    fresh = file.with_name(f"{file.name}___jb_tmp___")
    fresh.write_text("edited", "utf-8")
    os.replace(fresh, file)


def with_backup(file: Path) -> None:
    """emacs: a lock link, the old file becomes the backup, a new one is written."""
    lock = file.with_name(f".#{file.name}")
    lock.symlink_to("user@host.1")
    file.rename(file.with_name(f"{file.name}~"))
    file.write_text("edited", "utf-8")
    lock.unlink()


def by_vim(file: Path) -> None:
    if shutil.which("vim") is None:
        pytest.skip("vim is not installed")
    command = ["vim", "-N", "-u", "NONE", "-es", "-c", "normal Oedited", "-c", "wq", str(file)]
    settings = ["-c", "set swapfile writebackup backup backupcopy=no"]
    subprocess.run([*command[:5], *settings, *command[5:]], check=True, stdin=subprocess.DEVNULL)


def by_sed(file: Path) -> None:
    subprocess.run(["sed", "-i", "1iedited", str(file)], check=True)


@pytest.mark.parametrize("edit", [in_place, by_rename, with_backup, by_vim, by_sed])
def test_every_way_of_saving_is_a_change_of_that_file(
    tmp_path: Path, edit: Callable[[Path], None]
) -> None:
    """Twice, as the file may be another after the first; the editor's own files do not count,
    or come and go, which is no change."""
    make(tmp_path, "app.py")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            for _ in range(2):
                edit(tmp_path / "app.py")
                seen = await watched.seen()
                assert seen.pop("app.py") is Subject.CODE
                assert not [path for path in seen if (tmp_path / path).exists()]

    run(story)


def test_env_and_procfile_are_told_as_such_wherever_they_lie(tmp_path: Path) -> None:
    """Ignored, in an ignored directory, outside of the app, made and replaced while we watch."""
    root = tmp_path / "app"
    make(root, "Procfile", "node_modules/x")
    make(tmp_path, "shared/env", "shared/other")
    (root / ".gitignore").write_text(".env\nProcfile\nnode_modules\n", "utf-8")
    always = {
        **ALWAYS,
        "../shared/env": Subject.CONFIG,
        "node_modules/.env": Subject.CONFIG,
        "config/gone/.env": Subject.CONFIG,
    }
    outside = str(tmp_path / "shared/env")

    async def story() -> None:
        async with watching(root, always) as watched:
            assert set(watched.at_start) == {".gitignore", "Procfile", outside}
            watched.write(".env", "A=1")
            os.replace(root / ".env", root / "Procfile")
            watched.write("../shared/env", "B=2")
            watched.write("../shared/other", "no")
            watched.write("node_modules/.env", "C=3")
            watched.write("node_modules/index.js", "no")
            assert await watched.seen() == {
                ".env": Subject.CONFIG,
                "Procfile": Subject.PROCFILE,
                outside: Subject.CONFIG,
                "node_modules/.env": Subject.CONFIG,
            }
            watched.write("config/gone/.env", "D=4")
            assert (await watched.seen())["config/gone/.env"] is Subject.CONFIG

    run(story)


def test_links_are_followed_to_the_files_that_always_count(tmp_path: Path) -> None:
    """`.env` in a shared directory, the Procfile by way of a link; also when a link is changed."""
    root = tmp_path / "app"
    make(root, "real/Procfile")
    make(tmp_path, "shared/env", "shared/other")
    (root / ".env").symlink_to("../shared/env")
    (root / "link").symlink_to("real")
    always = {".env": Subject.CONFIG, "link/Procfile": Subject.PROCFILE}

    async def story() -> None:
        async with watching(root, always) as it:
            it.write("real/Procfile", "web: true")
            it.write("../shared/env", "A=1")
            told = await it.until(f"{tmp_path}/shared/env")
            assert told["real/Procfile"] is Subject.PROCFILE
            assert told[f"{tmp_path}/shared/env"] is Subject.CONFIG
            (root / "new").symlink_to("../shared/other")
            os.replace(root / "new", root / ".env")
            await it.until(".env")
            it.write("../shared/other", "A=2")
            told = await it.until(f"{tmp_path}/shared/other")
            assert told[f"{tmp_path}/shared/other"] is Subject.CONFIG

    run(story)


def test_a_file_that_becomes_a_directory_at_once_is_watched(tmp_path: Path) -> None:
    make(tmp_path, "module")

    async def story() -> None:
        async with watching(tmp_path) as it:
            (tmp_path / "module").unlink()
            (tmp_path / "module").mkdir()
            it.write("module/a.py", "1")
            await it.seen()
            it.write("module/a.py", "2")
            assert await it.seen() == {"module/a.py": Subject.CODE}

    run(story)


def test_a_changed_gitignore_changes_what_is_watched_and_is_no_change_itself(
    tmp_path: Path,
) -> None:
    make(tmp_path, "out/sub/a.js", "lib/b.py", "lib/c.gen")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            assert kernel_watches() == 4
            watched.write(".gitignore", "out\n")
            watched.write("lib/.gitignore", "*.gen\n")
            assert await watched.seen() == {}
            assert kernel_watches() == watched.watcher.watched == 2
            watched.write("out/sub/a.js", "2")
            watched.write("lib/c.gen", "2")
            assert await watched.seen() == {}
            (tmp_path / ".gitignore").unlink()
            assert await watched.seen() == {}
            watched.write("out/sub/a.js", "3")
            watched.write("lib/c.gen", "3")
            assert await watched.seen() == {"out/sub/a.js": Subject.CODE}
            assert kernel_watches() == 4

    run(story)


def test_the_repository_above_the_app_ignores_as_well(tmp_path: Path) -> None:
    root = tmp_path / "services/shop"
    make(root, "a.py", "b.gen", "skip/c.py", "d.local")
    (tmp_path / ".git/info").mkdir(parents=True)
    (tmp_path / ".git/info/exclude").write_text("*.local\n", "utf-8")
    (tmp_path / ".gitignore").write_text("*.gen\n/services/shop/skip\n", "utf-8")

    async def story() -> None:
        async with watching(root) as watched:
            assert watched.at_start == ["a.py"]
            make(root, "a.py", "b.gen", "skip/c.py", "d.local")
            assert await watched.seen() == {"a.py": Subject.CODE}

    run(story)


def test_a_link_to_a_directory_is_not_followed(tmp_path: Path) -> None:
    """It may lead in a circle, or to the whole disk."""
    make(tmp_path, "lib/a.py")
    (tmp_path / "lib/again").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            assert kernel_watches() == 2
            (tmp_path / "link").symlink_to(tmp_path / "lib")
            assert await watched.seen() == {"link": Subject.CODE}

    run(story)


def test_names_that_are_no_utf_8_are_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with watching(tmp_path) as watched:
            name = b"caf\xe9.py"
            watched.write(os.fsdecode(name))
            assert [os.fsencode(path) for path in await watched.seen()] == [name]

    run(story)


def test_a_checkout_comes_in_batches_and_loses_nothing(tmp_path: Path) -> None:
    """Two thousand files in two hundred new directories."""

    async def story() -> None:
        async with watching(tmp_path) as watched:
            wanted = {f"d{number % 200}/f{number}.py" for number in range(2000)}
            make(tmp_path, *wanted)
            assert set(await watched.seen()) == wanted

    run(story)


def test_when_the_kernel_loses_events_every_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents then tell which of them changed; directories that came meanwhile are watched."""
    make(tmp_path, "app.py", "lib/a.py")
    (tmp_path / ".env").touch()
    eyes: list[Inotify] = []
    adding = Inotify.add

    def add(self: Inotify, directory: str) -> None:
        if directory.endswith("/unseen"):
            monkeypatch.setattr(Inotify, "add", adding)
            return
        eyes.append(self)
        adding(self, directory)

    monkeypatch.setattr(Inotify, "add", add)

    async def story() -> None:
        async with watching(tmp_path) as watched:
            (tmp_path / "unseen").mkdir()
            assert await watched.seen() == {}
            watched.write("unseen/b.py")
            eyes[0].on_queue_overflow()
            seen = await watched.seen()
            assert {"app.py", "lib/a.py", "unseen/b.py"} <= set(seen)
            assert seen[".env"] is Subject.CONFIG

    run(story)


@pytest.fixture
def two_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system grants two watches, and polling is quick."""
    monkeypatch.setattr(watch_poll, "INTERVAL", 0.01)
    monkeypatch.setattr(watch_poll, "SHARE", 0)
    adding = Inotify.add
    granted: set[str] = set()

    def add(self: Inotify, directory: str) -> None:
        if len(granted | {directory}) > 2:
            raise WatchLimitError("max_user_watches")
        granted.add(directory)
        adding(self, directory)

    monkeypatch.setattr(Inotify, "add", add)


@pytest.mark.usefixtures("two_watches")
def test_at_the_limit_the_rest_is_polled_and_the_cure_is_told_once(tmp_path: Path) -> None:
    make(tmp_path, "app.py", *(f"d{number}/a.py" for number in range(5)))

    async def story() -> None:
        async with watching(tmp_path) as watched:
            for number in range(5):
                watched.write(f"d{number}/a.py", "longer than before")
                await watched.until(f"d{number}/a.py")
            watched.write("d1/new/deep/b.py")
            await watched.until("d1/new/deep/b.py")
            shutil.rmtree(tmp_path / "d2")
            await watched.until("d2/")
            [limit] = watched.limits
        assert "fs.inotify.max_user_watches" in limit.message
        assert "sudo sysctl" in limit.message
        assert int(limit.message.rpartition("=")[2].strip("`")) > int(limit.value)

    run(story)


def test_without_any_inotify_all_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_poll, "INTERVAL", 0.01)

    def refuse(*_: object) -> None:
        raise WatchLimitError("max_user_instances")

    monkeypatch.setattr(watcher.Watcher, "_open_eyes", refuse)
    make(tmp_path, "lib/a.py")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            watched.write("lib/a.py", "longer than before")
            assert (await watched.until("lib/a.py")) == {"lib/a.py": Subject.CODE}
            assert "max_user_instances" in watched.limits[0].message

    run(story)


def test_another_platforms_observer_tells_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """watchdog's own, of whole trees: what counts is chosen afterwards."""
    monkeypatch.setattr(watcher, "IS_LINUX", False)
    make(tmp_path, "app.py", "lib/a.py", "node_modules/x/y.js")

    async def story() -> None:
        async with watching(tmp_path) as watched:
            assert isinstance(watched.watcher._eyes, Observed)
            (tmp_path / "app.py").read_text("utf-8")
            watched.write("node_modules/x/y.js", "2")
            watched.write("app.py", "2")
            watched.write("new/b.py")
            (tmp_path / "lib/a.py").rename(tmp_path / "lib/c.py")
            seen = await watched.until("lib/c.py")
            assert set(seen) - {"new/b.py"} == {"app.py", "lib/a.py", "lib/c.py"}

    run(story)


def test_children_do_not_inherit_the_watches(tmp_path: Path) -> None:
    """Held by a dyno, they would count against the limit after procman's end."""

    def descriptors_of_a_child() -> str:
        listing = ["/bin/sh", "-c", "ls -l /proc/self/fd"]
        return subprocess.run(
            listing, capture_output=True, text=True, check=True, close_fds=False
        ).stdout

    async def story() -> None:
        async with watching(tmp_path):
            assert kernel_watches() == 1
            assert "inotify" not in descriptors_of_a_child()

    run(story)


def test_nothing_is_delivered_after_the_close(tmp_path: Path) -> None:
    async def story() -> None:
        async with watching(tmp_path) as watched:
            assert await watched.seen() == {}
        watched.write("app.py")
        watched.watcher.close()
        await asyncio.sleep(0)
        assert watched._batches.empty()

    run(story)
