"""Judges the head of a request as bytes, and says what of it goes on to the dyno.

What llhttp (9.4, found by experiment) lets pass and another server may read differently is
refused as well:

    blanks, versions    two spaces in the request line, HTTP/0.9 and 2.0, RTSP, ICE
    first bytes         a bare CR or LF before the request line
    Transfer-Encoding   anything but `chunked` alone ("gzip, chunked"), and any in HTTP/1.0
    Host                none, two, or one that is no host
    Content_Length      WSGI and CGI servers cannot tell it from Content-Length
    Connection          one that names Host, Content-Length or Transfer-Encoding
    Upgrade             llhttp skips the body of a request that asks for an upgrade: a server may
                        ignore an Upgrade, so where there is a body it is taken out
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from procman.core.http_body import Seen
from procman.core.http_head import (
    END_TO_END,
    HOP_BY_HOP,
    LONGEST_REMEMBERED,
    Framing,
    Memory,
    tokens,
    without,
)

LONGEST_HEAD = 65536
LONGEST_LINE = 8192  # vegur's limit for the request line and for each header
MOST_HEADERS = 1000  # vegur's
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 3.4: HTTP/2 with prior knowledge

# May be sent again when nobody is known to have answered. RFC 9110 9.2.2, RFC 4918.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND"})

_REQUEST_LINE = re.compile(rb"([A-Z-]+) ([^ ]+) HTTP/1\.([01])(?=\r\n)")
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9+/=-]{20,200}\Z")  # vegur's rule for a caller's own

# One scan finds every header that matters. llhttp has judged the bytes before: names are tokens,
# a line ends in CRLF, nothing is folded. The look-ahead halves the time.
_REQUEST_FIELDS = re.compile(
    rb"\r\n(?=[chtuekpvx])(connection|host|content[-_]length|transfer[-_]encoding|te|upgrade|expect"
    rb"|keep-alive|proxy-connection|proxy-authorization|proxy-authenticate"
    rb"|x[-_]forwarded[-_](?:for|proto|port)|x[-_]request[-_](?:id|start))"
    rb":[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_NOT_FORWARDED = HOP_BY_HOP | {
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
_NOT_TO_UPGRADE = _NOT_FORWARDED - {b"upgrade"}


class BadRequest(Exception):
    """A request that is refused; `status` says how, the text why. None of it reaches a dyno."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Asked(NamedTuple):
    """What of a request its answer has to be judged by."""

    head: bool  # the method was HEAD
    minor: int  # of HTTP/1.x
    upgrade: bool


PLAIN = Asked(False, 1, False)  # almost always
_NONE = Framing.NONE  # in CPython 3.11 a member of an enum takes 70 ns to look up, and a global 8


@dataclass(slots=True)
class RequestHead:
    """A judged request. Never changed, but not frozen: that takes five times as long to make."""

    method: bytes
    target: bytes
    lines: bytes  # what goes on, and at its end the open list of the client's addresses
    framing: Framing
    size: int
    keep_alive: bool
    repeatable: bool  # idempotent, without a body
    expects: bool  # it waits for a 100 before it sends its body
    asked: Asked
    host: bytes
    forwarded_for: bytes
    request_id: bytes  # the caller's own, when it is one


def judge_request(head: bytes) -> RequestHead:
    """The head of one request, ending in its blank line; BadRequest when it is refused."""
    if len(head) > LONGEST_REMEMBERED:
        _measure(head)
        return _judge(head)
    return REQUESTS.get(head) or REQUESTS.keep(head, _judge(head))


