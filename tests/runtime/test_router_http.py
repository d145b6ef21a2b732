"""What goes in at the app's port comes out at the dyno, and back, whatever HTTP/1 allows."""

from __future__ import annotations

import asyncio
import re

import pytest

from procman.runtime.router.upstream import LATE
from tests.runtime.routed import (
    GET,
    OK,
    dyno,
    read_answer,
    read_chunks,
    read_head,
    routed,
    says,
    story,
)


def headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@story
async def test_a_request_goes_on_byte_for_byte_with_the_headers_a_router_adds() -> None:
    """Path, query, unknown headers and their spelling stay; hop-by-hop headers do not."""
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)

    request = (
        b'GET /a//b/../%2e%2E;x/"<>|?q=%zz&&a=b?c#d HTTP/1.1\r\nhOsT: app.example:5000\r\n'
        b"X-Odd:   \xff value \r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Authorization: secret\r\nX-Forwarded-For: 10.0.0.1\r\n"
        b"X-Forwarded-Proto: https\r\nX-Request-Start: 1\r\nX-Request-Id: short\r\n\r\n"
    )
    async with dyno(handle) as one, routed(one) as it:
        assert await it.ask(request) == OK
        port = it.router.port
    head = heads[0]
    assert head.startswith(
        b'GET /a//b/../%2e%2E;x/"<>|?q=%zz&&a=b?c#d HTTP/1.1\r\n'
        b"hOsT: app.example:5000\r\nX-Odd:   \xff value \r\n"
    )
    got = headers(head)
    assert got["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"
    assert got["x-forwarded-proto"] == "http"
    assert got["x-forwarded-port"] == str(port)
    assert got["via"] == "1.1 procman"
    assert re.fullmatch(r"[0-9a-f]{32}", got["x-request-id"])
    assert re.fullmatch(r"\d{13}", got["x-request-start"])
    assert not {"connection", "x-hop", "te", "keep-alive", "proxy-authorization"} & set(got)


@story
async def test_a_callers_request_id_of_twenty_to_two_hundred_characters_is_kept() -> None:
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(OK)

    async with dyno(handle) as one, routed(one) as it:
        for own in (b"a" * 20, b"b" * 200, b"c" * 19, b"d" * 201, b"e" * 19 + b"\xff"):
            await it.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + own + b"\r\n\r\n")
    kept = [headers(head)["x-request-id"] for head in heads]
    assert kept[:2] == ["a" * 20, "b" * 200]
    assert all(re.fullmatch(r"[0-9a-f]{32}", other) for other in kept[2:])
    assert len(set(kept)) == 5


@story
async def test_idempotent_requests_share_a_connection_to_the_dyno_and_others_never() -> None:
    async with dyno(says(OK)) as one, routed(one) as it:
        for _ in range(3):
            assert await it.ask(GET) == OK
        assert one.connections == 1
        await it.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert one.connections == 2
        assert it.router.stats()["web.1"].served == 4


SLOW = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


@story
async def test_a_slow_answer_does_not_keep_others_from_sharing_a_connection() -> None:
    """It may wait for the idle ones to be closed; but others that came later are answered."""
    release = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"/slow" not in await read_head(reader):
            writer.write(OK)
        arrived.set()
        await release.wait()
        writer.write(OK)

    arrived = asyncio.Event()
    async with dyno(handle) as one, routed(one) as it:
        slow = asyncio.create_task(it.ask(SLOW))
        await arrived.wait()
        await asyncio.sleep(2 * LATE)
        for _ in range(5):
            assert await it.ask(GET) == OK
        release.set()
        assert await slow == OK
        for _ in range(5):
            assert await it.ask(GET) == OK
        assert one.connections == 2


@story
async def test_pipelined_requests_are_answered_in_order() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_head(reader)).split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        paths = [b"/%d" % number for number in range(50)]
        writer.write(b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths))
        answers = [await read_answer(reader) for _ in paths]
        assert [answer.split(b"\r\n\r\n")[1] for answer in answers] == paths


