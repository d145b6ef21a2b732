"""Renews the proofs of life of gunicorn's workers, which could give none while they were frozen.

A worker sets the time of an unlinked file to the monotonic clock, every half of `--timeout`, and
the arbiter kills one whose file looks older than the timeout. An idle sync worker sleeps in a
`select` that goes on, after a thaw, for what was left of that half: measured, with `-t 1` four
wakes in four lost a worker when the arbiter was released 100 ms after its workers, and none after
500 ms; so with `-t 120` a hold of 20 s would not be enough. Written for gunicorn 19 to 27
(workers/workertmp.py; the older ones look at the time of the inode's change, which this sets too).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from procman.runtime.descriptors import open_descriptors
from procman.runtime.tree import IS_LINUX

_MARK = "/wgunicorn-"
_UNLINKED = " (deleted)"


def find_heartbeats(pids: Iterable[int]) -> tuple[str, ...]:
    """The heartbeat files of these processes, as places in /proc."""
    return tuple(place for pid in pids for place in _of(pid)) if IS_LINUX else ()


def renew(heartbeats: Iterable[str]) -> None:
    """Say in the name of each worker that it lives; one that does not is passed over."""
    now = time.monotonic()
    for place in heartbeats:
        try:
            if _is_heartbeat(os.readlink(place)):
                os.utime(place, (now, now))
        except OSError:
            pass  # it ended


def _of(pid: int) -> Iterator[str]:
    return (place for place, target in open_descriptors(pid) if _is_heartbeat(target))


def _is_heartbeat(target: str) -> bool:
    return _MARK in target and target.endswith(_UNLINKED)
