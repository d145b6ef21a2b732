"""Runs a short command that asks something, in a session of its own; none of it outlives the call.

procman reaps whatever child it did not start as a dyno: `probes` tells it to leave these alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

from procman.runtime.process import shell_argv


async def status_of(command: str, environment: Mapping[str, str], probes: set[int]) -> int:
    """The status of a shell command, negative for a death by signal. It says nothing and reads
    nothing. Cancelled, it is killed. Raises OSError when the system would not start it.
    """
    pid = _spawn(command, environment)
    probes.add(pid)
    try:
        return await wait_for(pid)
    finally:
        probes.discard(pid)  # killed and not waited for, it is reaped like an orphan
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nothing is left of it


def _spawn(command: str, environment: Mapping[str, str]) -> int:
    argv = shell_argv(command)
    return os.posix_spawn(
        argv[0],
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
    )


async def wait_for(pid: int) -> int:
    """The status of a child that `probes` keeps for us, negative for a death by signal."""
    if sys.platform != "linux":
        return await asyncio.to_thread(_reap, pid)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return _reap(pid)


def _reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
