"""An app for any server, WSGI and ASGI: who answers, requests that last until the test says so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator

Message = dict[str, object]


def who() -> bytes:
    """`web.1 4711`."""
    return f"{os.environ['DYNO']} {os.getpid()}".encode()


def hold() -> None:
    """Until the test writes into `gate`."""
    print("held", flush=True)
    with open("gate") as gate:
        gate.read()
    print("let go", flush=True)


def application(
    environ: dict[str, object], start: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """`/hold` lasts, `/drip` lasts after its first bytes, the others answer at once."""
    start("200 OK", [("Content-Type", "text/plain")])
    return {"/hold": _held, "/drip": _dripped}.get(str(environ["PATH_INFO"]), _at_once)()


def _at_once() -> Iterable[bytes]:
    return [who()]


def _held() -> Iterable[bytes]:
    hold()
    return [who()]


def _dripped() -> Iterator[bytes]:
    yield b"first"
    hold()
    yield b"last"


async def asgi(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """The same, and a WebSocket that echoes."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/drip":
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
        if scope["path"] in ("/hold", "/drip"):
            await asyncio.to_thread(hold)
        await send({"type": "http.response.body", "body": who()})
