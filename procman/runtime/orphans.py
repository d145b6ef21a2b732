"""Finds what left its process group: daemons, and whatever else called setsid.

On Linux procman makes itself the subreaper of all that stems from it, so that a process whose
parent ended becomes procman's child. That nothing escaped is then known from one small file; only
when something did, every process's environment is searched for the cookie of the boot.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping

from procman.runtime.reserve import hold_one_back, list_directory, read_file

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
KERNEL_THREAD = 0x00200000  # linux/sched.h: PF_KTHREAD
GENERATIONS = 100  # of children that are killed in turn: nobody has as many
LOOKS, LOOK_AGAIN = 200, 0.0005  # an exec takes a tenth of a second at most; seconds
EMPTY_FOR_GOOD = 10  # looks that found an empty environment in one and the same place

_is_subreaper = False


def become_subreaper() -> None:
    """Adopt orphaned descendants, where the platform can (Linux)."""
    global _is_subreaper
    hold_one_back()
    if sys.platform != "linux":
        return
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    _is_subreaper = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def can_adopt() -> bool:
    """Whether `adopted` knows of all that escaped."""
    return _is_subreaper


def adopted(known: set[int]) -> list[int]:
    """Children of ours that we did not start. Empty where the platform cannot tell."""
    if not _is_subreaper:
        return []
    found = []
    for thread in list_directory("/proc/self/task"):
        try:
            children = read_file(f"/proc/self/task/{thread}/children").split()
            found += [pid for pid in map(int, children) if pid not in known]
        except FileNotFoundError:
            pass  # a thread that ended just now, or a kernel without CONFIG_PROC_CHILDREN
    return found


def reap_adopted(known: set[int]) -> None:
    """Take the zombies among our adopted children."""
    for pid in adopted(known):
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def kill_escaped(cookie: str, known: set[int], *, is_followed: bool) -> set[int]:
    """SIGKILL to all that a boot left outside of its group; their pids.

    `is_followed`: it was started when orphans came to us already, so that none is elsewhere.
    """
    return kill_marked(cookie) if not is_followed or adopted(known) else set()


def are_dying(killed: set[int], group: int, known: set[int]) -> bool:
    """Whether one that was killed, by its pid or with its group, has come to us and is not dead
    yet. The children of one come to us when it is.
    """
    return any(pid in killed or _is_ours_in(group, pid) for pid in adopted(known))


def _is_ours_in(group: int, pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return os.getpgid(pid) == group
    except (ProcessLookupError, PermissionError):
        return False  # another user's, who stays


def kill_adopted(known: set[int]) -> None:
    """SIGKILL to all that came to us as orphans and to what stems from it, cookie or no cookie.

    The children of one that we kill become ours in turn.
    """
    for _ in range(GENERATIONS):
        found = adopted(known)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ChildProcessError, ProcessLookupError, PermissionError):
                pass  # another user's, who stays
        if not found:
            return


def heeding(groups: Mapping[int, int | None]) -> set[int]:
    """The groups in which somebody is alive who does not ignore the group's signal (Linux)."""
    found = set()
    for name in list_directory("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = read_file(f"/proc/{name}/stat")
            state, _, group = stat.rpartition(b")")[2].split(None, 3)[:3]
            number = groups.get(int(group))
            if number is None or int(group) in found or state in b"ZX":
                continue
            status = read_file(f"/proc/{name}/status")
            ignored = status.partition(b"\nSigIgn:")[2].split(None, 1)[0]
        except OSError:
            continue  # ended just now
        if not int(ignored, 16) >> (number - 1) & 1:
            found.add(int(group))
    return found


def kill_marked(cookie: str) -> set[int]:
    """SIGKILL to every process with this cookie in its environment; their pids.

    It looks until it finds no more: one may have had a child after it was listed.
    """
    killed: set[int] = set()
    for _ in range(GENERATIONS):
        found = set(marked(cookie)) - killed
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        killed |= found
    return killed


class Emptiness:
    """How long the environment of a process has been empty: one that is just executing a program
    has none for a moment.
    """

    __slots__ = ("_at", "_stays")

    def __init__(self) -> None:
        self._at, self._stays = b"", 0

    def is_for_good(self, pid: str) -> bool:
        """Whether none is to come. Raises OSError when the process has ended."""
        fields = read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        state, flags, (begin, end) = fields[0], int(fields[6]), fields[47:49]
        # Both are 0 at first, then the same while the kernel counts the variables (binfmt_elf.c),
        # and for good where there are none.
        self._stays = self._stays + 1 if begin == end == self._at != b"0" else 0
        self._at = begin
        is_over = state in b"ZX" or bool(flags & KERNEL_THREAD)
        return is_over or self._stays == EMPTY_FOR_GOOD


def marked(cookie: str) -> list[int]:
    """The pids of all processes with this cookie in their environment, our own excepted."""
    needle, own = cookie.encode(), os.getpid()
    try:
        names = list_directory("/proc")
    except FileNotFoundError:
        return _marked_by_psutil(cookie, own)
    found = []
    doubtful = {name: Emptiness() for name in names if name.isdigit() and int(name) != own}
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_AGAIN)  # for all of them together
        for name, emptiness in tuple(doubtful.items()):
            try:
                environment = read_file(f"/proc/{name}/environ")
                is_decided = bool(environment) or emptiness.is_for_good(name)
            except OSError:
                environment, is_decided = b"", True  # ended just now, or another user's
            if needle in environment:
                found.append(int(name))
            if is_decided:
                del doubtful[name]
        if not doubtful:
            break
    return found


def _marked_by_psutil(cookie: str, own: int) -> list[int]:
    import psutil  # 25 ms of imports, where there is no /proc

    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue  # ended just now, or another user's
        if process.pid != own and any(cookie in f"{k}={v}" for k, v in environment.items()):
            found.append(process.pid)
    return found
