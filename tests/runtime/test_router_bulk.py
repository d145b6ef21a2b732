"""Bodies of any size pass at bounded memory, however slow one side is, and hold up nobody else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.runtime.routed import GET, OK, Dyno, dyno, read_answer, read_head, routed, story

GIGABYTE = 1 << 30
PIECE = bytes(1 << 20)
MOST = 100 << 10  # KiB

ROUTER = """
import asyncio, sys, uvloop
from procman.core.routing import Backend, Waiting
from procman.runtime.bind import listen
from procman.runtime.router import Router

class Awake:
    def outlook(self): return Waiting.SERVE_SOON
    def wake(self): pass
    def busy(self): pass
    def quiet(self): pass
    def drained(self, dyno, boot): pass
    def log(self, line): pass

async def main():
    router = Router(Awake(), listen("127.0.0.1", 0, "the router"))
    await router.start()
    router.add(Backend("web.1", 1, "127.0.0.1", int(sys.argv[1])))
    print(router.port, flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


class Apart:
    """A router in a process of its own, so that its memory can be told."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    def peak(self) -> int:
        """The most memory it has had, in KiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])


@asynccontextmanager
async def router_apart(served: Dyno) -> AsyncIterator[Apart]:
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ROUTER, str(served.port)),
        cwd=Path(__file__).parent.parent.parent,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Apart(process, int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


@story
async def test_a_gigabyte_goes_up_through_a_router_that_stays_small() -> None:
    got = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await read_head(reader)
        await slow.wait()  # for a while the client writes against a dyno that does not read
        while got < GIGABYTE:
            got += len(await reader.read(1 << 20))
        writer.write(OK)

    slow = asyncio.Event()
    async with dyno(handle) as one, router_apart(one) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        asyncio.get_running_loop().call_later(0.2, slow.set)
        for _ in range(GIGABYTE // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
        assert await read_answer(reader) == OK
        assert got == GIGABYTE
        assert it.peak() < MOST
        writer.close()


@pytest.mark.parametrize("chunked", [False, True])
@story
async def test_a_gigabyte_comes_down_through_a_router_that_stays_small(chunked: bool) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        how = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % GIGABYTE
        writer.write(b"HTTP/1.1 200 OK\r\n" + how + b"\r\n\r\n")
        piece = b"100000\r\n" + PIECE + b"\r\n" if chunked else PIECE
        for _ in range(GIGABYTE // len(PIECE)):
            writer.write(piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if chunked else b"")
        await writer.drain()
        await reader.read()

    async with dyno(handle) as one, router_apart(one) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(GET)
        await read_head(reader)
        got = 0
        expected = GIGABYTE + (GIGABYTE // len(PIECE)) * 10 + 5 if chunked else GIGABYTE
        while got < expected:
            got += len(await reader.read(1 << 20))
        assert got == expected
        assert it.peak() < MOST
        writer.close()


@story
async def test_a_client_that_does_not_read_stops_its_dyno_and_nobody_else() -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if b"/big" not in await read_head(reader):
            writer.write(OK)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        while True:
            writer.write(PIECE)
            sent += len(PIECE)
            await writer.drain()

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that does not read
        writer.write(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(100):
            assert await it.ask(GET) == OK
        assert 0 < sent < 64 << 20
        writer.transport.abort()
