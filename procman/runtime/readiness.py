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

from procman.core.addresses import Address, address_at, address_elsewhere
from procman.core.dyno import BOOT_TIMEOUT
from procman.core.fleet import WEB
from procman.core.readiness import Delay, Exec, Finished, Http, Log, Port, Readiness, Spawned
from procman.runtime.boots import Boots
from procman.runtime.listening import Listening, listening_sockets
from procman.runtime.probe import status_of
from procman.runtime.process import Process
from procman.runtime.sock_diag import LISTEN, SockDiag, TcpSocket
from procman.runtime.tree import tree

ONE_TRY = 10.0  # seconds that one request or command may take; the next try may be luckier
PATIENT = 1.0  # seconds between looks at a boot that is past its timeout
PREFERENCE = 1.0  # seconds that $PORT has left once a web dyno listens elsewhere


async def wait_until_ready(
    check: Readiness, process: Process, boots: Boots, *, is_routed: bool = False
) -> None:
    """Return when the boot is ready, which may be never: its exit must cancel this.

    `is_routed`: the router leads requests to wherever it listens.
    """
    match check:
        case Spawned():
            pass
        case Finished():
            await asyncio.Event().wait()
        case Port():
            await _wait_for_port(process, boots, is_routed=is_routed)
        case Http(path):
            await _wait_for_port(process, boots, is_routed=is_routed)
            await _wait_for_http(process, path)
        case Log():
            await _wait_for_line(process, boots)
            _note_address(process)
        case Exec(command):
            await _wait_for_command(process, command, boots)
            _note_address(process)
        case Delay():
            await asyncio.sleep(check.seconds)
        case _:
            assert_never(check)


async def find_address(process: Process, boots: Boots) -> None:
    """Note where a routed boot listens, once it does, which was ready by another sign."""
    await _wait_for_port(process, boots, is_routed=True)


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds between looks: a tenth more each, until the boot has taken longer than it may."""
    pause, past = first, 0.0
    while True:
        yield pause
        past += pause
        pause = min(longest, pause * 1.1) if past < BOOT_TIMEOUT else PATIENT


async def _wait_for_port(process: Process, boots: Boots, *, is_routed: bool) -> None:
    """Until something of the boot listens on its port, or something new does in its name; notes
    where it was found.

    A web dyno may also listen elsewhere: its port is hard-coded, and a router finds it. What a dyno
    has others listen for it, as docker does, is not in its tree.
    """
    if process.port is None:
        return
    port, anywhere = process.port, _is_web(process)
    clock = asyncio.get_running_loop().time
    since: float | None = None  # it has been listening elsewhere
    with ExitStack() as stack:
        diag = _open_diag(stack)
        others: set[int] | None = None
        for pause in pauses(0.001, 0.020):
            rows = None if diag is None else diag.sockets(LISTEN, port=0 if anywhere else port)
            found = _listening(process) if _may_be_ours(rows, others, port) else []
            bound = [one.bound for one in found]
            process.address = address_at(bound, port)
            if process.address is not None:
                return
            if others is not None and rows is not None and _is_new(rows, others, port):
                return
            if others is None:
                others = {row.inode for row in rows or ()} - {one.inode for one in found}
            elsewhere = address_elsewhere(bound) if anywhere else None
            if elsewhere is None:
                since = None
            elif since is None:
                since = clock()
            elif clock() - since >= PREFERENCE:
                process.address = elsewhere
                boots.hub.say(_warning(process, elsewhere, is_routed=is_routed), process.dyno)
                return
            await asyncio.sleep(pause)


def _open_diag(stack: ExitStack) -> SockDiag | None:
    if sys.platform != "linux":
        return None
    try:
        return stack.enter_context(SockDiag())
    except OSError:
        return None  # no netlink in this sandbox: the tree is asked each time


def _note_address(process: Process) -> None:
    """Where a web dyno listens that was found to be ready otherwise."""
    if _is_web(process) and process.port is not None:
        bound = [one.bound for one in _listening(process)]
        process.address = address_at(bound, process.port) or address_elsewhere(bound)


def _may_be_ours(rows: list[TcpSocket] | None, others: set[int] | None, port: int) -> bool:
    """Whether it is worth while to look through the tree: each look costs less than it."""
    if rows is None:
        return True
    return any(others is None or row.port == port or row.inode not in others for row in rows)


def _is_new(rows: list[TcpSocket], others: set[int], port: int) -> bool:
    return any(row.port == port and row.inode not in others for row in rows)


def _listening(process: Process) -> list[Listening]:
    """What the tree of a boot listens on."""
    return listening_sockets(tree(process.pid))


def _is_web(process: Process) -> bool:
    return process.dyno.rpartition(".")[0] == WEB


def _warning(process: Process, elsewhere: Address, *, is_routed: bool) -> str:
    place = f"warning: listens on port {elsewhere[1]}, not on $PORT ({process.port}): "
    if is_routed:
        return place + "requests are led there"
    return place + "nothing leads requests there, make it listen on $PORT"


async def _wait_for_http(process: Process, path: str) -> None:
    for pause in pauses(0.010, 0.5):
        host, port = process.reached_at or ("127.0.0.1", 0)
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
