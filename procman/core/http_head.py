"""Judges the head of an HTTP/1 message as bytes, and rewrites it for the other side.

llhttp in its strict mode (httptools) is the judge of syntax and framing. What it lets pass and
another server may read differently is refused here, each found by experiment with llhttp 9.4:

    blanks, versions    two spaces in the request line, HTTP/0.9 and 2.0, RTSP, ICE
    first bytes         a bare CR or LF before the request line
    Transfer-Encoding   anything but `chunked` alone ("gzip, chunked"), and any in HTTP/1.0
    Host                none, two, or one that is no host
    Content_Length      WSGI and CGI servers cannot tell it from Content-Length
    Connection          one that names Host, Content-Length or Transfer-Encoding
    Upgrade             llhttp skips the body of a request that asks for an upgrade: a server may
                        ignore an Upgrade, so where there is a body it is taken out

A head that passed goes on byte for byte but for what a proxy has to take out or put in.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from httptools import (
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from procman.core.http_body import Body, ChunkedBody, DecodedBody, LengthBody, Seen, UntilClose

LONGEST_HEAD = 65536
# Of a head whose fields are remembered: 256 take 3 MiB at most, and 1000 headers need more bytes.
LONGEST_REMEMBERED = 4000
LONGEST_LINE = 8192  # vegur's limit for the request line and for each header
MOST_HEADERS = 1000  # vegur's
LONGEST_ANSWER_HEAD = 524288  # vegur's limit for a header of an answer; ours is for all of them
END = b"\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 3.4: HTTP/2 with prior knowledge

# May be sent again when nobody is known to have answered. RFC 9110 9.2.2, RFC 4918.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND"})

_REQUEST_LINE = re.compile(rb"([A-Z-]+) ([^ ]+) HTTP/1\.([01])(?=\r\n)")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: [^\r]*)?(?=\r\n)")
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9+/=-]{20,200}\Z")  # vegur's rule for a caller's own

# One scan finds every header that matters. llhttp has judged the bytes before: names are tokens,
# a line ends in CRLF, nothing is folded. The look-ahead halves the time.
_REQUEST_FIELDS = re.compile(
    rb"\r\n(?=[chtuekpvx])(connection|host|content[-_]length|transfer[-_]encoding|te|upgrade|expect"
    rb"|keep-alive|proxy-connection|proxy-authorization|proxy-authenticate"
    rb"|x-forwarded-for|x-forwarded-proto|x-forwarded-port|x-request-id|x-request-start)"
    rb":[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_ANSWER_FIELDS = re.compile(
    rb"\r\n(?=[ctukp])(connection|content-length|transfer-encoding|upgrade|keep-alive"
    rb"|proxy-connection):[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection"})
_NOT_FORWARDED = _HOP_BY_HOP | {
    b"te",
    b"upgrade",
    b"proxy-authorization",
    b"proxy-authenticate",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-port",
    b"x-request-id",
    b"x-request-start",
}
_NOT_ANSWERED = _HOP_BY_HOP | {b"upgrade"}
_END_TO_END = frozenset({b"host", b"content-length", b"transfer-encoding"})


class BadRequest(Exception):
    """A request that is refused; `status` says how, the text why. None of it reaches a dyno."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class BadAnswer(Exception):
    """A dyno's answer that is no HTTP, or not HTTP in one way only."""


class RequestHead(NamedTuple):
    """A judged request; `lines` are those that go on, without the blank one.

    A tuple and not a dataclass: one is made per request, and a frozen dataclass takes five times
    as long.
    """

    method: bytes
    target: bytes
    minor: int  # of HTTP/1.x
    lines: bytes
    body: Body | None
    keep_alive: bool
    upgrade: bool
    expects: bool  # it waits for a 100 before it sends its body
    host: bytes
    forwarded_for: bytes
    request_id: bytes


class AnswerHead(NamedTuple):
    """A judged answer; `lines` are those that go on, without the blank one."""

    status: int
    lines: bytes
    size: int  # of a body with a Content-Length; 0 for none, -1 where `body` tells the end
    body: Body | None
    keep_alive: bool


