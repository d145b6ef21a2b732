"""What goes wrong between the app's port and a dyno: Heroku's codes, and what is saved."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

import pytest

from procman.core import routing
from procman.core.codes import Code
from procman.core.routing import PATIENCE, Backend, Outage, Waiting
from procman.runtime.router import RouterLog, router
from procman.runtime.router.upstream import CONNECT_TIMEOUT
from tests.runtime.routed import (
    GET,
    OK,
    Handler,
    dyno,
    jumping_story,
    read_answer,
    read_head,
    routed,
    says,
    story,
)

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def breaks(after: bytes = b"") -> Handler:
    """A dyno that reads a request, says so much, and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(after)
        await writer.drain()

    return handle


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        (b"", "H13", 503),
        (b"HTTP/1.1 200 OK\r\nCont", "H18", 503),
        (b"SSH-2.0-OpenSSH\r\n", "H17", 503),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "H17", 503),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "H17", 503),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "H17", 503),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "H17", 503),
        (b"HTTP/1.1 101 Surprise\r\n\r\n", "H17", 503),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 600_000, "H25", 502),
    ],
)
@story
async def test_a_broken_answer_is_told_by_its_code(said: bytes, code: str, status: int) -> None:
    async with dyno(breaks(said)) as one, routed(one) as it:
        answer = await it.ask(POST)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"X-Procman-Error: " + code.encode() in answer
        (line,) = it.supervision.lines
        assert line.startswith(f"at=error code={code} desc=")
        assert re.search(rf"dyno=web.1 connect=\d+ms service=\d+ms status={status} ", line)


@story
async def test_a_client_is_read_on_when_a_dyno_goes_whose_buffer_was_full() -> None:
    """All of the request had come: what comes next is the next one."""
    calls, arrived, go = 0, asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            await says(OK)(reader, writer)
        else:
            await reader.readuntil(b"body")
            arrived.set()
            await go.wait()

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
        await arrived.wait()
        (upstream,) = it.router._upstreams.values()
        (connection,) = upstream.connections
        connection.pause_writing()  # as its transport says when a dyno does not read
        go.set()
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 503 ")
        writer.write(GET)
        assert await read_answer(reader) == OK


class LateLoop:
    """A busy loop: a connection that is made is heard of when it is lost already."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.late = 1  # connections

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], *, sock: socket.socket
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """As the loop's own, but for those that are late."""
        transport, protocol = await self._loop.create_connection(factory, sock=sock)
        if self.late:
            self.late -= 1
            while not transport.is_closing():  # noqa: ASYNC110  # its protocol alone is told
                await asyncio.sleep(0)
        return transport, protocol


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@story
async def test_a_connection_that_is_lost_before_it_was_used_is_tried_again(request_: bytes) -> None:
    """The dyno was killed just then: no byte of the request was seen, and nobody waits for ever."""
    calls = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            await says(OK)(reader, writer)

    async with dyno(handle) as one, routed(one) as it:
        it.router.loop = cast("asyncio.AbstractEventLoop", LateLoop(it.router.loop))
        assert await it.ask(request_) == OK
        assert calls == 2


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n",
    ],
)
@story
async def test_an_answer_that_breaks_off_is_cut_off_for_the_client_as_well(said: bytes) -> None:
    async with dyno(breaks(said)) as one, routed(one) as it:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError, ValueError)):
            await it.ask(GET)
    (line,) = it.supervision.lines  # and no H27 for the client, which was left and did not leave
    assert "code=H18" in line
    assert "sock=backend" in line


@story
async def test_what_a_dyno_says_unasked_is_never_taken_for_an_answer() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with dyno(handle) as one, routed(one) as it:
        reader, writer = await it.connect()
        for _ in range(3):
            writer.write(GET)
            assert await read_answer(reader) == OK
        assert one.connections == 3


@story
async def test_an_idempotent_request_is_tried_once_more_on_another_dyno() -> None:
    async with dyno(breaks()) as bad, dyno(says(OK)) as good, routed(bad, good) as it:
        assert await it.ask(GET) == OK
        assert (bad.connections, good.connections) == (1, 1)
        assert it.router.stats()["web.1"].served == 0


@story
async def test_an_idempotent_request_is_tried_once_more_and_no_more_than_that() -> None:
    async with dyno(breaks()) as one, routed(one) as it:
        assert b"H13" in await it.ask(GET)
        assert one.connections == 2


