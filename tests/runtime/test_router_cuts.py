"""However a message is cut into reads, the other side is sent the same."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import sys
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procman.runtime.router import RouterLog
from procman.runtime.router.client import Client
from tests.runtime.routed import GET, Routed, dyno, read_chunks, read_head, routed, story

HOST = b"Host: app.example\r\n"
REQUESTS = {
    "GET": b"GET /a?b=%20 HTTP/1.1\r\n" + HOST + b"Accept: */*\r\nX-Odd:  \xff\r\n\r\n",
    "two GETs": (b"GET /one HTTP/1.1\r\n" + HOST + b"\r\n")
    + (b"GET /two HTTP/1.1\r\n" + HOST + b"\r\n"),
    "after empty lines": b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a length": b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nGET \r\n\r\nX",
    "chunks": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"5;a=b\r\n1\r\n\r\n\r\na\r\n0123456789\r\n0\r\nT: r\r\n\r\n",
    "chunks, and a GET": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /b HTTP/1.1\r\n"
    + HOST
    + b"\r\n",
}
ANSWERS = {
    "a length": b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 8\r\n\r\na\r\n\r\nb\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\n\r\n\r\n\r\n0\r\nT: r\r\n\r\n",
    "nothing": b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    "interim ones first": b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Wire:
    """A client's transport that keeps what it is given."""

    def __init__(self, answers: int) -> None:
        self.written = b""
        self.answered = asyncio.Event()
        self._answers = answers

    def write(self, data: bytes) -> None:
        self.written += data
        if self.written.count(b"HTTP/1.1 2") >= self._answers:
            self.answered.set()

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def client_of(it: Routed, wire: Wire) -> Client:
    client = Client(it.router)
    client.connection_made(cast("asyncio.Transport", wire))
    it.router.forget(client)  # it has no connection that the router could close
    return client


def cut(message: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(message) + 1) for place in places} | {0, len(message)})
    return [message[start:end] for start, end in itertools.pairwise(ends)]


async def arriving(pieces: list[bytes], answers: int) -> list[bytes]:
    """What the dyno is sent for a client's reads, without what differs each time."""
    got: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            body = b""
            if b"chunked" in head:
                body = await read_chunks(reader)
            elif b"Content-Length: 9" in head:
                body = await reader.readexactly(9)
            got.append(re.sub(rb"(X-Request-(Id|Start)|X-Forwarded-Port): \w+", b"", head) + body)
            writer.write(OK)

    async with dyno(handle) as one, routed(one, router_log=RouterLog.OFF) as it:
        wire = Wire(answers)
        client = client_of(it, wire)
        for piece in pieces:
            client.data_received(piece)
        await wire.answered.wait()
        assert wire.written == OK * answers
    return got


async def answered(pieces: list[bytes]) -> bytes:
    """What the client is sent for a dyno's reads."""
    asked = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()

    async with dyno(handle) as one, routed(one, router_log=RouterLog.OFF) as it:
        wire = Wire(1)
        client = client_of(it, wire)
        client.data_received(GET)
        await asked.wait()
        exchange = client.exchange
        assert exchange is not None
        connection = exchange.dyno
        assert connection is not None
        for piece in pieces:
            connection.data_received(piece)
        assert client.exchange is None
    return wire.written


class Ear:
    """A connection's transport, and the options that its socket is given."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.options: list[tuple[int, int, int]] = []
        self.abort: Callable[[], None] = transport.abort
        self.close: Callable[[], None] = transport.close

    def get_extra_info(self, name: str) -> Ear:
        assert name == "socket"
        return self

    def setsockopt(self, *option: int) -> None:
        level, name, value = option
        self.options.append((level, name, value))

    def is_closing(self) -> bool:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it cannot be asked for")
@pytest.mark.parametrize(
    ("pieces", "times"),
    [
        ([OK], 0),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"], 1),
        ([b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n", b"\r\n", b"o", b"k"], 2),
    ],
)
@story
async def test_a_server_that_writes_in_pieces_is_acknowledged_at_once(
    pieces: list[bytes], times: int
) -> None:
    """Else it waits 40 ms for that, by Nagle's algorithm, before it writes the next one."""
    assert await options_at(pieces) == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * times


async def options_at(pieces: list[bytes]) -> list[tuple[int, int, int]]:
    """What the dyno's connection is told while these are read from it."""
    asked = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()

    async with dyno(handle) as one, routed(one, router_log=RouterLog.OFF) as it:
        client = client_of(it, Wire(1))
        client.data_received(GET)
        await asked.wait()
        assert client.exchange is not None
        connection = client.exchange.dyno
        assert connection is not None
        ear = Ear(connection.transport)
        connection.transport = cast("asyncio.Transport", ear)
        for piece in pieces:
            connection.data_received(piece)
    return ear.options


@pytest.mark.parametrize("message", REQUESTS.values(), ids=REQUESTS.keys())
@story
async def test_a_request_arrives_the_same_wherever_it_is_cut(message: bytes) -> None:
    """In two at every byte, and byte by byte."""
    answers = message.count(b" HTTP/1.1\r\n")
    whole = await arriving([message], answers)
    assert len(whole) == answers
    for place in range(1, len(message)):
        assert await arriving([message[:place], message[place:]], answers) == whole
    assert await arriving([message[at : at + 1] for at in range(len(message))], answers) == whole


@pytest.mark.parametrize("message", ANSWERS.values(), ids=ANSWERS.keys())
@story
async def test_an_answer_arrives_the_same_wherever_it_is_cut(message: bytes) -> None:
    for place in range(1, len(message)):
        assert await answered([message[:place], message[place:]]) == message
    assert await answered([message[at : at + 1] for at in range(len(message))]) == message


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=5),
    st.lists(st.integers(0, 2000), max_size=30),
)
def test_pipelined_requests_arrive_the_same_wherever_they_are_cut(
    names: list[str], places: list[int]
) -> None:
    @story
    async def compare() -> None:
        message = b"".join(REQUESTS[name] for name in names)
        answers = message.count(b" HTTP/1.1\r\n")
        alone = [
            arrived
            for name in names
            for arrived in await arriving([REQUESTS[name]], REQUESTS[name].count(b" HTTP/1.1\r\n"))
        ]
        # A request that is not idempotent has a connection of its own: the order between
        # connections is that of the answers, which the client has seen.
        assert sorted(await arriving(cut(message, places), answers)) == sorted(alone)

    compare()
