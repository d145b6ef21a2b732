"""A router with scripted dynos and clients, all in one loop, whose time may jump."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import ParamSpec

import uvloop

from procman.core.routing import Backend, Outlook, Waiting
from procman.runtime.bind import listen
from procman.runtime.router import Router, RouterLog

P = ParamSpec("P")
GIVE_UP = 30.0  # seconds; only a hang takes so long
MOMENT = 0.3  # seconds that nothing happens before the clock jumps

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def story(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Runs an async test on uvloop, with real time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(GIVE_UP):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bounded())

    return run


class _Jumping(selectors.DefaultSelector):
    """A selector that never waits: when nothing is ready, the loop's clock jumps instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        # What one socket was sent may take a busy kernel a moment to show at the other.
        ready = super().select(GIVE_UP if timeout is None else MOMENT)
        if ready:
            return ready
        if timeout is None:
            raise AssertionError("everything waits, and nothing will happen")
        self.now += timeout
        return []


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now if hasattr(self, "_jumping") else 0.0


def jumping_story(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Runs an async test in virtual time: when all wait, the clock jumps to the next deadline."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class FakeSupervision:
    """What a supervisor would be told, and what it would say."""

    def __init__(self) -> None:
        self.says: Outlook = Waiting.SERVE_SOON
        self.lines: list[str] = []
        self.told: list[str] = []
        self.asked = asyncio.Semaphore(0)  # for the outlook: a request is about to be parked
        self.woken = asyncio.Event()
        self.waker: Callable[[], None] = lambda: None

    def outlook(self) -> Outlook:
        self.asked.release()
        return self.says

    def wake(self) -> None:
        self.told.append("wake")
        self.woken.set()
        self.waker()

    def busy(self) -> None:
        self.told.append("busy")

    def quiet(self) -> None:
        self.told.append("quiet")

    def drained(self, dyno: str, boot: int) -> None:
        self.told.append(f"drained {dyno} {boot}")

    def log(self, line: str) -> None:
        self.lines.append(line)


class Dyno:
    """A server that does as its handler says, and remembers what it was sent."""

    def __init__(self, handler: Handler, host: str) -> None:
        self._handler = handler
        self._host = host
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        """As a killed process: it listens no more, and its connections are cut."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def backend(self, dyno: str = "web.1", boot: int = 1) -> Backend:
        return Backend(dyno, boot, "127.0.0.1", self.port)


@asynccontextmanager
async def dyno(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[Dyno]:
    served = Dyno(handler, host)
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


class Routed:
    """A running router, its supervisor, and clients that speak bytes."""

    def __init__(self, router: Router, supervision: FakeSupervision) -> None:
        self.router = router
        self.supervision = supervision
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.router.port)
        self._writers.append(writer)
        return reader, writer

    async def ask(self, request: bytes) -> bytes:
        """All that is answered on a connection of its own, until it is closed or falls silent."""
        reader, writer = await self.connect()
        writer.write(request)
        return await read_answer(reader, head=request.startswith(b"HEAD"))

    def close_clients(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def routed(
    *served: Dyno,
    request_timeout: float | None = None,
    router_log: RouterLog = RouterLog.ALL,
    grace: float = 0.2,
) -> AsyncIterator[Routed]:
    supervision = FakeSupervision()
    router = Router(
        supervision,
        listen("127.0.0.1", 0, "the router"),
        request_timeout=request_timeout,
        router_log=router_log,
        grace=grace,
    )
    await router.start()
    for number, one in enumerate(served, 1):
        router.add(one.backend(f"web.{number}"))
    it = Routed(router, supervision)
    try:
        yield it
    finally:
        it.close_clients()
        await router.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_answer(reader: asyncio.StreamReader, *, head: bool = False) -> bytes:
    """One answer: its head, and its body by Content-Length, by chunks, or to the end."""
    start = await read_head(reader)
    lower = start.lower()
    status = int(start.split(b" ", 2)[1])
    if head or status in (204, 304) or status < 200:
        return start
    if b"\r\ncontent-length:" in lower:
        size = int(lower.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        return start + await reader.readexactly(size)
    if b"\r\ntransfer-encoding: chunked" in lower:
        return start + await read_chunks(reader)
    return start + await reader.read()


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    whole = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        whole += line
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while line != b"\r\n":
                line = await reader.readuntil(b"\r\n")
                whole += line
            return whole
        whole += await reader.readexactly(size + 2)


def says(answer: bytes) -> Handler:
    """A dyno that reads heads without bodies, and gives each the same answer."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(answer)
            await writer.drain()

    return handle


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
