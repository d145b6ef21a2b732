"""Where the body of an HTTP/1 message ends, without touching its bytes."""

from __future__ import annotations

from typing import Protocol

from httptools import HttpParserError, HttpRequestParser, HttpResponseParser


class BadBody(Exception):
    """A chunked body that is broken; nothing after it can be trusted."""


class Seen:
    """What llhttp reports of one message: only its end."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


class Body(Protocol):
    """The rest of a message."""

    @property
    def done(self) -> bool:
        """Has it ended?"""

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body; BadBody when they cannot."""

    def put(self, data: bytes) -> bytes:
        """What the other side is sent for bytes that were taken."""


class LengthBody:
    """A body with a Content-Length: counted."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def done(self) -> bool:
        return not self.left

    def take(self, data: bytes) -> int:
        size = min(len(data), self.left)
        self.left -= size
        return size

    def put(self, data: bytes) -> bytes:
        return data


class UntilClose:
    """A body that ends with its connection."""

    __slots__ = ()

    @property
    def done(self) -> bool:
        return False

    def take(self, data: bytes) -> int:
        return len(data)

    def put(self, data: bytes) -> bytes:
        return data


class ChunkedBody:
    """A chunked body: llhttp reads it, and is handed it in such pieces that its end is known.

    A chunked body always ends in CRLF CRLF (its last line and a blank one, trailers or not), and
    llhttp does not tell where in a piece it found the end. So pieces are cut after each CRLF CRLF,
    which in most bodies is nowhere else.
    """

    __slots__ = ("_parser", "_seen", "_tail")

    def __init__(self) -> None:
        self._seen = Seen()
        self._parser = HttpRequestParser(self._seen)
        self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._tail = b""  # the last three bytes: the CRLF CRLF may come in two pieces

    @property
    def done(self) -> bool:
        return self._seen.complete

    def take(self, data: bytes) -> int:
        seen = self._seen
        known = len(self._tail)
        joined = self._tail + data
        at = 0
        try:
            while at < len(data):
                end = joined.find(b"\r\n\r\n", max(0, at + known - 3))
                stop = len(data) if end < 0 else end + 4 - known
                self._parser.feed_data(data if at == 0 and stop == len(data) else data[at:stop])
                at = stop
                if seen.complete:
                    return at
        except HttpParserError as error:
            raise BadBody(str(error)) from None
        self._tail = joined[-3:]
        return at

    def put(self, data: bytes) -> bytes:
        return data


class DecodedBody(ChunkedBody):
    """A chunked body for a client of HTTP/1.0, which knows no chunks."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        super().__init__()
        self._decoder = _Decoder()

    def put(self, data: bytes) -> bytes:
        return self._decoder.decode(data)


class _Decoder:
    """The second reading of what was judged: only the data of the chunks."""

    __slots__ = ("_parser", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._parser = HttpResponseParser(self)
        self._parser.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def decode(self, data: bytes) -> bytes:
        self._parser.feed_data(data)
        decoded = b"".join(self._parts)
        self._parts.clear()
        return decoded
