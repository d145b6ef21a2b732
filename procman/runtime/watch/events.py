"""What the ways of watching have in common: the event, and the limit they may meet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class What(Enum):
    """How far a change is."""

    BEGUN = "begun"  # created or written to: more may come
    DONE = "done"  # closed after writing, or moved here whole
    GONE = "gone"  # deleted, or moved away


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to `name` in the watched `directory`, an absolute path."""

    directory: str
    name: str
    what: What
    is_directory: bool


class WatchLimitError(Exception):
    """The system grants no more; `sysctl` is the setting's name below fs.inotify."""

    def __init__(self, sysctl: str) -> None:
        super().__init__(sysctl)
        self.sysctl = sysctl


class Eyes(Protocol):
    """A way of watching."""

    def add(self, directory: str) -> None:
        """Watch a directory, not what is below it; may raise WatchLimitError."""

    def remove(self, directory: str) -> None:
        """Watch it no longer."""

    def has_news(self) -> bool:
        """Whether something happened that was not reported yet. Then `told`, which it was made
        with, is called once, in any thread, when all that has happened by now was reported. May
        know of nothing, where the platform tells late.
        """

    def close(self) -> None:
        """Watch nothing any longer."""
