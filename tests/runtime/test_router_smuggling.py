"""A message that two servers could read differently is refused, and no dyno sees any of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.runtime.routed import GET, OK, dyno, read_answer, routed, says, story

H = b"Host: a\r\n"


def head(headers: bytes, line: bytes = b"POST / HTTP/1.1") -> bytes:
    return line + b"\r\n" + H + headers + b"\r\n"


def chunks(body: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked\r\n") + body


NONE = b"0\r\n\r\n"
REFUSED = {
    "CL.TE": head(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + NONE,
    "TE.CL": head(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + NONE,
    "TE.TE, the other unknown": head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n")
    + NONE,
    "TE.TE, identity first": head(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n")
    + NONE,
    "TE twice": head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + NONE,
    "TE chunked, chunked": head(b"Transfer-Encoding: chunked, chunked\r\n") + NONE,
    "TE gzip": head(b"Transfer-Encoding: gzip\r\n"),
    "TE gzip, chunked": head(b"Transfer-Encoding: gzip, chunked\r\n") + NONE,
    "TE chunked, gzip": head(b"Transfer-Encoding: chunked, gzip\r\n") + NONE,
    "TE xchunked": head(b"Transfer-Encoding: xchunked\r\n") + NONE,
    "TE quoted": head(b'Transfer-Encoding: "chunked"\r\n') + NONE,
    "TE with a parameter": head(b"Transfer-Encoding: chunked;q=1\r\n") + NONE,
    "TE empty": head(b"Transfer-Encoding:\r\n") + NONE,
    "TE after a vertical tab": head(b"Transfer-Encoding: \x0bchunked\r\n") + NONE,
    "TE folded": head(b"Transfer-Encoding:\r\n chunked\r\n") + NONE,
    "TE with a space before the colon": head(b"Transfer-Encoding : chunked\r\n") + NONE,
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + NONE,
    "TE with an underscore": head(b"Transfer_Encoding: chunked\r\n") + NONE,
    "two different lengths": head(b"Content-Length: 1\r\nContent-Length: 2\r\n") + b"ab",
    "twice the same length": head(b"Content-Length: 1\r\nContent-Length: 1\r\n") + b"a",
    "a list of lengths": head(b"Content-Length: 1, 1\r\n") + b"a",
    "a length with a sign": head(b"Content-Length: +1\r\n") + b"a",
    "a negative length": head(b"Content-Length: -1\r\n"),
    "a hexadecimal length": head(b"Content-Length: 0x1\r\n") + b"a",
    "an empty length": head(b"Content-Length:\r\n"),
    "a length in two words": head(b"Content-Length: 1 1\r\n") + b"a",
    "a length beyond 64 bits": head(b"Content-Length: 18446744073709551617\r\n") + b"a",
    "a length with a space before the colon": head(b"Content-Length : 1\r\n") + b"a",
    "a length with an underscore": head(b"Content_Length: 1\r\n") + b"a",
    "a fold": head(b"A: b\r\n c\r\n"),
    "a fold by a tab": head(b"A: b\r\n\tc\r\n"),
    "a space before the first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare line feed in the headers": head(b"A: b\nContent-Length: 5\r\n"),
    "a bare line feed at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "a bare carriage return": head(b"A: b\rContent-Length: 5\r\n"),
    "two carriage returns": head(b"A: b\r\r\n"),
    "a line feed before the request": b"\n" + head(b""),
    "a carriage return before the request": b"\r" + head(b""),
    "a space before the request": b" " + head(b""),
    "NUL in a value": head(b"A: b\0c\r\n"),
    "NUL in a name": head(b"A\0: b\r\n"),
    "NUL in the path": head(b"", b"GET /\0 HTTP/1.1"),
    "a control character in a value": head(b"A: b\x01\r\n"),
    "a space before the colon": head(b"A : b\r\n"),
    "a tab before the colon": head(b"A\t: b\r\n"),
    "a space in a name": head(b"A b: c\r\n"),
    "no name": head(b": b\r\n"),
    "no colon": head(b"A\r\n"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": head(b"Host: b\r\n"),
    "a list of hosts": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "another host in the target": head(b"", b"GET http://b/ HTTP/1.1"),
    "a space in the path": head(b"", b"GET /a b HTTP/1.1"),
    "two spaces before the path": head(b"", b"GET  / HTTP/1.1"),
    "two spaces after the path": head(b"", b"GET /  HTTP/1.1"),
    "a space after the version": head(b"", b"GET / HTTP/1.1 "),
    "a tab in the path": head(b"", b"GET /\t HTTP/1.1"),
    "tabs for spaces": head(b"", b"GET\t/\tHTTP/1.1"),
    "a path without a slash": head(b"", b"GET a HTTP/1.1"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": head(b"", b"GET / HTTP/1.2"),
    "HTTP/2.0": head(b"", b"GET / HTTP/2.0"),
    "HTTP/1.10": head(b"", b"GET / HTTP/1.10"),
    "http/1.1": head(b"", b"GET / http/1.1"),
    "RTSP": head(b"", b"DESCRIBE / RTSP/1.0"),
    "ICE": head(b"", b"SOURCE / ICE/1.0"),
    "a method in small letters": head(b"", b"get / HTTP/1.1"),
    "a method nobody knows": head(b"", b"FOO / HTTP/1.1"),
    "Connection names the length": head(b"Connection: Content-Length\r\nContent-Length: 1\r\n")
    + b"a",
    "a chunk size with a prefix": chunks(b"0x1\r\na\r\n" + NONE),
    "a chunk size with a sign": chunks(b"+1\r\na\r\n" + NONE),
    "a chunk size with a space": chunks(b"1 \r\na\r\n" + NONE),
    "a chunk size after a space": chunks(b" 1\r\na\r\n" + NONE),
    "a chunk size that is none": chunks(b"z\r\na\r\n" + NONE),
    "an empty chunk size": chunks(b"\r\na\r\n" + NONE),
    "a chunk size beyond 64 bits": chunks(b"fffffffffffffffff\r\na\r\n" + NONE),
    "a line feed after a chunk size": chunks(b"1\na\r\n" + NONE),
    "a line feed in a chunk extension": chunks(b"1;a\nb\r\n" + NONE),
    "a line feed after a chunk": chunks(b"1\r\na\n" + NONE),
    "a chunk that is longer than it says": chunks(b"1\r\nab\r\n" + NONE),
    "a chunk that is shorter than it says": chunks(b"3\r\na\r\n" + NONE),
    "a line feed after the last chunk": chunks(b"0\r\n\n"),
    "a length in the trailers": chunks(b"0\r\nContent-Length: 1\r\n\r\n"),
    "a fold in the trailers": chunks(b"0\r\nA: b\r\n c\r\n\r\n"),
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
TOO_LARGE = {
    "a request line of 9,000 bytes": head(b"", b"GET /" + b"a" * 9000 + b" HTTP/1.1"),
    "a header of 9,000 bytes": head(b"A: " + b"a" * 9000 + b"\r\n"),
    "1,001 headers": head(b"A: b\r\n" * 1001),
    "a head of 70,000 bytes": head((b"A: " + b"b" * 995 + b"\r\n") * 70),
    "a head without an end": b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000,
}


async def refused(message: bytes, status: bytes) -> None:
    """The message, and a request behind it, are answered once, and reach nobody."""
    async with dyno(says(OK)) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(message + (GET if message.endswith(b"\r\n\r\n") else b""))
        answer = await read_answer(reader)
        assert answer.startswith(b"HTTP/1.1 " + status), answer
        assert b"Connection: close" in answer
        assert await reader.read() == b""
        assert one.connections == 0
        (line,) = it.supervision.lines
        assert 'code=H26 desc="Request Error' in line
        assert f"status={status.decode()}" in line


@pytest.mark.parametrize("message", REFUSED.values(), ids=REFUSED.keys())
@story
async def test_an_ambiguous_message_is_refused_and_no_dyno_sees_it(message: bytes) -> None:
    await refused(message, b"400")


@pytest.mark.parametrize("message", TOO_LARGE.values(), ids=TOO_LARGE.keys())
@story
async def test_an_oversized_head_is_refused_and_no_dyno_sees_it(message: bytes) -> None:
    await refused(message, b"431")


@story
async def test_the_router_is_no_forward_proxy_and_meets_no_odd_expectations() -> None:
    await refused(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", b"405")
    await refused(head(b"Expect: miracles\r\n"), b"417")
    await refused(head(b"Expect: miracles\r\nExpect: 100-continue\r\n"), b"417")


@story
async def test_a_body_behind_an_upgrade_is_a_body_and_not_the_next_request() -> None:
    """A server may ignore an Upgrade; so one with a body is not asked for."""
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(len(GET)))
        writer.write(OK)

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(
            head(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n" % len(GET)) + GET
        )
        assert await read_answer(reader) == OK
    assert b"Upgrade" not in seen[0]
    assert len(seen) == 1


@story
async def test_a_body_that_breaks_later_is_refused_and_its_dyno_hears_no_more() -> None:
    broken = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"1\r\na\r\n")
        got.set()
        assert await reader.read() == b""
        broken.set()

    got = asyncio.Event()
    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(chunks(b"1\r\na\r\n"))
        await got.wait()
        writer.write(b"nonsense" + GET)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 400")
        await broken.wait()
