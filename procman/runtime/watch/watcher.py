"""Delivers to the event loop, in batches, what changed in an app's source.

One watch for each directory that counts and none for those that do not: a `node_modules` of 20,000
directories costs one look at its name. Nothing wakes up while nothing happens.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from procman.core.watch_rules import Subject
from procman.runtime.tree import IS_LINUX
from procman.runtime.watch.events import Event, Eyes, WatchLimitError, What
from procman.runtime.watch.poll import Poll
from procman.runtime.watch.tree import all_files, entries, load_rules


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since the last batch, each path with what it is to the app.

    Paths are relative to the app, by slashes; those of `always` outside of it are absolute. One
    that ends in a slash is a directory that went with all that was in it.
    """

    subjects: Mapping[str, Subject]

    def of(self, subject: Subject) -> tuple[str, ...]:
        """The paths of one kind."""
        return tuple(path for path, what in self.subjects.items() if what is subject)


@dataclass(frozen=True, slots=True)
class LimitReached:
    """inotify watches ran out: some directories are looked at once a second instead."""

    sysctl: str
    value: str

    @property
    def message(self) -> str:
        """The log line, with the cure."""
        enough = max(524_288, 2 * int(self.value)) if self.value.isdigit() else 524_288
        if self.sysctl == "max_user_instances":
            enough = max(512, 2 * int(self.value)) if self.value.isdigit() else 512
        return (
            f"the limit of inotify is reached (fs.inotify.{self.sysctl} = {self.value}): looking "
            f"for changes once a second; raise it with "
            f"`sudo sysctl fs.inotify.{self.sysctl}={enough}`"
        )


