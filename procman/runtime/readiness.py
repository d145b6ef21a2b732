"""Waits until a boot can do its work, each check in its own way.

Nothing tells that a port was bound, an endpoint answers or a command would end with 0, so a boot
that is starting, and only then, is asked at growing distances. See `listening` for ports.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import assert_never

from procman.core.dyno import BOOT_TIMEOUT
from procman.core.readiness import Delay, Exec, Finished, Http, Log, Port, Readiness, Spawned
from procman.runtime.boots import Boots
from procman.runtime.listening import listening_sockets
from procman.runtime.probe import status_of
from procman.runtime.process import Process
from procman.runtime.sock_diag import LISTEN, SockDiag
from procman.runtime.tree import tree

ONE_TRY = 10.0  # seconds that one request or command may take; the next try may be luckier
# Bound to all addresses, IPv6's wildcard takes IPv4 as well; a container often has no ::1.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}
PATIENT = 1.0  # seconds between looks at a boot that is past its timeout


async def wait_until_ready(check: Readiness, process: Process, boots: Boots) -> None:
    """Return when the boot is ready, which may be never: its exit must cancel this."""
    match check:
        case Spawned():
            pass
        case Finished():
            await asyncio.Event().wait()
        case Port():
            await _wait_for_port(process)
        case Http(path):
            await _wait_for_port(process)
            await _wait_for_http(process, path)
        case Log():
            await _wait_for_line(process, boots)
        case Exec(command):
            await _wait_for_command(process, command, boots)
        case Delay():
            await asyncio.sleep(check.seconds)
        case _:
            assert_never(check)


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds between looks: a tenth more each, until the boot has taken longer than it may."""
    pause, past = first, 0.0
    while True:
        yield pause
        past += pause
        pause = min(longest, pause * 1.1) if past < BOOT_TIMEOUT else PATIENT


async def _wait_for_port(process: Process) -> None:
    """Until something of the boot listens on its port, or something new does in its name; notes
    where it was found.

    What a dyno has others listen for it, as docker does, is not in its tree.
    """
    if process.port is None:
        return
    with ExitStack() as stack:
        diag = _open_diag(stack)
        others: set[int] | None = None
        for pause in pauses(0.001, 0.020):
            inodes = None if diag is None else _inodes(diag, process.port)
            if inodes is None or inodes:
                process.address = _address(process.pid, process.port)
                if process.address is not None:
                    return
                if inodes is not None and others is not None and inodes - others:
                    return
            if others is None:
                others = inodes or set()
            await asyncio.sleep(pause)


def _open_diag(stack: ExitStack) -> SockDiag | None:
    if sys.platform != "linux":
        return None
    try:
        return stack.enter_context(SockDiag())
    except OSError:
        return None  # no netlink in this sandbox: the tree is asked each time


def _inodes(diag: SockDiag, port: int) -> set[int]:
    return {row.inode for row in diag.sockets(LISTEN, port=port)}


def _address(pid: int, port: int) -> tuple[str, int] | None:
    """Where something of the tree can be reached at the port; None when nothing listens there."""
    for found in listening_sockets(tree(pid)):
        if found.port == port:
            return _ANY.get(found.host, found.host), port
    return None


async def _wait_for_http(process: Process, path: str) -> None:
    for pause in pauses(0.010, 0.5):
        host, port = process.address or ("127.0.0.1", process.port or 0)
        try:
            async with asyncio.timeout(ONE_TRY):
                if 100 <= await _get(host, port, path) < 400:
                    return
        except (OSError, TimeoutError, ValueError):
            pass  # refused, reset, silent, or no HTTP
        await asyncio.sleep(pause)


async def _get(host: str, port: int, path: str) -> int:
    """The status of a GET; ValueError when the answer does not begin with one."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        name = f"[{host}]" if ":" in host else host
        head = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nUser-Agent: procman\r\n"
        writer.write(f"{head}Accept: */*\r\nConnection: close\r\n\r\n".encode())
        version, status, *_ = (await reader.readline()).split(maxsplit=2)
        if not version.startswith(b"HTTP/1."):
            raise ValueError(version)
        return int(status)
    finally:
        writer.close()


async def _wait_for_line(process: Process, boots: Boots) -> None:
    if boots.taps is None:
        raise AssertionError("a type waits for a line, and nobody listens")
    seen = asyncio.Event()
    boots.taps.wait(process.dyno, seen.set)
    try:
        await seen.wait()
    finally:
        boots.taps.forget(process.dyno)


async def _wait_for_command(process: Process, command: str, boots: Boots) -> None:
    environment = boots.plan(process.dyno, process.boot).environment
    for pause in pauses(0.020, 0.5):
        try:
            async with asyncio.timeout(ONE_TRY):
                if await status_of(command, environment, boots.probes) == 0:
                    return
        except (OSError, TimeoutError):
            pass  # the system would not start it, or it took too long and was killed
        await asyncio.sleep(pause)
