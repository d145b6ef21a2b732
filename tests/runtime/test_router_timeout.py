"""How long a dyno may take for an answer (`--request-timeout`), and from when on."""

from __future__ import annotations

import asyncio
from typing import cast

from tests.runtime.routed import (
    GET,
    OK,
    dyno,
    jumping_story,
    read_answer,
    read_head,
    routed,
    says,
    story,
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"


@jumping_story
async def test_a_dyno_that_is_silent_is_h12_when_a_timeout_was_asked_for() -> None:
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await reader.read() == b""
        closed.set()

    async with dyno(silent) as one, routed(one, request_timeout=30.0) as it:
        assert b"H12 Request timeout" in await it.ask(GET)
        await closed.wait()
        assert "service=30000ms status=503" in it.supervision.lines[0]
    async with dyno(says(OK)) as one, routed(one, request_timeout=30.0) as it:
        assert await it.ask(GET) == OK
        assert await it.ask(GET) == OK


@jumping_story
async def test_a_silent_dyno_may_take_its_time_when_no_timeout_was_asked_for() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(3600)
        writer.write(OK)

    async with dyno(slow) as one, routed(one) as it:
        assert await it.ask(GET) == OK


@jumping_story
async def test_an_interim_answer_is_not_the_answer() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CONTINUE)
        await reader.readexactly(3)
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await reader.read()

    async with dyno(silent) as one, routed(one, request_timeout=30.0) as it:
        reader, writer = await it.connect()
        writer.write(EXPECTING)
        assert await read_head(reader) == CONTINUE
        await asyncio.sleep(20)
        writer.write(b"abc")
        assert b" 103 " in await read_head(reader)
        assert b"H12 Request timeout" in await read_answer(reader)
        assert "service=50000ms status=503" in it.supervision.lines[0]


@jumping_story
async def test_an_answer_after_interim_ones_is_not_cut_off_while_it_comes() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CONTINUE)
        await reader.readexactly(3)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await asyncio.sleep(100)
        writer.write(b"k")

    async with dyno(slow) as one, routed(one, request_timeout=30.0) as it:
        reader, writer = await it.connect()
        writer.write(EXPECTING + b"abc")
        assert await read_head(reader) == CONTINUE
        assert await read_answer(reader) == OK


@jumping_story
async def test_an_upgrade_after_interim_answers_is_not_cut_off() -> None:
    async def upgrades(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n")
        writer.write(b"Connection: upgrade\r\n\r\n")
        await asyncio.sleep(100)
        writer.write(b"still there")

    async with dyno(upgrades) as one, routed(one, request_timeout=30.0) as it:
        reader, writer = await it.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        assert b" 103 " in await read_head(reader)
        assert b" 101 " in await read_head(reader)
        assert await reader.readexactly(11) == b"still there"
        writer.close()


@jumping_story
async def test_the_time_runs_from_when_the_dyno_has_the_whole_request() -> None:
    """However long the client takes to send it."""

    async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(4)
        await asyncio.sleep(29)
        writer.write(OK)

    async with dyno(reads) as one, routed(one, request_timeout=30.0) as it:
        reader, writer = await it.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            await asyncio.sleep(20)
            writer.write(b"x")
        assert await read_answer(reader) == OK


@story
async def test_a_dyno_that_does_not_read_what_it_is_sent_is_late() -> None:
    """The client would send more, and is held for it."""

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast("asyncio.ReadTransport", writer.transport).pause_reading()
        await asyncio.Event().wait()

    async with dyno(deaf) as one, routed(one, request_timeout=0.2) as it:
        reader, writer = await it.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        writer.write(b"x" * 50_000_000)
        assert b"H12 Request timeout" in await read_answer(reader)