@story
async def test_a_request_behind_a_chunked_body_is_found() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            body = await read_chunks(reader) if b"chunked" in head else b""
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    body = b'4;ext="a\r\n'.replace(b'"', b"") + b"\r\n\r\n\r\n" + b"0\r\nX-Trailer: yes\r\n\r\n"
    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(post + body + GET)
        assert (await read_answer(reader)).endswith(b"\r\n\r\n" + body)
        assert (await read_answer(reader)).endswith(b"Content-Length: 0\r\n\r\n")


@story
async def test_a_chunked_answer_and_its_trailers_arrive_as_they_were_sent() -> None:
    body = b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + body
    async with dyno(says(answer)) as one, routed(one) as it:
        reader, writer = await it.connect()
        for _ in range(2):
            writer.write(GET)
            assert await read_answer(reader) == answer
        assert one.connections == 1


@story
async def test_what_has_no_body_has_none_whatever_its_headers_say() -> None:
    """HEAD and 304 with a Content-Length, 204: the connection goes on behind them."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_head(reader)).split(b" ")[1]
            status = {b"/204": b"204 No Content", b"/304": b"304 Not Modified"}.get(path, b"200 OK")
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 10\r\n\r\n")

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        for request, length in (
            (b"HEAD /", True),
            (b"GET /304", True),
            (b"GET /204", False),
            (b"HEAD /", True),
        ):
            writer.write(request + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await read_head(reader)
            assert (b"Content-Length: 10" in head) is length
        assert one.connections == 1


@story
async def test_interim_answers_are_passed_on_and_a_body_waits_for_its_hundred() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"Expect: 100-continue" in await read_head(reader)
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        )
        assert await reader.readexactly(5) == b"hello"
        writer.write(OK)

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await read_head(reader)).startswith(b"HTTP/1.1 103 Early Hints\r\nLink")
        assert (await read_head(reader)).startswith(b"HTTP/1.1 100")
        writer.write(b"hello")
        assert await read_answer(reader) == OK


@story
async def test_a_refused_expectation_ends_the_connection_since_what_follows_is_unclear() -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    async with dyno(says(answer)) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert b"Connection: close" in await read_answer(reader)
        assert await reader.read() == b""


@story
async def test_an_answer_that_does_not_wait_for_the_body_leaves_the_connection_usable() -> None:
    """A client that sends all before it reads gets its 413, and can ask again."""
    big = 3_000_000

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n" if b"POST" in head else OK)

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % big)
        writer.write(b"x" * big)
        await writer.drain()
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 413")
        writer.write(GET)
        assert await read_answer(reader) == OK


@story
async def test_an_old_server_that_closes_after_each_answer_serves_clients_that_stay() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        for _ in range(3):
            writer.write(GET)
            assert await read_answer(reader) == OK
        assert one.connections == 3


@story
async def test_an_answer_that_ends_with_its_connection_ends_the_clients_too() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall there is")

    async with dyno(handle) as one, routed(one) as it:
        answer = await it.ask(GET)
        assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is"
        assert "at=info" in it.supervision.lines[0]


@story
async def test_a_client_of_http_1_0_is_spared_chunks_and_may_stay_when_it_asks_to() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    async with dyno(says(chunked)) as one, routed(one) as it:
        for wish in (b"", b"Connection: keep-alive\r\n"):  # its end is the connection's
            answer = await it.ask(b"GET / HTTP/1.0\r\n%b\r\n" % wish)
            assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"
    async with dyno(says(OK)) as one, routed(one) as it:
        answer = await it.ask(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert b"Connection: keep-alive" in answer


@story
async def test_events_arrive_as_they_are_sent_and_not_at_the_end() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            await asked.wait()
            asked.clear()
            writer.write(b"data: x\n\n")

    asked = asyncio.Event()
    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(GET)
        await read_head(reader)
        for _ in range(3):
            asked.set()
            assert await reader.readexactly(9) == b"data: x\n\n"
        assert it.router.stats()["web.1"].in_flight == 1
        assert "quiet" not in it.supervision.told


@story
async def test_an_upgraded_connection_is_a_tunnel_that_holds_its_lease_until_it_closes() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"Upgrade: thing" in head
        assert b"\r\nConnection: Upgrade\r\n" in head
        writer.write(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: thing\r\n\r\nfirst")
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.write(b"last")  # after the client's end: each half closes on its own

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
            b"Upgrade: thing\r\n\r\nearly "
        )
        assert (await read_head(reader)).startswith(b"HTTP/1.1 101 Go")
        assert await reader.readexactly(11) == b"firstEARLY "
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(18) == b"GET / HTTP/1.1\r\n\r\n"
        assert it.router.stats()["web.1"].in_flight == 1
        writer.write_eof()
        assert await reader.read() == b"last"
    assert it.supervision.told.count("quiet") == 1
    assert "status=101" in it.supervision.lines[0]


@story
async def test_an_upgrade_that_is_not_taken_up_is_answered_like_any_request() -> None:
    async with dyno(says(OK)) as one, routed(one) as it:
        reader, writer = await it.connect()
        for _ in range(2):
            writer.write(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n"
            )
            assert await read_answer(reader) == OK


@story
async def test_http_2_with_prior_knowledge_is_tunnelled_even_when_it_comes_byte_by_byte() -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(preface) + 4) == preface + b"\0\1\2\3"
        writer.write(b"frames")

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.transport.set_write_buffer_limits(0)
        for at in range(len(preface)):
            writer.write(preface[at : at + 1])
            await asyncio.sleep(0)
        writer.write(b"\0\1\2\3")
        assert await reader.readexactly(6) == b"frames"


@story
async def test_a_client_that_sends_no_more_but_waits_is_answered() -> None:
    """`printf 'GET …' | nc -N localhost 5000`"""
    release = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await release.wait()
        writer.write(OK)

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(GET)
        writer.write_eof()
        asyncio.get_running_loop().call_later(0.05, release.set)
        assert b"200 OK" in await reader.read()


@pytest.mark.parametrize("more", [b"\r\n", b"GET /x", b"G", b"\r\n\r\n"])
@story
async def test_a_client_that_sends_no_more_is_left_whatever_it_has_begun(more: bytes) -> None:
    async with dyno(says(OK)) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(GET + GET + more)
        writer.write_eof()
        assert (await reader.read()).count(b"200 OK") == 2
        assert one.connections == 1


@story
async def test_a_client_that_sends_no_more_while_it_is_answered_is_left_afterwards() -> None:
    release = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK[:-1])
        await release.wait()
        writer.write(OK[-1:])

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(GET)
        head = await read_head(reader)
        assert b"close" not in head.lower()
        writer.write_eof()
        asyncio.get_running_loop().call_later(0.05, release.set)
        assert head + await reader.read() == OK


@story
async def test_a_client_that_leaves_frees_its_dyno_and_is_logged_as_h27() -> None:
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        assert await reader.read() == b""
        gone.set()

    asked = asyncio.Event()
    async with dyno(handle) as one, routed(one) as it:
        _, writer = await it.connect()
        writer.write(GET)
        await asked.wait()
        writer.close()
        await gone.wait()
        assert it.router.stats()["web.1"].in_flight == 0
        line = it.supervision.lines[0]
        assert line.startswith('at=warning code=H27 desc="Client Request Interrupted" sock=client')
        assert "status=499" in line


@story
async def test_a_client_that_leaves_while_it_waits_for_a_dyno_has_asked_nothing() -> None:
    """Also when it has sent a body: a form that was sent again would be taken twice."""
    async with dyno(says(OK)) as one, routed() as it:
        _, writer = await it.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\npay=1")
        await it.supervision.asked.acquire()
        writer.close()
        while not it.supervision.lines:  # noqa: ASYNC110  # the log is all that tells
            await asyncio.sleep(0.01)
        assert "code=H27" in it.supervision.lines[0]
        it.router.add(one.backend())
        assert await it.ask(GET) == OK
        assert one.connections == 1


@story
async def test_empty_lines_before_a_request_are_forgiven() -> None:
    async with dyno(says(OK)) as one, routed(one) as it:
        assert await it.ask(b"\r\n\r\n" + GET) == OK


@story
async def test_a_proxys_absolute_target_reaches_the_dyno_as_a_path() -> None:
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)

    async with dyno(handle) as one, routed(one) as it:
        await it.ask(b"GET http://app.local:5000/x?y HTTP/1.1\r\nHost: app.local:5000\r\n\r\n")
        assert heads[0].startswith(b"GET /x?y HTTP/1.1\r\n")
