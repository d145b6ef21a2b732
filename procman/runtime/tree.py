"""Reads the process tree that stems from a pid, whatever groups and sessions it spread over.

On Linux from /proc/PID/task/TID/children: 60 µs for a shell with a server and its four workers,
where psutil, which reads every process of the machine to learn whose child it is, takes
milliseconds. A kernel without that file (CONFIG_PROC_CHILDREN) gets the same scan from us.

A process whose parent ended is no longer in the tree: such are found by the cookie in their
environment, or given as further roots.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from procman.runtime.reserve import list_directory, read_file

IS_LINUX = sys.platform == "linux"

# Fields of /proc/PID/stat counted from the one after the name, which may hold spaces: proc(5).
_STATE, _PPID = 0, 1
_USER, _SYSTEM, _REAPED_USER, _REAPED_SYSTEM = 11, 12, 13, 14
_START, _RSS = 19, 21


@dataclass(frozen=True, slots=True)
class Usage:
    """What a whole tree used: CPU seconds, its reaped children's included, and resident bytes.

    Memory that processes share counts in each of them, as it does in `ps`.
    """

    cpu_seconds: float
    rss_bytes: int


def tree(*roots: int) -> list[int]:
    """The living pids of the roots and all that stems from them, parents before children."""
    if not IS_LINUX:
        return _by_psutil(roots)
    if not os.path.exists("/proc/thread-self/children"):
        return _by_scan(roots)
    found = dict.fromkeys(pid for pid in roots if os.path.exists(f"/proc/{pid}"))
    queue = list(found)
    for pid in queue:
        for child in children(pid):
            if child not in found:
                found[child] = None
                queue.append(child)
    return queue


def children(pid: int) -> list[int]:
    """The children of all threads of a process; none when it is gone (Linux)."""
    found: list[int] = []
    try:
        for thread in list_directory(f"/proc/{pid}/task"):
            try:
                found += map(int, read_file(f"/proc/{pid}/task/{thread}/children").split())
            except (FileNotFoundError, ProcessLookupError):
                pass  # the thread ended just now
    except (FileNotFoundError, ProcessLookupError):
        pass  # the process did
    return found


def usage_of(*roots: int) -> Usage | None:
    """What the tree used up to now; None when none of it is alive."""
    if not IS_LINUX:
        return _usage_by_psutil(roots)
    rows = [fields for pid in tree(*roots) if (fields := _stat(pid))]
    if not rows:
        return None
    used = (_USER, _SYSTEM, _REAPED_USER, _REAPED_SYSTEM)
    ticks = sum(int(fields[at]) for fields in rows for at in used)
    pages = sum(int(fields[_RSS]) for fields in rows)
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))


def started_at(pid: int) -> int | None:
    """When a process began, in ticks since the machine's boot: with the pid it names a process
    for good. None when it is gone; 0 where the platform is not Linux."""
    if not IS_LINUX:
        return 0
    fields = _stat(pid)
    return None if fields is None else int(fields[_START])


def state_of(pid: int) -> str | None:
    """The letter of proc(5): R, S, D, T (stopped), Z …; None when it is gone (Linux)."""
    fields = _stat(pid)
    return None if fields is None else fields[_STATE].decode()


def is_running(*roots: int) -> bool:
    """Whether some process of the tree computes, waits for a processor to, or for a disk, rather
    than for somebody; False where the platform does not tell (macOS calls sleepers running).
    """
    return IS_LINUX and any(state_of(pid) in ("R", "D") for pid in tree(*roots))


def _all_pids() -> list[int]:
    return [int(name) for name in list_directory("/proc") if name.isdigit()]


def _stat(pid: int) -> list[bytes] | None:
    try:
        return read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _by_scan(roots: Iterable[int]) -> list[int]:
    parents = {pid: int(fields[_PPID]) for pid in _all_pids() if (fields := _stat(pid))}
    return _from_parents(roots, parents)


def _from_parents(roots: Iterable[int], parents: dict[int, int]) -> list[int]:
    """The tree out of the map child → parent."""
    below: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        below.setdefault(parent, []).append(pid)
    queue = list(dict.fromkeys(pid for pid in roots if pid in parents))
    seen = set(queue)
    for pid in queue:
        new = [child for child in below.get(pid, ()) if child not in seen]
        seen.update(new)
        queue += new
    return queue


def _by_psutil(roots: Iterable[int]) -> list[int]:
    import psutil  # 25 ms of imports, where there is no /proc

    parents: dict[int, int] = {}
    for process in psutil.process_iter():
        try:
            parents[process.pid] = process.ppid()
        except psutil.Error:
            pass  # ended just now
    return _from_parents(roots, parents)


def _usage_by_psutil(roots: Iterable[int]) -> Usage | None:
    import psutil

    cpu, rss, seen = 0.0, 0, False
    for pid in _by_psutil(roots):
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            rss += process.memory_info().rss
        except psutil.Error:
            continue  # ended just now
        cpu += times.user + times.system + times.children_user + times.children_system
        seen = True
    return Usage(cpu, rss) if seen else None
