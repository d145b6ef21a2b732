"""One connection from a client: cuts requests from its bytes, one exchange at a time."""

from __future__ import annotations

import asyncio
import socket
import struct
from time import time
from typing import TYPE_CHECKING, cast

from httptools import HttpRequestParser

from procman.core.codes import Code
from procman.core.http_body import Body
from procman.core.http_head import END, LONGEST_REMEMBERED, Framing, Glance, body_of
from procman.core.http_request import (
    LONGEST_HEAD,
    PREFACE,
    REQUESTS,
    BadRequest,
    RequestHead,
    judge_request,
)
from procman.runtime.router.exchange import Exchange
from procman.runtime.router.leftover import LeftOver, Linger
from procman.runtime.router.peer import is_there
from procman.runtime.router.words import refusal_access, refusal_answer

if TYPE_CHECKING:
    from procman.runtime.router.router import Router

MOST_PIPELINED = 65536  # bytes that wait behind a request; more stay in the kernel
LOOK_AGAIN = 1.0  # seconds between looks at a client that sends no more


# In CPython 3.11 a member of an enum takes 70 ns to look up, and a global 8.
_NONE = Framing.NONE
_known = REQUESTS.get


class Client(asyncio.Protocol):
    """A client's connection. Pipelined requests wait in `buffer` and are served in order."""

    __slots__ = (
        "_advancing",
        "_forwarded",
        "_glance",
        "_glanced",
        "_half_closed",
        "_reading",
        "buffer",
        "continued",
        "dyno_full",
        "exchange",
        "peer",
        "router",
        "transport",
        "writing_held",
    )

    transport: asyncio.Transport

    def __init__(self, router: Router) -> None:
        self.router = router
        self.exchange: Exchange | None = None
        self.buffer = b""
        self.continued = False  # the client was told to send its body
        self.writing_held = False
        self._glance: Glance | None = None
        self._glanced = 0
        self._advancing = False
        self._reading = True
        self.dyno_full = False  # and takes no more of the body for now
        self._half_closed = False  # it sends no more, but waits for the answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else "unknown"
        self._forwarded = (
            b"%b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: %d\r\nVia: 1.1 procman\r\n"
            b"X-Request-Id: " % (self.peer.encode(), self.router.port)
        )
        self.router.clients.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is not None:
            self._more_came(exchange, data)
            return
        # Most often exactly one head comes, and is known; what follows is for all the other cases.
        if not self.buffer and not self.writing_held:
            known = _known(data) if len(data) <= LONGEST_REMEMBERED else None
            if known is not None:
                self._start(known)
                return
        self.buffer = self.buffer + data if self.buffer else data
        self._advance()

    def _more_came(self, exchange: Exchange, data: bytes) -> None:
        rest = exchange.client_sent(data)
        if rest:
            self.buffer += rest
            self._look_at_reading()
        if self.exchange is None:
            self._advance()

    def eof_received(self) -> bool:
        """It will send no more: has it left, or does it wait for the answer?"""
        if self.exchange is None:
            if not (self.writing_held and self.buffer):  # a request that waits to be started
                return False
        elif self.exchange.body is not None and not self.exchange.body.done:
            return False
        self._half_closed = is_there(self.transport)
        if self._half_closed:
            self.router.loop.call_later(LOOK_AGAIN, self._look_again)
        return self._half_closed

    def _look_again(self) -> None:
        """Now that it sends no more, its end would not be noticed before we write."""
        if self.transport.is_closing():
            return
        if is_there(self.transport):
            self.router.loop.call_later(LOOK_AGAIN, self._look_again)
        else:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        exchange = self.exchange
        self.exchange = None
        self.router.forget(self)
        if exchange is not None:
            exchange.client_lost()

    def pause_writing(self) -> None:
        self.writing_held = True
        if self.exchange is not None:
            self.exchange.hold_dyno(True)

    def resume_writing(self) -> None:
        self.writing_held = False
        if self.exchange is not None:
            self.exchange.hold_dyno(False)
        else:
            self._advance()

    def hold_reading(self, held: bool) -> None:
        """The dyno takes no more of the body for now; or it does again."""
        self.dyno_full = held
        self._look_at_reading()

    def _look_at_reading(self) -> None:
        wanted = not self.dyno_full and len(self.buffer) <= MOST_PIPELINED
        if wanted is self._reading or self.transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # requests

    def _advance(self) -> None:
        """Starts the next request, and the next one where the answer came at once."""
        if self._advancing:
            return
        self._advancing = True
        while (
            self.buffer
            and self.exchange is None
            and not self.writing_held
            and not self.transport.is_closing()
            and self._start_next()
        ):
            pass
        self._advancing = False
        if self._half_closed and self.exchange is None and not self.writing_held:
            self.transport.close()  # what is left can never become a request
        elif not self._reading:
            self._look_at_reading()

    def _start_next(self) -> bool:
        """Is there a whole head in the buffer?"""
        buffer = self.buffer
        end = buffer.find(END) + 4
        if end < 4 or end > LONGEST_HEAD:
            return self._odd_start() or self._wait_for_head()
        self.buffer = buffer[end:]
        try:
            head = judge_request(buffer[:end] if self.buffer else buffer)
        except BadRequest as refusal:
            self.buffer = buffer
            if self._odd_start():
                return True
            # The first half of HTTP/2's preface looks like a request.
            return False if PREFACE.startswith(buffer) else self._refuse(refusal)
        if self._glance is not None:
            self._glance = None
        self._start(head)
        return True

    def _odd_start(self) -> bool:
        """Empty lines before a request (RFC 9112 2.2), or HTTP/2 with prior knowledge."""
        buffer = self.buffer
        if buffer.startswith(b"\r\n"):
            self.buffer = buffer[2:]
            return True
        if not buffer.startswith(PREFACE):
            return False
        self.buffer = b""
        now = self.router.loop.time()
        exchange = self.exchange = Exchange(self.router, self, None, buffer, b"", now)
        self.hold_reading(True)
        self.router.dispatch(exchange, now)
        return True

    def _wait_for_head(self) -> bool:
        buffer = self.buffer
        self.router.first_byte()
        if len(buffer) > LONGEST_HEAD:
            return self._refuse(BadRequest("the head is too long", 431))
        if buffer == b"\r" or PREFACE.startswith(buffer):
            return False
        if self._glance is None:
            self._glance, self._glanced = Glance(HttpRequestParser), 0
        reason = self._glance.refuses(buffer[self._glanced :])
        self._glanced = len(buffer)
        if buffer[0] in b"\r\n":
            reason = "a bare line end before the request"
        return self._refuse(BadRequest(reason)) if reason else False

    def _start(self, head: RequestHead) -> None:
        router = self.router
        now = router.loop.time()
        router.requests += 1
        request_id = head.request_id or b"%b%016x" % (router.id, router.requests)
        if now != router.stamped:
            router.stamped = now
            router.stamp = b"\r\nX-Request-Start: %d\r\n\r\n" % (time() * 1000)
        forward = b"".join((head.lines, self._forwarded, request_id, router.stamp))
        exchange = self.exchange = Exchange(router, self, head, forward, request_id, now)
        if head.framing is not _NONE:
            exchange.body = body_of(head.framing, head.size)
            self.continued = not head.expects
            if self.buffer:
                # Judged before anything is sent: of a body that is broken here, no dyno hears.
                data, self.buffer = self.buffer, b""
                self.buffer = exchange.client_sent(data)
                if self.exchange is not exchange:
                    return
        router.dispatch(exchange, now)

    def keeps_alive(self, head: RequestHead) -> bool:
        """Can another request follow the answer that is about to be sent?"""
        if not head.keep_alive or self.router.closing or (self._half_closed and not self.buffer):
            return False
        # A client that waits for its 100 may send its body or not: what follows is unclear.
        if head.framing is _NONE or self.continued:
            return True
        exchange = self.exchange
        return exchange is None or exchange.body is None or exchange.body.done

    def answered(self, body: Body | None, stays: bool) -> None:
        """The last byte of an answer is written; `body` is the request's, perhaps not all of it."""
        self.exchange = None
        if body is not None:
            self.dyno_full = False
            if not body.done:
                self._leave_unread(body, stays)
                return
            self._look_at_reading()  # the dyno may have gone with its buffer full
        if not stays:
            self.transport.close()
        elif self.buffer or self._half_closed:
            self._advance()

    def _leave_unread(self, body: Body, stays: bool) -> None:
        """The dyno did not want all of it: the client sends on, and nobody listens."""
        if not stays:
            self._linger()
            return
        self.transport.set_protocol(LeftOver(self, body))
        self._look_at_reading()

    def go_on(self, data: bytes) -> None:
        """Nothing is left over: requests again."""
        self.transport.set_protocol(self)
        self.buffer = data
        self._advance()

    def surrender(self) -> bytes:
        """What came early, to the tunnel that takes the connection over."""
        waiting, self.buffer = self.buffer, b""
        return waiting

    def close_when_idle(self) -> None:
        """The router closes: an idle connection goes now, a busy one after its answer."""
        if self.exchange is None:
            self.transport.close()

    def cut(self) -> None:
        """The router closes, and has waited long enough."""
        if self.exchange is not None:
            self.exchange.cut()
        self.transport.abort()

    def cut_off(self, *, reset: bool) -> None:
        """In the middle of an answer: `reset` where its end is the end of the connection."""
        if reset:
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # what is not served

    def _refuse(self, refusal: BadRequest) -> bool:
        said = refusal_answer(refusal)
        self.transport.write(said)
        if self.router.tells_of is not None:
            access = refusal_access(refusal, self.peer, len(said))
            self.router.report(access, Code.H26, refusal.reason)
        return self._linger()

    def _linger(self) -> bool:
        self.buffer = b""
        self.transport.set_protocol(Linger(self))
        self._look_at_reading()
        return False