def _judge(head: bytes) -> RequestHead:
    seen = Seen()
    upgrade = False
    try:
        # A parser of its own for each head: what one client sent cannot touch another's verdict.
        HttpRequestParser(seen).feed_data(head)
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
    fields = _FIELDS.get(block)
    if fields is None:
        fields = _read_fields(block)
        if len(block) < LONGEST_REMEMBERED:
            _FIELDS.keep(block, fields)
    if fields.refusal is not None:
        raise BadRequest(*fields.refusal)
    if method == b"CONNECT":
        raise BadRequest("this is no forward proxy", 405)
    if minor:
        if fields.host is None:
            raise BadRequest("no Host")
    elif fields.framing is Framing.CHUNKED:
        raise BadRequest("a Transfer-Encoding in HTTP/1.0")
    bodily = fields.framing is not _NONE
    if upgrade and (bodily or not minor):
        return _judge(head[:start] + without(block, frozenset({b"upgrade"})) + b"\r\n")
    if seen.complete is bodily:
        raise BadRequest("a body of unclear length")
    lines = head[:start] + (fields.kept_to_upgrade if upgrade else fields.kept)
    if target[0] != 0x2F:
        lines = _origin_form(method, target, fields.host, lines)
    return RequestHead(  # in order, not by name: that takes twice as long
        method,
        target,
        lines,
        fields.framing,
        fields.size,
        fields.persistent[minor],
        not bodily and not upgrade and method in IDEMPOTENT,
        fields.expects and minor == 1,
        PLAIN
        if minor and not upgrade and method != b"HEAD"
        else Asked(method == b"HEAD", minor, upgrade),
        fields.host or b"",
        fields.forwarded_for,
        fields.request_id,
    )


@dataclass(slots=True)
class _Fields:
    """What the headers of a request say, whatever its first line."""

    kept: bytes  # what goes on, and at its end the open list of the client's addresses
    kept_to_upgrade: bytes
    persistent: tuple[bool, bool]  # of HTTP/1.0, of HTTP/1.1
    host: bytes | None
    framing: Framing
    size: int
    expects: bool
    forwarded_for: bytes
    request_id: bytes
    refusal: tuple[str, int] | None


# A poller sends the same request again, a browser the same headers with another path.
REQUESTS: Memory[RequestHead] = Memory()
_FIELDS: Memory[_Fields] = Memory()


def _read_fields(block: bytes) -> _Fields:
    """Reads a judged head from the end of its first line, CRLF, on to the end of its blank one."""
    host: bytes | None = None
    length = connection = forwarded_for = request_id = b""
    chunked = strip = False
    expected: set[bytes] = set()
    forged: set[bytes] = set()
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
            expected.add(value.lower())
        elif b"_" in name and name.startswith(b"x"):
            strip = True
            forged.add(name)  # WSGI and CGI servers cannot tell it from what the router says
        elif b"_" in name:
            refusal = ("a header that can be taken for another", 400)
    if expected - {b"", b"100-continue"} and refusal is None:
        refusal = ("an expectation that cannot be met", 417)
    size = int(length) if length else 0
    named = tokens(connection)
    if named & END_TO_END:
        refusal = ("a Connection that names what belongs to the message", 400)
    kept = kept_to_upgrade = block[:-2]
    if strip:
        kept = without(block, _NOT_FORWARDED | named | forged)
        # To one that asks for an upgrade, Connection and what it names go on: `HTTP2-Settings`.
        kept_to_upgrade = without(block, _NOT_TO_UPGRADE | forged)
        options = (option.strip(b" \t") for option in connection.split(b","))
        spelled = [o for o in options if o and o.lower() not in _NOT_TO_UPGRADE | {b"close"}]
        kept_to_upgrade += b"Connection: " + b", ".join(spelled) + b"\r\n"
    chain = b"X-Forwarded-For: " + (forwarded_for + b", " if forwarded_for else b"")
    return _Fields(
        kept + chain,
        kept_to_upgrade + chain,
        (b"keep-alive" in named and b"close" not in named, b"close" not in named),
        host,
        Framing.CHUNKED if chunked else Framing.LENGTH if size else Framing.NONE,
        size,
        b"100-continue" in expected,
        forwarded_for,
        request_id,
        refusal,
    )


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
    if len(head) > LONGEST_HEAD:
        raise BadRequest("the head is too long", 431)
    lines = head.split(b"\r\n")
    if len(lines) - 3 > MOST_HEADERS:
        raise BadRequest("too many headers", 431)
    if max(map(len, lines)) > LONGEST_LINE:
        raise BadRequest("too long a line in the head", 431)
