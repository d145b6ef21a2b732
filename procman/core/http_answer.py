"""Judges the head of a dyno's answer as bytes, and says what of it goes on to the client."""

from __future__ import annotations

import re
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

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
from procman.core.http_request import PLAIN, Asked

LONGEST_HEAD = 524288  # vegur's limit for one header of an answer; ours is for all of them
SWITCHING_PROTOCOLS = 101

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: [^\r]*)?(?=\r\n)")
_ANSWER_FIELDS = re.compile(
    rb"\r\n(?=[ctukp])(connection|content-length|transfer-encoding|upgrade|keep-alive"
    rb"|proxy-connection):[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_EVENTS = re.compile(rb"\r\ncontent-type:[ \t]*text/event-stream", re.IGNORECASE)
_NOT_ANSWERED = HOP_BY_HOP | {b"upgrade"}


class BadAnswer(Exception):
    """A dyno's answer that is no HTTP, or not HTTP in one way only."""


@dataclass(slots=True)
class AnswerHead:
    """A judged answer; `lines` are those that go on, without the blank one. Never changed."""

    status: int
    lines: bytes
    framing: Framing
    size: int  # of the body: 0 when there is none, -1 when it is not known
    keep_alive: bool  # the dyno leaves the connection open
    endless: bool = False  # a stream of events (text/event-stream, WHATWG's EventSource)


_ANSWERS: Memory[AnswerHead] = Memory()  # to plain requests
_known = _ANSWERS.get


def judge_answer(head: bytes, asked: Asked) -> AnswerHead:
    """The head of one answer, ending in its blank line; BadAnswer when it is not in order."""
    if asked is not PLAIN or len(head) > LONGEST_REMEMBERED:
        return _judge(head, asked)
    return _known(head) or _ANSWERS.keep(head, _judge(head, asked))


def _judge(head: bytes, asked: Asked) -> AnswerHead:
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BadAnswer("no status line of HTTP/1.0 or HTTP/1.1")
    status = int(line[2])
    start = line.end()
    seen = Seen()
    try:
        HttpResponseParser(seen).feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        if status != SWITCHING_PROTOCOLS:  # llhttp wants an Upgrade header in it; few care
            raise BadAnswer(str(error)) from None
    if status == SWITCHING_PROTOCOLS:
        if not asked.upgrade:
            raise BadAnswer("a change of protocol that nobody asked for")
        return AnswerHead(status, head[:-2], Framing.NONE, 0, False)
    size = -1
    connection = b""
    chunked = strip = False
    for name, value in _ANSWER_FIELDS.findall(head, start):
        name = name.lower()
        if name == b"content-length":
            size = int(value)
        elif name == b"transfer-encoding":
            if chunked or value.rstrip(b" \t").lower() != b"chunked":
                raise BadAnswer("a Transfer-Encoding other than chunked")
            chunked = True
        else:
            strip = True
            if name == b"connection":
                connection += b"," + value
    named = tokens(connection) if connection else frozenset()
    bare = status < 200 or status == 204
    lines = head[:-2]
    if strip or bare or not asked.minor:
        taken = _NOT_ANSWERED | (named - END_TO_END)
        if bare:
            taken |= {b"content-length"}
        if bare or not asked.minor:
            taken |= {b"transfer-encoding"}
        lines = head[:start] + without(head[start:], taken)
    http11 = line[1] == b"1"
    if not http11:
        lines = b"HTTP/1.1" + lines[8:]
    keep_alive = b"close" not in named if http11 else b"keep-alive" in named
    if bare or status == 304 or asked.head:
        return AnswerHead(status, lines, Framing.NONE, 0, keep_alive)
    endless = size < 0 and _EVENTS.search(lines) is not None
    if chunked:
        framing = Framing.CHUNKED if asked.minor else Framing.DECODED
        return AnswerHead(status, lines, framing, -1, keep_alive and http11, endless)
    if size < 0:
        return AnswerHead(status, lines, Framing.UNTIL_CLOSE, -1, False, endless)
    if seen.complete is (size > 0):
        raise BadAnswer("a body of unclear length")
    return AnswerHead(status, lines, Framing.LENGTH if size else Framing.NONE, size, keep_alive)
