"""The judges of heads and bodies: wherever a message is cut, it comes out the same."""

from __future__ import annotations

import re

import pytest
from httptools import HttpRequestParser, HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from procman.core.http_answer import AnswerHead, BadAnswer, judge_answer
from procman.core.http_body import BadBody, ChunkedBody, DecodedBody, LengthBody, UntilClose
from procman.core.http_head import Framing, Glance, body_of
from procman.core.http_request import Asked, BadRequest, judge_request

TOKEN = st.text("abcXYZ019-_.!#$%&'*+^`|~", min_size=1, max_size=12).map(str.encode)
VALUE = st.binary(max_size=20).map(
    lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127).strip(b" \t")
)
OURS = (
    b"host",
    b"connection",
    b"upgrade",
    b"expect",
    b"te",
    b"keep-alive",
    b"content",
    b"transfer",
)
HEADERS = st.lists(
    st.tuples(
        TOKEN.filter(lambda name: not name.lower().startswith((*OURS, b"x-", b"proxy-"))), VALUE
    ),
    max_size=8,
)
TARGET = st.binary(max_size=30).map(
    lambda raw: b"/" + bytes(byte for byte in raw if 33 <= byte < 127)
)
PLAIN = Asked(False, 1, False)


@given(TARGET, HEADERS)
def test_a_head_goes_on_byte_for_byte(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    start = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + lines
    head = judge_request(start + b"\r\n")
    assert head.target == target
    assert head.lines == start + b"X-Forwarded-For: "
    assert head.framing is Framing.NONE
    answer = b"HTTP/1.1 200 OK\r\n" + lines
    assert judge_answer(answer + b"Content-Length: 3\r\n\r\n", PLAIN) == AnswerHead(
        200, answer + b"Content-Length: 3\r\n", Framing.LENGTH, 3, True
    )


@given(TARGET, HEADERS, st.data())
def test_a_good_head_in_pieces_is_never_refused(
    target: bytes, headers: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    for parser, start in (
        (HttpRequestParser, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n"),
        (HttpResponseParser, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
    ):
        whole = start + lines + b"\r"
        cut = data.draw(st.integers(0, len(whole)))
        glance = Glance(parser)
        assert glance.refuses(whole[:cut]) == ""
        assert glance.refuses(whole[cut:]) == ""


CHUNKS = st.lists(st.binary(min_size=1, max_size=12), max_size=5)
PIECES = st.lists(st.integers(1, 9), max_size=40)


def cut(message: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(message[:size])
        message = message[size:]
    return [piece for piece in [*pieces, message] if piece]


@given(CHUNKS, st.booleans(), st.binary(max_size=30), PIECES)
def test_the_end_of_a_chunked_body_is_found_wherever_it_is_cut(
    chunks: list[bytes], trailers: bool, behind: bytes, sizes: list[int]
) -> None:
    """Also when data look like an end of a head, and whatever follows."""
    chunks = [chunk.replace(b"\0", b"\r\n\r\n") for chunk in chunks]
    message = b"".join(b"%x;e=f\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    message += b"0\r\nA: b\r\n\r\n" if trailers else b"0\r\n\r\n"
    for body in (ChunkedBody(), DecodedBody()):
        taken, came_out, left = b"", b"", b""
        for piece in cut(message + behind, sizes):
            size = 0 if body.done else body.take(piece)
            taken += piece[:size]
            came_out += body.put(piece[:size]) if size else b""
            left += piece[size:]
        assert body.done
        assert (taken, left) == (message, behind)
        assert came_out == (b"".join(chunks) if isinstance(body, DecodedBody) else message)


@given(st.integers(1, 50), st.binary(max_size=80), PIECES)
def test_a_body_with_a_length_ends_there(length: int, data: bytes, sizes: list[int]) -> None:
    body = LengthBody(length)
    taken = b""
    for piece in cut(data, sizes):
        taken += piece[: body.take(piece)]
    assert taken == data[:length]
    assert body.done is (len(data) >= length)


def test_each_framing_has_its_body() -> None:
    assert body_of(Framing.NONE, 0) is None
    assert isinstance(body_of(Framing.LENGTH, 1), LengthBody)
    assert isinstance(body_of(Framing.CHUNKED, -1), ChunkedBody)
    assert isinstance(body_of(Framing.DECODED, -1), DecodedBody)
    until_close = body_of(Framing.UNTIL_CLOSE, -1)
    assert isinstance(until_close, UntilClose)
    assert until_close.take(b"abc") == 3
    assert not until_close.done


def test_a_broken_chunk_raises_and_says_why() -> None:
    with pytest.raises(BadBody, match="Invalid character in chunk size"):
        ChunkedBody().take(b"zz\r\n")


@pytest.mark.parametrize(
    ("head", "keep_alive", "repeatable", "framing"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True, True, Framing.NONE),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", False, True, Framing.NONE),
        (b"GET / HTTP/1.0\r\n\r\n", False, True, Framing.NONE),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True, True, Framing.NONE),
        (b"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", True, True, Framing.NONE),
        (b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n", True, False, Framing.NONE),
        (b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", True, False, Framing.LENGTH),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", True, True, Framing.NONE),
        (
            b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked \r\n\r\n",
            True,
            False,
            Framing.CHUNKED,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            True,
            False,
            Framing.NONE,
        ),
    ],
)
def test_what_a_head_means_for_its_connection(
    head: bytes, keep_alive: bool, repeatable: bool, framing: Framing
) -> None:
    judged = judge_request(head)
    assert (judged.keep_alive, judged.repeatable, judged.framing) == (
        keep_alive,
        repeatable,
        framing,
    )


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Request-Id: short\r\n",
        b"X_Forwarded_For: 6.6.6.6\r\nx-forwarded_proto: https\r\nX_Request-Id: short\r\n",
        b"Connection: x-forwarded-proto\r\nX-Forwarded-Proto: https\r\n",
        b"Connection: upgrade, X-Forwarded-Proto, TE\r\nUpgrade: websocket\r\n"
        b"X-Forwarded-Proto: https\r\nX_Forwarded_Port: 443\r\nTE: trailers\r\n",
    ],
)
def test_what_the_router_tells_a_dyno_cannot_be_forged(headers: bytes) -> None:
    """By a Connection that names it, or by a spelling that CGI and WSGI servers take for it."""
    head = judge_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")
    kept = head.lines.partition(b"\r\nX-Forwarded-For: ")[0].replace(b"_", b"-").lower()
    assert not re.search(rb"\r\n(x-|te:)|(x-forwarded|, te)", kept)


def test_a_refused_head_is_refused_again() -> None:
    """A verdict is remembered only when it was good."""
    for _ in range(2):
        with pytest.raises(BadRequest, match="no Host"):
            judge_request(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "asked", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", PLAIN, (Framing.UNTIL_CLOSE, -1, False)),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
            PLAIN,
            (Framing.LENGTH, 1, True),
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n",
            PLAIN,
            (Framing.LENGTH, 1, False),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            Asked(True, 1, False),
            (Framing.NONE, 0, True),
        ),
        (
            b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n",
            Asked(False, 0, False),
            (Framing.DECODED, -1, True),
        ),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", PLAIN, (Framing.NONE, 0, True)),
        (b"HTTP/1.1 101 Go\r\n\r\n", Asked(False, 1, True), (Framing.NONE, 0, False)),
    ],
)
def test_how_an_answer_ends(head: bytes, asked: Asked, expected: tuple[Framing, int, bool]) -> None:
    judged = judge_answer(head, asked)
    assert (judged.framing, judged.size, judged.keep_alive) == expected
    assert judged.lines.startswith(b"HTTP/1.1 ")
    assert b"Connection" not in judged.lines


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_in_order_is_refused(head: bytes) -> None:
    with pytest.raises(BadAnswer):
        judge_answer(head, PLAIN)