def judge_request(head: bytes) -> RequestHead:
    """The head of one request, ending in its blank line; BadRequest when it is refused."""
    seen = Seen()
    parser = HttpRequestParser(seen)
    upgrade = False
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        upgrade = True
    except HttpParserError as error:
        raise BadRequest(str(error)) from None
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise BadRequest("not a request of HTTP/1.0 or HTTP/1.1")
    method, target, version = line.groups()
    minor = 1 if version == b"1" else 0
    start = line.end()
    block = head[start:]
    if len(head) <= LONGEST_REMEMBERED:
        fields = _remembered(block)
    else:
        _measure(head)
        fields = _read_fields(block)
    if fields.refusal or upgrade or method == b"CONNECT" or (minor == 0 and fields.chunked):
        _check(fields, method, minor)
    if fields.host is None and minor == 1:
        raise BadRequest("no Host")
    kept = fields.kept
    body: Body | None = None
    if upgrade:
        if minor == 0 or fields.chunked or fields.size:
            return judge_request(head[:start] + _without(block, frozenset({b"upgrade"})) + b"\r\n")
        kept = fields.kept_to_upgrade
    elif fields.chunked:
        body = ChunkedBody(parser, seen)
    elif fields.size:
        body = LengthBody(fields.size)
    if not upgrade and seen.complete is (body is not None):
        raise BadRequest("a body of unclear length")
    lines = head[:start] + kept
    if target[0] != 0x2F:
        lines = _origin_form(method, target, fields.host, lines)
    return RequestHead(
        method,
        target,
        minor,
        lines,
        body,
        fields.persistent[minor],
        upgrade,
        fields.expects and minor == 1,
        fields.host or b"",
        fields.forwarded_for,
        fields.request_id,
    )


class _Fields(NamedTuple):
    """What the headers of a request say, whatever its first line."""

    kept: bytes  # what goes on, without the blank line
    kept_to_upgrade: bytes
    persistent: tuple[bool, bool]  # of HTTP/1.0, of HTTP/1.1
    host: bytes | None
    size: int
    chunked: bool
    expects: bool
    forwarded_for: bytes
    request_id: bytes
    refusal: tuple[str, int] | None


def _check(fields: _Fields, method: bytes, minor: int) -> None:
    if fields.refusal is not None:
        raise BadRequest(*fields.refusal)
    if method == b"CONNECT":
        raise BadRequest("this is no forward proxy", 405)
    if minor == 0 and fields.chunked:
        raise BadRequest("a Transfer-Encoding in HTTP/1.0")


def _read_fields(block: bytes) -> _Fields:
    """Reads a judged head from the end of its first line, CRLF, on to the end of its blank one."""
    host: bytes | None = None
    length = connection = expect = forwarded_for = request_id = b""
    chunked = strip = False
    refusal: tuple[str, int] | None = None
    for name, value in _REQUEST_FIELDS.findall(block):
        name = name.lower()
        value = value.rstrip(b" \t")
        strip = strip or name in _NOT_FORWARDED
        if name == b"host":
            if host is not None:
                refusal = ("more than one Host", 400)
            elif not _HOST.match(value):
                refusal = ("invalid Host", 400)
            host = value
        elif name == b"connection":
            connection += b"," + value
        elif name == b"content-length":
            length = value
        elif name == b"transfer-encoding":
            chunked = True
            if value.lower() != b"chunked":
                refusal = ("a Transfer-Encoding other than chunked", 400)
        elif name == b"x-forwarded-for":
            forwarded_for += (b", " if forwarded_for else b"") + value
        elif name == b"x-request-id":
            request_id = value if _REQUEST_ID.match(value) else b""
        elif name == b"expect":
            expect = value.lower()
        elif b"_" in name:
            refusal = ("a header that can be taken for another", 400)
    if expect and expect != b"100-continue" and refusal is None:
        refusal = ("an expectation that cannot be met", 417)
    tokens = _tokens(connection)
    if tokens & _END_TO_END:
        refusal = ("a Connection that names what belongs to the message", 400)
    kept = kept_to_upgrade = block[:-2]
    if strip:
        kept = _without(block, _NOT_FORWARDED | tokens)
        named = tokens | {b"upgrade"}
        kept_to_upgrade = _without(block, (_NOT_FORWARDED - named) | {b"connection"})
        options = b", ".join(sorted(named - {b"keep-alive", b"close"}))
        kept_to_upgrade += b"Connection: " + options + b"\r\n"
    return _Fields(
        kept,
        kept_to_upgrade,
        (b"keep-alive" in tokens and b"close" not in tokens, b"close" not in tokens),
        host,
        int(length) if length else 0,
        chunked,
        expect == b"100-continue",
        forwarded_for,
        request_id,
        refusal,
    )


