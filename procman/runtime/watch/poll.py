"""Looks at directories again and again, where nothing tells of changes: the inotify limit is
reached. The only thing in procman that polls, and it says so."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from procman.runtime.watch.events import Event, What

INTERVAL = 1.0
SHARE = 20  # looking takes a twentieth of the time at most: with many files the looks are rarer

_State = tuple[int, int, int, bool]  # inode, size, mtime in ns, whether it is a directory


class Poll:
    """A set of directories. `report` is called in a thread of its own, started by the first."""

    def __init__(self, report: Callable[[Event], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._directories: dict[str, dict[str, _State]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="procman-poll", daemon=True)

    def add(self, directory: str) -> None:
        """Look at it from now on."""
        with self._lock:
            self._directories[directory] = _look(directory)
            if not self._thread.is_alive() and not self._end.is_set():
                self._thread.start()

    def remove(self, directory: str) -> None:
        """Look at it no longer."""
        with self._lock:
            self._directories.pop(directory, None)

    def close(self) -> None:
        """End the thread; nothing is reported after that."""
        self._end.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def look(self) -> None:
        """Report what has changed since the last look."""
        with self._lock:
            before = dict(self._directories)
        for directory, old in before.items():
            new = _look(directory)
            with self._lock:
                if directory in self._directories:
                    self._directories[directory] = new
            for name in old.keys() - new.keys():
                self._report(Event(directory, name, What.GONE, old[name][3]))
            for name, state in new.items():
                if old.get(name) != state and not (state[3] and name in old and old[name][3]):
                    self._report(Event(directory, name, What.DONE, state[3]))

    def _run(self) -> None:
        pause = INTERVAL
        while not self._end.wait(pause):
            start = time.monotonic()
            self.look()
            pause = max(INTERVAL, SHARE * (time.monotonic() - start))


def _look(directory: str) -> dict[str, _State]:
    found = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # gone just now
                is_directory = entry.is_dir(follow_symlinks=False)
                found[entry.name] = (
                    status.st_ino,
                    status.st_size,
                    status.st_mtime_ns,
                    is_directory,
                )
    except OSError:
        pass  # gone: all that was in it is
    return found
