"""Two connections joined byte for byte, for what is no HTTP/1 (any more): WebSockets, HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class _End(asyncio.Protocol):
    """One end of a tunnel: what comes here goes out there."""

    __slots__ = ("_tunnel", "finished", "lost", "other", "transport")

    other: _End

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self.transport = transport
        self.finished = False  # it sends no more
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self._tunnel.count(self, len(data))
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        """It sends no more, but may still listen."""
        self.finished = True
        if self.other.finished or self.other.lost or not self.other.transport.can_write_eof():
            return False
        self.other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self.other.lost:
            self._tunnel.ended()
        elif error is None:
            self.other.transport.close()  # after what is still to be written
        else:
            self.other.transport.abort()

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()


class Tunnel:
    """Joins the two and calls `ended` once, when both are closed."""

    __slots__ = ("_client", "_ended", "sent")

    def __init__(
        self,
        client: asyncio.Transport,
        dyno: asyncio.Transport,
        ended: Callable[[], None],
        *,
        held: bool,  # the client takes no more for now
    ) -> None:
        self.sent = 0  # bytes to the client
        self._ended = ended
        self._client = _End(self, client)
        end = _End(self, dyno)
        self._client.other, end.other = end, self._client
        client.set_protocol(self._client)
        dyno.set_protocol(end)
        for transport in (client,) if held else (client, dyno):
            if not transport.is_reading() and not transport.is_closing():
                transport.resume_reading()

    def count(self, source: _End, size: int) -> None:
        if source is not self._client:
            self.sent += size

    def ended(self) -> None:
        self._ended()

    def abort(self) -> None:
        self._client.transport.abort()
        self._client.other.transport.abort()