# A client sends the same headers with request after request, so what they say is remembered. Each
# head is judged by llhttp all the same.
_remembered = lru_cache(maxsize=256)(_read_fields)


def judge_answer(head: bytes, method: bytes, minor: int, upgrade: bool) -> AnswerHead:
    """The head of a dyno's answer to a request of `method` by a client that speaks HTTP/1.`minor`.

    BadAnswer when it is not in order; a 101 is in order only when an `upgrade` was asked for.
    """
    seen = Seen()
    parser = HttpResponseParser(seen)
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BadAnswer("no status line of HTTP/1.0 or HTTP/1.1")
    version, digits = line.groups()
    status = int(digits)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        if status != 101:
            raise BadAnswer(str(error)) from None
    if status == 101:
        if not upgrade:
            raise BadAnswer("a change of protocol that nobody asked for")
        return AnswerHead(status, head[:-2], 0, None, False)
    size = -1
    connection = b""
    chunked = strip = False
    for name, value in _ANSWER_FIELDS.findall(head):
        name = name.lower()
        if name == b"content-length":
            size = int(value)
        elif name == b"transfer-encoding":
            if value.rstrip(b" \t").lower() != b"chunked":
                raise BadAnswer("a Transfer-Encoding other than chunked")
            chunked = True
        else:
            strip = True
            if name == b"connection":
                connection += b"," + value
    lines = head[:-2]
    tokens = _tokens(connection) if connection else frozenset()
    bare = status < 200 or status == 204
    if strip or bare or (chunked and minor == 0):
        taken = _NOT_ANSWERED | (tokens - _END_TO_END)
        if bare or minor == 0:
            taken |= {b"transfer-encoding"}
        if bare:
            taken |= {b"content-length"}
        lines = lines[: line.end()] + _without(head[line.end() :], taken)
    if version == b"1":
        keep_alive = b"close" not in tokens
    else:
        keep_alive = b"keep-alive" in tokens
        lines = b"HTTP/1.1" + lines[8:]
    if bare or status == 304 or method == b"HEAD":
        return AnswerHead(status, lines, 0, None, keep_alive)
    if chunked:
        body = ChunkedBody(parser, seen) if minor else DecodedBody(parser, seen)
        return AnswerHead(status, lines, -1, body, keep_alive and minor == 1)
    if size < 0:
        return AnswerHead(status, lines, -1, UntilClose(), False)
    if seen.complete is (size > 0):
        raise BadAnswer("a body of unclear length")
    return AnswerHead(status, lines, size, None, keep_alive)


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


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t").lower() for token in value.split(b",")) - {b""}


def _without(block: bytes, names: frozenset[bytes]) -> bytes:
    """The same block, but for the named headers and without the blank line."""
    lines = block.split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in names]
    return b"\r\n".join(kept[:-1])


def _origin_form(method: bytes, target: bytes, host: bytes | None, lines: bytes) -> bytes:
    """A proxy's `GET http://host/path` as the server itself is asked: RFC 9112 3.2.2."""
    if target == b"*" and method == b"OPTIONS":
        return lines
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadRequest("not a path")
    authority, path = absolute.groups()
    if host is not None and authority.lower() != host.lower():
        raise BadRequest("the target and Host name two hosts")
    path = path if path.startswith(b"/") else b"/" + path
    return lines.replace(b" " + target + b" ", b" " + path + b" ", 1)


def _measure(head: bytes) -> None:
    lines = head.split(b"\r\n")
    if len(lines) - 3 > MOST_HEADERS:
        raise BadRequest("too many headers", 431)
    if max(map(len, lines)) > LONGEST_LINE:
        raise BadRequest("too long a line in the head", 431)
