"""Watches a tree by watchdog's observer of the platform (FSEvents on macOS), where the system
watches whole trees anyway and one watch for each directory would cost more."""

from __future__ import annotations

import os
from collections.abc import Callable

from watchdog.events import (
    EVENT_TYPE_CLOSED,
    EVENT_TYPE_CREATED,
    EVENT_TYPE_DELETED,
    EVENT_TYPE_MODIFIED,
    EVENT_TYPE_MOVED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from procman.runtime.watch.events import Event, What

_WHAT = {
    EVENT_TYPE_CREATED: What.DONE,  # FSEvents tells of no closing
    EVENT_TYPE_MODIFIED: What.DONE,
    EVENT_TYPE_CLOSED: What.DONE,
    EVENT_TYPE_DELETED: What.GONE,
    EVENT_TYPE_MOVED: What.GONE,  # at its source; its destination is told as well
}


class Observed(FileSystemEventHandler):
    """The tree of `root`, and each directory outside of it that is added."""

    def __init__(self, root: str, report: Callable[[Event], None]) -> None:
        self._root = root
        self._report = report
        self._observer = Observer()
        self._observer.schedule(self, root, recursive=True)
        self._observer.start()

    def add(self, directory: str) -> None:
        """Watched with the root, or by itself."""
        if directory != self._root and not directory.startswith(self._root + os.sep):
            self._observer.schedule(self, directory)

    def remove(self, directory: str) -> None:
        """What is reported of it is not asked for any longer."""

    def has_news(self) -> bool:
        """FSEvents and kqueue tell when they like."""
        return False

    def close(self) -> None:
        """End its threads."""
        self._observer.stop()
        self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog in its thread."""
        what = _WHAT.get(event.event_type)
        if what is None or (event.is_directory and event.event_type == EVENT_TYPE_MODIFIED):
            return  # a mere read; or that something in it changed, which is told by itself
        self._tell(event.src_path, what, event.is_directory)
        if event.event_type == EVENT_TYPE_MOVED:
            self._tell(event.dest_path, What.DONE, event.is_directory)

    def _tell(self, path: bytes | str, what: What, is_directory: bool) -> None:
        directory, name = os.path.split(os.fsdecode(path))
        if name:
            self._report(Event(directory, name, what, is_directory))
