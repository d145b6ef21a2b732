"""What a client still sends when it has been answered: read, and thrown away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from procman.core.http_body import BadBody

if TYPE_CHECKING:
    from procman.core.http_body import Body
    from procman.runtime.router.client import Client

LINGER = 2.0  # seconds in which a client may still read why it was refused


class LeftOver(asyncio.Protocol):
    """Stands in for the client until the body ends of a request that nobody listens to any more."""

    __slots__ = ("_body", "_client")

    def __init__(self, client: Client, body: Body) -> None:
        self._client = client
        self._body = body

    def data_received(self, data: bytes) -> None:
        body = self._body
        try:
            size = body.take(data)
        except BadBody:
            self._client.transport.close()
            return
        if body.done:
            self._client.go_on(data[size:])

    def pause_writing(self) -> None:
        self._client.pause_writing()

    def resume_writing(self) -> None:
        self._client.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._client.connection_lost(error)


class Linger(asyncio.Protocol):
    """Closed for writing, read for a moment: a reset would take the answer from the client."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client
        transport = client.transport
        if transport.can_write_eof():
            transport.write_eof()
        client.router.loop.call_later(LINGER, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.connection_lost(error)
