"""One connection to a dyno: cuts the answers from its bytes for the exchange that holds it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING, cast

from httptools import HttpResponseParser

from procman.core.codes import Code
from procman.core.http_answer import LONGEST_HEAD, BadAnswer, judge_answer
from procman.core.http_body import BadBody
from procman.core.http_head import END, Glance, body_of

if TYPE_CHECKING:
    from procman.core.http_body import Body
    from procman.runtime.router.exchange import Exchange
    from procman.runtime.router.upstream import Upstream


READ_AT_ONCE = 65536


class DynoConnection(asyncio.Protocol):
    """Between two answers it lies in its upstream's pool, when it may be used again."""

    __slots__ = (
        "_body",
        "_buffer",
        "_glance",
        "_glanced",
        "_reusable",
        "exchange",
        "fresh",
        "heard",
        "idle_since",
        "made",
        "transport",
        "upstream",
    )

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self.made = False
        self.fresh = True  # nothing has ever come
        self.heard = False  # something of the answer has come
        self._body: Body | None = None  # what is still to come of it
        self._reusable = False  # may the dyno be asked again after it?
        self._buffer = b""  # a head that is not whole
        self._glance: Glance | None = None
        self._glanced = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.made = True
        self.upstream.connections.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # bytes that nobody asked for: the next answer could not be trusted
            self._leave_pool()
            self.transport.abort()
            return
        if self._body is not None:
            self._pass_on(exchange, self._body, data, b"")
            return
        if not self.heard:
            self.heard = True
            if exchange.alarm is not None:
                exchange.quiet_alarm()
            if self.fresh:
                self.fresh = False
                self.upstream.heard_on(self, self.upstream.router.loop.time())
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while data:
            end = data.find(END) + 4
            if end < 4:
                self._wait_for_head(exchange, data)
                return
            self._glance = None
            rest = data[end:]
            if self._head_came(exchange, data[:end] if rest else data, rest):
                return
            data = rest

    def _wait_for_head(self, exchange: Exchange, data: bytes) -> None:
        if self._glance is None:
            self._glance, self._glanced = Glance(HttpResponseParser), 0
            self._acknowledge()
        reason = self._glance.refuses(data[self._glanced :])
        self._buffer, self._glanced = data, len(data)
        if reason:
            exchange.fail(Code.H17, detail=reason)
        elif len(data) > LONGEST_HEAD:
            exchange.fail(Code.H25, detail="the head of the answer is too long")

    def _head_came(self, exchange: Exchange, raw: bytes, rest: bytes) -> bool:
        """Is this the answer's head? An interim one (1xx) is not it."""
        head = exchange.head
        assert head is not None
        try:
            answer = judge_answer(raw, head.asked)
        except BadAnswer as error:
            exchange.fail(Code.H17, detail=str(error))
            return True
        if answer.status < 200:
            return exchange.interim(answer, rest)
        start = exchange.begin(head, answer)
        if answer.size == len(rest):
            self.heard = False
            exchange.finish(start + rest, answer.keep_alive)
            return True
        self._reusable = answer.keep_alive
        body = self._body = body_of(answer.framing, answer.size)
        if body is None:  # and bytes after it, which nobody asked for
            exchange.finish(start, False)
        else:
            self._pass_on(exchange, body, rest, start)
            if self._body is not None:
                self._acknowledge()
        return True

    def _acknowledge(self) -> None:
        """A server that writes head and body apart waits in between, by Nagle's algorithm, for the
        head to be acknowledged, which on a connection in use the kernel puts off: measured, 45 ms
        for each answer of Python's `http.server`, and 3 ms so.
        """
        if sys.platform == "linux" and not self.transport.is_closing():
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _pass_on(self, exchange: Exchange, body: Body, data: bytes, start: bytes) -> None:
        try:
            size = body.take(data)
        except BadBody as error:
            exchange.fail(Code.H18, detail=str(error))
            return
        whole = size == len(data)
        passed = start + body.put(data if whole else data[:size])
        if body.done:
            self._body = None
            self.heard = False
            exchange.finish(passed, self._reusable and whole)
        else:
            exchange.write(passed)

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._read_the_rest()
        upstream = self.upstream
        upstream.connections.discard(self)
        upstream.unwatch(self)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.dyno_lost(self, error)
        else:
            self._leave_pool()

    def _read_the_rest(self) -> None:
        """A server that answers and closes before it has read the whole body resets the connection,
        and our next write fails with that before its answer was read: which is still there.
        """
        descriptor = self.transport.get_extra_info("socket").fileno()
        try:
            while self.exchange is not None and (data := os.read(descriptor, READ_AT_ONCE)):
                self.data_received(data)
        except OSError:
            pass  # now it has been read

    def eof_received(self) -> None:
        """It will not answer again."""
        if self.exchange is None:
            self._leave_pool()

    def _leave_pool(self) -> None:
        if self in self.upstream.idle:
            self.upstream.idle.remove(self)

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.hold_client(True)

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.hold_client(False)

    def abort(self) -> None:
        """Closed at once; nobody hears of it."""
        self.exchange = None
        self.transport.abort()
