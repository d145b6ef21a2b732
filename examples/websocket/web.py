"""A chat room: everybody who is connected to this dyno hears what anybody says."""

from __future__ import annotations

import asyncio
import http
import json
import os
import signal
from pathlib import Path

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

PAGE = Path(__file__).with_name("page.html").read_text()
PLAIN_HTTP = {"/": ("text/html; charset=utf-8", PAGE), "/health": ("application/json", "true")}
LONGEST = 2000  # bytes of one message

room: set[ServerConnection] = set()


def answer(connection: ServerConnection, request: Request) -> Response | None:
    """The page and the health check; None lets a WebSocket in, at /chat."""
    path = request.path.partition("?")[0]
    if path == "/chat":
        return None
    kind, text = PLAIN_HTTP.get(path, ("text/plain", "nothing here\n"))
    status = http.HTTPStatus.OK if path in PLAIN_HTTP else http.HTTPStatus.NOT_FOUND
    response = connection.respond(status, text)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = kind
    return response


def tell(message: dict[str, object]) -> None:
    broadcast(room, json.dumps(message))


async def chat(connection: ServerConnection) -> None:
    room.add(connection)
    tell({"here": len(room)})
    try:
        async for said in connection:
            if isinstance(said, str) and said.strip():
                tell({"said": said, "here": len(room)})
    finally:
        room.discard(connection)
        tell({"here": len(room)})


async def main() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    port = int(os.environ.get("PORT", "5000"))
    # close_timeout: a client that is gone must not keep a stop waiting.
    async with serve(
        chat, "127.0.0.1", port, process_request=answer, max_size=LONGEST, close_timeout=2
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"chat is up on http://127.0.0.1:{port}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