@story
async def test_a_request_that_may_have_been_seen_is_never_tried_twice() -> None:
    async with dyno(breaks()) as bad, dyno(says(OK)) as good, routed(bad, good) as it:
        assert b"H13" in await it.ask(POST)
        assert (bad.connections, good.connections) == (1, 0)


@story
async def test_a_dyno_that_refuses_is_passed_over_while_another_can_serve() -> None:
    async with dyno(says(OK)) as dead, dyno(says(OK)) as good, routed(dead, good) as it:
        await dead.stop()
        for _ in range(4):
            assert await it.ask(POST) == OK


@story
async def test_a_connection_that_the_dyno_has_closed_is_not_used_again() -> None:
    """A server's keep-alive timeout is no error, whatever the moment it strikes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)

    async with dyno(handle) as one, routed(one) as it:
        for _ in range(20):
            assert await it.ask(GET) == OK


@story
async def test_a_restart_of_the_lone_dyno_is_not_seen_by_those_who_ask() -> None:
    async with dyno(says(OK)) as one, routed(one) as it:
        assert await it.ask(GET) == OK
        await one.stop()
        asked = [asyncio.create_task(it.ask(GET)) for _ in range(5)]
        first = asyncio.create_task(it.ask(POST))
        await asyncio.sleep(0)
        it.router.remove("web.1", 1)
        await one.start()
        it.router.add(one.backend("web.1", 2))
        assert await asyncio.gather(*asked, first) == [OK] * 6


@story
async def test_parked_requests_are_served_in_order_when_a_dyno_is_up() -> None:
    """The order in which the dyno accepts them: what it does then is its own affair."""
    order: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(order)
        order.append(b"")
        order[place] = (await read_head(reader)).split(b" ")[1]
        writer.write(OK)

    async with dyno(handle) as one, routed() as it:
        asked = []
        for number in range(20):
            reader, writer = await it.connect()
            writer.write(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            asked.append(reader)
            await it.supervision.asked.acquire()
        it.router.add(one.backend())
        for reader in asked:
            assert await read_answer(reader) == OK
    assert order == [b"/%d" % number for number in range(20)]


@story
async def test_a_sleeping_dyno_is_woken_by_the_first_byte_and_nobody_is_parked() -> None:
    async with dyno(says(OK)) as one, routed() as it:

        def thaw() -> None:
            if not it.router.stats():
                it.router.add(one.backend())

        it.supervision.waker = thaw
        reader, writer = await it.connect()
        writer.write(GET[:1])
        await it.supervision.woken.wait()
        assert "web.1" in it.router.stats()
        writer.write(GET[1:])
        assert await read_answer(reader) == OK
        assert it.supervision.told[-2:] == ["busy", "quiet"]


@story
async def test_a_draining_dyno_gets_no_more_leases_and_reports_its_last_one() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await release.wait()
        writer.write(OK)

    asked, release = asyncio.Event(), asyncio.Event()
    async with dyno(slow) as old, dyno(says(OK)) as new, routed(old) as it:
        first = asyncio.create_task(it.ask(GET))
        await asked.wait()
        it.router.drain("web.1", 1)
        assert "drained web.1 1" not in it.supervision.told
        it.router.add(new.backend("web.1", 2))
        assert await it.ask(GET) == OK
        release.set()
        assert await first == OK
        assert it.supervision.told.count("drained web.1 1") == 1
        assert (old.connections, new.connections) == (1, 1)
        it.router.drain("web.1", 2)
        assert it.supervision.told[-1] == "drained web.1 2"


@story
async def test_a_dyno_that_is_to_stop_is_not_kept_from_it_by_idle_connections() -> None:
    """Node's server waits for them; and one that is answered meanwhile is not kept either."""
    closed = asyncio.Semaphore(0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await read_head(reader)).split(b" ")[1]
        if path == b"/slow":
            asked.set()
            await release.wait()
        writer.write(OK)
        assert await reader.read() == b""
        closed.release()

    asked, release = asyncio.Event(), asyncio.Event()
    async with dyno(handle) as one, routed(one) as it:
        slow = asyncio.create_task(it.ask(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"))
        await asked.wait()
        assert await it.ask(GET) == OK
        it.router.drain("web.1", 1)
        await closed.acquire()
        release.set()
        assert await slow == OK
        await closed.acquire()


@story
async def test_what_a_dyno_wrote_before_it_died_is_still_read() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        it.router.remove("web.1", 1)
        writer.write(OK)

    async with dyno(handle) as one, routed(one) as it:
        assert await it.ask(POST) == OK


@story
async def test_an_answer_to_half_a_body_is_read_from_a_connection_that_is_reset() -> None:
    """A login page for an upload, a 413: the server closes, and our next write fails."""

    loop = asyncio.get_running_loop()
    async with routed() as it:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            it.router.add(Backend("web.1", 1, *listener.getsockname()))
            reader, writer = await it.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
            served, _ = await loop.sock_accept(listener)
            with served:
                await loop.sock_recv(served, 1)  # and leaves the rest unread
                served.send(OK)
            (client,) = it.router.clients
            client.data_received(b"cd")  # passed on before the answer is looked for
            assert await read_answer(reader) == OK


@jumping_story
async def test_a_request_waits_seventy_five_seconds_for_a_dyno_and_then_gets_h20() -> None:
    async with routed() as it:
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await it.ask(GET)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"H20 App boot timeout" in answer
        assert loop.time() - started == pytest.approx(PATIENCE, abs=0.5)


@pytest.fixture
def shorter(monkeypatch: pytest.MonkeyPatch) -> float:
    """A patience in which fewer tries fail, each of which takes some real time."""
    seconds = 10.0
    for module in (router, routing):
        monkeypatch.setattr(module, "PATIENCE", seconds)
    return seconds


@jumping_story
async def test_a_dyno_that_refuses_for_long_is_h21(shorter: float) -> None:
    async with dyno(says(OK)) as one, routed(one) as it:
        await one.stop()
        started = asyncio.get_running_loop().time()
        assert b"H21 Backend connection refused" in await it.ask(GET)
        assert asyncio.get_running_loop().time() - started == pytest.approx(shorter, abs=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="when a backlog is full, a kernel decides")
@jumping_story
async def test_a_dyno_whose_backlog_stays_full_is_h19(shorter: float) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # more than it takes, and nobody accepts them
            crowd = stack.enter_context(socket.socket())
            crowd.setblocking(False)
            crowd.connect_ex(listener.getsockname())
        async with routed() as it:
            started = asyncio.get_running_loop().time()
            it.router.add(Backend("web.1", 1, *listener.getsockname()))
            assert b"H19 Backend connection timeout" in await it.ask(GET)
            waited = asyncio.get_running_loop().time() - started
            assert shorter <= waited < shorter + CONNECT_TIMEOUT + 1.0  # the last try ends first
            (line,) = it.supervision.lines
            assert line.startswith('at=error code=H19 desc="Backend connection timeout" method=GET')


@story
async def test_a_request_too_many_that_waits_is_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "MOST_PARKED", 2)
    async with routed() as it:
        waiting = [asyncio.create_task(it.ask(GET)) for _ in range(2)]
        for _ in waiting:
            await it.supervision.asked.acquire()
        assert b"H11 Backlog too deep" in await it.ask(GET)
        async with dyno(says(OK)) as one:
            it.router.add(one.backend("web.1"))
            assert [await answer for answer in waiting] == [OK, OK]


@jumping_story
async def test_a_client_that_sends_no_more_and_then_leaves_is_noticed() -> None:
    """TCP does not tell its end from the half before; the kernel that holds both ends does."""
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        assert await reader.read() == b""
        gone.set()

    asked = asyncio.Event()
    async with dyno(silent) as one, routed(one) as it:
        _, writer = await it.connect()
        writer.write(GET)
        writer.write_eof()
        await asked.wait()
        await asyncio.sleep(10)  # in virtual time
        assert not gone.is_set()
        assert it.router.stats()["web.1"].in_flight == 1
        writer.close()
        await gone.wait()
        assert "code=H27" in it.supervision.lines[0]


@story
async def test_a_boot_that_is_found_to_listen_elsewhere_is_asked_there() -> None:
    async with dyno(says(OK)) as wrong, dyno(says(OK)) as right, routed(wrong) as it:
        it.router.add(right.backend("web.1", 1))
        assert await it.ask(GET) == OK
        assert (wrong.connections, right.connections) == (0, 1)


@jumping_story
async def test_idle_connections_to_a_dyno_are_closed_after_a_while() -> None:
    closed = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        assert await reader.read() == b""
        closed.set()

    async with dyno(handle) as one, routed(one) as it:
        assert await it.ask(GET) == OK
        started = asyncio.get_running_loop().time()
        await closed.wait()
        assert asyncio.get_running_loop().time() - started < 10


@story
async def test_a_crashed_app_is_told_at_once_in_plain_text_or_as_a_page() -> None:
    crash = Outage(
        Code.H10,
        "web.1",
        "exited with status 1",
        [b"Traceback \x1b[31m<b>\x1b[0m", b"ValueError"],
        4.0,
    )
    async with routed() as it:
        it.supervision.says = crash
        text = await it.ask(GET)
        assert text.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Content-Type: text/plain; charset=utf-8\r\n" in text
        assert b"Retry-After: 4\r\n" in text
        assert b"H10 web.1: App crashed\nweb.1 exited with status 1.\n" in text
        assert b"    Traceback <b>\n    ValueError\n" in text
        page = await it.ask(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*;q=0.8\r\n\r\n")
        assert b"Content-Type: text/html; charset=utf-8\r\n" in page
        assert b"<pre>Traceback &lt;b&gt;\nValueError</pre>" in page
        assert b"location.reload()" in page
        form = await it.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nContent-Length: 0\r\n\r\n"
        )
        assert b"reload" not in form
        head = await it.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        line = it.supervision.lines[0]
        assert line.startswith('at=error code=H10 desc="App crashed" method=GET path="/" host=a')
        assert "dyno= connect= service= status=503" in line


@story
async def test_a_page_that_looks_whether_the_app_is_back_does_not_fill_the_log() -> None:
    look = b"HEAD / HTTP/1.1\r\nHost: a\r\nx-procman-look: 1\r\n\r\n"
    async with routed(router_log=RouterLog.ERRORS) as it:
        it.supervision.says = Outage(Code.H10)
        page = await it.ask(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n")
        assert b'"X-Procman-Look": "1"' in page
        for _ in range(3):
            assert b"X-Procman-Error: H10" in await it.ask(look)
        assert len(it.supervision.lines) == 1


@story
async def test_parked_requests_are_answered_when_the_outlook_darkens() -> None:
    async with routed() as it:
        asked = asyncio.create_task(it.ask(GET))
        await it.supervision.asked.acquire()
        it.supervision.says = Outage(Code.H14)
        it.router.refresh()
        assert b"H14 No web processes running" in await asked
        it.supervision.says = Waiting.SERVE_SOON


@story
async def test_a_thousand_pipelined_requests_to_no_dyno_are_answered_without_recursion() -> None:
    async with routed() as it:
        it.supervision.says = Outage(Code.H14)
        reader, writer = await it.connect()
        writer.write(GET * 1200)
        for _ in range(1200):
            assert b"H14" in await read_answer(reader)


@story
async def test_only_errors_are_logged_when_only_errors_are_asked_for() -> None:
    async with dyno(says(OK)) as one, routed(one, router_log=RouterLog.ERRORS) as it:
        await it.ask(GET)
        await it.ask(b"GET  / HTTP/1.1\r\n\r\n")
        assert ["H26" in line for line in it.supervision.lines] == [True]
    async with dyno(says(OK)) as one, routed(one, router_log=RouterLog.OFF) as it:
        await it.ask(GET)
        await it.ask(b"GET  / HTTP/1.1\r\n\r\n")
        assert it.supervision.lines == []


@story
async def test_closing_waits_for_answers_and_cuts_off_what_outlasts_the_grace() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await read_head(reader)).split(b" ")[1]
        asked.release()
        if path == b"/soon":
            await closing.wait()
            writer.write(OK)
        else:
            await reader.read()

    asked, closing = asyncio.Semaphore(0), asyncio.Event()
    async with dyno(slow) as one, routed(one, grace=0.3) as it:
        soon = asyncio.create_task(it.ask(b"GET /soon HTTP/1.1\r\nHost: a\r\n\r\n"))
        never = asyncio.create_task(it.ask(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"))
        await asked.acquire()
        await asked.acquire()
        asyncio.get_running_loop().call_soon(closing.set)
        await it.router.close()
        assert b"Connection: close" in await soon
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await never
        assert "code=H24" in it.supervision.lines[-1]


@story
async def test_a_dyno_on_the_other_loopback_is_reached() -> None:
    async with dyno(says(OK), host="::1") as one, routed() as it:
        it.router.add(Backend("web.1", 1, "::1", one.port))
        assert await it.ask(GET) == OK
