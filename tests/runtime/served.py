"""One small app for all servers: `python served.py KIND PORT`, and as `application` and `asgi`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Protocol

Message = dict[str, object]


class Input(Protocol):
    def read(self, size: int = -1) -> bytes: ...


def application(
    environ: dict[str, object], start: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Echoes the body; without one, says the path."""
    source = environ["wsgi.input"]
    body = source.read() if environ["REQUEST_METHOD"] == "POST" else b""  # type: ignore[attr-defined]  # WSGI has no types
    if not body:
        body = str(environ["PATH_INFO"]).encode()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


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
        return
    if scope["type"] != "http":
        return
    body = b""
    more: object = True
    while more:
        message = await receive()
        part = message.get("body", b"")
        assert isinstance(part, bytes)
        body += part
        more = message.get("more_body", False)
    body = body or str(scope["path"]).encode()
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class Handler(BaseHTTPRequestHandler):
    """For http.server, which knows no chunks."""

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) or self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None: ...


class KeepAliveHandler(Handler):
    protocol_version = "HTTP/1.1"


def main(kind: str, port: int) -> None:
    address = ("127.0.0.1", port)
    if kind == "http.server":
        ThreadingHTTPServer(address, Handler).serve_forever()
    elif kind == "one at a time":
        HTTPServer(address, KeepAliveHandler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