class Watcher:
    """Watches one app from `start` to `close`.

    `deliver`, `limited` and `told` are called on the loop, `limited` once at most, `told` after a
    question of `has_news`. `always` names the files
    that count wherever they lie (`.env`, the Procfile), existing or not; `ours` those that procman
    writes itself, and that never count.
    """

    def __init__(
        self,
        root: str,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Changes], None],
        limited: Callable[[LimitReached], None],
        told: Callable[[], None],
        *,
        always: Mapping[str, Subject],
        ours: Collection[str] = (),
    ) -> None:
        self.root = os.path.realpath(root)
        self._loop = loop
        self._deliver = deliver
        self._limited = limited
        self._told = told
        self._named_always = {self._named(path): subject for path, subject in always.items()}
        self._always = dict(self._named_always)  # and where their links lead
        self._follow_links()
        self._ours = {self._named(path) for path in ours}
        self._lock = threading.RLock()
        self._rules = load_rules(self.root, self._always)
        self._eyes: Eyes | None = None
        self._poll = Poll(self._happened)
        self._counting: set[str] = set()  # directories whose entries count
        self._for_always: set[str] = set()  # watched for the files of `always` alone
        self._waiting: dict[str, Subject] = {}
        self._is_told = False
        self._is_open = False

    @property
    def watched(self) -> int:
        """How many directories are watched."""
        return len(self._counting) + len(self._for_always)

    def start(self) -> list[str]:
        """Watch; all files that count. Takes 100 µs for each of their directories: in a thread."""
        with self._lock:
            self._is_open = True
            try:
                self._eyes = self._open_eyes()
            except WatchLimitError as limit:
                self._tell(limit)
            files = self._enter("")
            self._watch_always()
        there = [path for path in self._always if os.path.lexists(self.absolute(path))]
        return list(dict.fromkeys([*files, *there]))

    def close(self) -> None:
        """Watch nothing any longer; nothing is delivered after this."""
        with self._lock:
            self._is_open = False
            self._waiting.clear()
            eyes, self._eyes = self._eyes, None
        if eyes is not None:
            eyes.close()
        self._poll.close()

    def has_news(self) -> bool:
        """Whether something happened that was not delivered yet, as far as the platform tells: then
        it will be, or `told` is called because it was nothing that counts.
        """
        return (self._eyes is not None and self._eyes.has_news()) or bool(self._waiting)

    def absolute(self, path: str) -> str:
        """Where a delivered path lies."""
        return os.path.join(self.root, path)

    def _open_eyes(self) -> Eyes:
        if IS_LINUX:
            from procman.runtime.watch.inotify import Inotify  # watchdog: 70 ms of imports

            return Inotify(self._happened, self._lost, lambda: self._call(self._told))
        from procman.runtime.watch.observer import Observed

        return Observed(self.root, self._happened)

    # In the watching threads and in `start`, under the lock.

    def _happened(self, event: Event) -> None:
        with self._lock:
            if not self._is_open:
                return
            directory = event.directory.removeprefix(self.root).lstrip("/")
            if not _is_in(event.directory, self.root):
                directory = event.directory
            path = f"{directory}/{event.name}" if directory else event.name
            if path in self._waiting and not event.is_directory:
                return  # on its way already: a file is read when its time comes
            if directory not in self._counting:
                if path in self._always and not event.is_directory:
                    self._changed({path: self._always[path]})
            elif event.is_directory:
                self._directory_changed(path, event.what)
            else:
                self._file_changed(path, event.what)

    def _file_changed(self, path: str, what: What) -> None:
        subject = None if path in self._ours else self._rules.subject(path)
        match subject:
            case None:
                pass
            case Subject.RULES:
                if what is not What.BEGUN:
                    self._read_rules_again()
            case Subject.CODE | Subject.CONFIG | Subject.PROCFILE | Subject.SETTINGS:
                self._changed({path: subject})

    def _directory_changed(self, path: str, what: What) -> None:
        if self._rules.counts(path, is_directory=True):
            self._leave(path)
            if what is What.GONE:
                self._changed({f"{path}/": Subject.CODE})
            else:
                self._changed_files(self._enter(path))
        self._watch_always()

    def _enter(self, start: str) -> list[str]:
        """Watch a directory and all below it; the files found. The watch comes before the look, so
        that nothing created meanwhile is missed."""
        found: list[str] = []
        queue = [start]
        while queue:
            directory = queue.pop()
            self._watch(directory)
            inside = entries(self.root, directory, self._rules)
            if inside is None:
                self._unwatch(directory)
                continue
            self._counting.add(directory)
            found += inside.files
            queue += inside.directories
        return found

    def _leave(self, start: str) -> None:
        if start not in self._counting:
            return  # nor is anything below it
        below = [one for one in self._counting if one == start or one.startswith(f"{start}/")]
        for directory in below:
            self._counting.discard(directory)
            self._unwatch(directory)

    def _watch_always(self) -> None:
        """Watch the directories of `.env` and Procfile where they are not watched already."""
        wanted = {os.path.dirname(path) for path in self._always} - self._counting
        wanted = {one for one in wanted if os.path.isdir(os.path.join(self.root, one))}
        for directory in wanted - self._for_always:
            self._watch(directory)
        self._for_always = wanted

    def _follow_links(self) -> None:
        """A `.env` that is a link into another directory is changed there."""
        for path, subject in self._named_always.items():
            self._always.setdefault(self._named(os.path.realpath(self.absolute(path))), subject)

    def _read_rules_again(self) -> None:
        """An ignore file changed: watch what counts now, and nothing else."""
        before = self._counting
        self._counting = set()
        self._rules = load_rules(self.root, self._always)
        queue = [""]
        while queue:
            directory = queue.pop()
            if directory not in before:
                self._enter(directory)
                continue
            inside = entries(self.root, directory, self._rules)
            if inside is not None:
                self._counting.add(directory)
                queue += inside.directories
        for directory in before - self._counting:
            self._unwatch(directory)
        self._watch_always()

    def _lost(self) -> None:
        """Events were lost: any file may have changed or gone. Contents will tell which did."""
        with self._lock:
            if self._is_open:
                self._read_rules_again()
                self._changed_files(all_files(self.root, self._rules))
                self._changed(self._always)

    def _watch(self, directory: str) -> None:
        place = os.path.join(self.root, directory)
        if self._eyes is None:
            self._poll.add(place)
            return
        try:
            self._eyes.add(place)
        except WatchLimitError as limit:
            self._tell(limit)
            self._poll.add(place)

    def _unwatch(self, directory: str) -> None:
        place = os.path.join(self.root, directory)
        self._poll.remove(place)
        if self._eyes is not None:
            self._eyes.remove(place)

    def _named(self, path: str) -> str:
        """Relative to the app when it is in it, else absolute; `` for the app itself. By no link:
        of what is behind one, nothing would be heard.
        """
        directory, name = os.path.split(os.path.normpath(os.path.join(self.root, path)))
        place = os.path.join(os.path.realpath(directory), name)
        return place[len(self.root) + 1 :] if _is_in(place, self.root) else place

    # To the loop.

    def _changed_files(self, paths: list[str]) -> None:
        subjects = ((path, self._rules.subject(path)) for path in paths)
        self._changed({path: what for path, what in subjects if what and what is not Subject.RULES})

    def _changed(self, subjects: Mapping[str, Subject]) -> None:
        """One call into the loop for all that comes before it gets there."""
        is_first = not self._waiting
        self._waiting.update(subjects)
        if not self._named_always.keys().isdisjoint(subjects):
            self._follow_links()
            self._watch_always()
        if is_first and self._waiting:
            self._call(self._flush)

    def _flush(self) -> None:
        with self._lock:
            subjects, self._waiting = self._waiting, {}
        if subjects:
            self._deliver(Changes(subjects))

    def _tell(self, limit: WatchLimitError) -> None:
        if not self._is_told:
            self._is_told = True
            try:
                with open(f"/proc/sys/fs/inotify/{limit.sysctl}", encoding="ascii") as file:
                    value = file.read().strip()
            except OSError:
                value = "unknown"
            told = LimitReached(limit.sysctl, value)
            self._call(lambda: self._limited(told))

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # the loop is closed: the app has ended


def _is_in(place: str, root: str) -> bool:
    return place == root or place.startswith(root + os.sep)
