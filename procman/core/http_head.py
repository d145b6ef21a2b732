"""What both judges of heads, of requests and of answers, go by.

Heads stay bytes. llhttp in its strict mode (httptools) is the judge of syntax and framing, and a
head that passed goes on byte for byte but for what a proxy has to take out or put in.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from httptools import HttpParserError, HttpRequestParser, HttpResponseParser

from procman.core.http_body import Body, ChunkedBody, DecodedBody, LengthBody, Seen, UntilClose

END = b"\r\n\r\n"
LONGEST_REMEMBERED = 4000  # bytes of a head; one of more than 1000 headers is longer
MOST_REMEMBERED = 256  # heads: 3 MiB at most
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection"})
END_TO_END = frozenset({b"host", b"content-length", b"transfer-encoding"})


T = TypeVar("T")


class Memory(dict[bytes, T]):
    """What heads were judged to be. Clients and dynos say the same again and again, and a verdict
    is the same for the same bytes. (An lru_cache takes twice as long, and a key of one argument.)
    """

    __slots__ = ()

    def keep(self, head: bytes, verdict: T) -> T:
        """Gives the verdict back; those that are needed come again soon when all are forgotten."""
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        self[head] = verdict
        return verdict


class Framing(Enum):
    """How the end of a body is told."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    DECODED = "chunked, for a client that knows no chunks"
    UNTIL_CLOSE = "until close"


def body_of(framing: Framing, size: int) -> Body | None:
    """The body that follows a head, to be taken from the bytes after it."""
    match framing:
        case Framing.NONE:
            return None
        case Framing.LENGTH:
            return LengthBody(size)
        case Framing.CHUNKED:
            return ChunkedBody()
        case Framing.DECODED:
            return DecodedBody()
        case Framing.UNTIL_CLOSE:
            return UntilClose()


class Glance:
    """Looks at a head that comes in pieces, so that nonsense is refused before its end is seen.

    A message with bare line feeds has no CRLF CRLF: without this its sender would wait for ever.
    """

    __slots__ = ("_parser", "_seen")

    def __init__(self, parser: type[HttpRequestParser] | type[HttpResponseParser]) -> None:
        self._seen = Seen()
        self._parser = parser(self._seen)

    def refuses(self, piece: bytes) -> str:
        """Why the head that continues with `piece`, without its blank line, is none; else ''."""
        try:
            self._parser.feed_data(piece)
        except HttpParserError as error:
            return str(error) or "not HTTP"
        return "a head without an end" if self._seen.complete else ""


def tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t").lower() for token in value.split(b",")) - {b""}


def without(block: bytes, names: frozenset[bytes]) -> bytes:
    """The same block, but for the named headers and without the blank line."""
    lines = block.split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in names]
    return b"\r\n".join(kept[:-1])
