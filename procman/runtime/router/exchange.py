"""One request's way: leased a dyno, sent, answered to the last byte, or failed with a code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from httptools import HttpResponseParser

from procman.core.codes import Access, Code, status_of
from procman.core.error_page import is_look
from procman.core.http_answer import LONGEST_HEAD, SWITCHING_PROTOCOLS, BadAnswer, judge_answer
from procman.core.http_body import BadBody
from procman.core.http_head import END, Framing, Glance, body_of
from procman.core.http_request import RequestHead
from procman.core.routing import Entry, Outage
from procman.runtime.router.log import RouterLog
from procman.runtime.router.tunnel import Tunnel
from procman.runtime.router.words import access, own_answer

if TYPE_CHECKING:
    from procman.core.http_body import Body
    from procman.runtime.router.client import Client
    from procman.runtime.router.router import Router
    from procman.runtime.router.upstream import DynoConnection, Upstream


# In CPython 3.11 a member of an enum takes 70 ns to look up, and a global 8.
_UNTIL_CLOSE = Framing.UNTIL_CLOSE
_ALL = RouterLog.ALL


class Exchange:
    """A request and its answer.

    A lease is held from `leased` to `_release`; between them exactly one of `_task`, which makes a
    connection, and `dyno` is there. Without slots: most requests set few of the attributes, and
    the class has the rest.
    """

    body: Body | None = None  # what is still to come of the request
    held = b""  # the first bytes of the body, waiting for a connection
    avoid: tuple[Entry, ...] = ()
    failure: Code | None = None  # why it is still not served
    dyno: DynoConnection | None = None
    _connect: float | None = None
    _lease: Entry | None = None
    _upstream: Upstream | None = None
    _task: asyncio.Task[None] | None = None
    _alarm: asyncio.TimerHandle | None = None
    _tunnel: Tunnel | None = None
    _broken_once = False
    _heard = False  # something of the answer has come from the dyno
    _status: int | None = None  # of the answer, once its head has gone to the client
    _answer: Body | None = None  # what is still to come of it
    _stays = False  # may the client ask again after it …
    _reusable = False  # … and the dyno be asked, on the same connections?
    _buffer = b""  # a head that is not whole
    _glance: Glance | None = None
    _sent = 0

    def __init__(
        self,
        router: Router,
        client: Client,
        head: RequestHead | None,
        forward: bytes,
        request_id: bytes,
        now: float,
    ) -> None:
        self.router = router
        self.client = client
        self.head = head  # None: a tunnel from the first byte on
        self.forward = forward
        self.request_id = request_id
        self.arrived = self._started = now

    # from the router

    def leased(self, entry: Entry, upstream: Upstream, now: float) -> None:
        """A dyno is ours: an idle connection to it when we may, else a fresh one."""
        self._lease = entry
        self._upstream = upstream
        idle = upstream.idle
        if idle and self.head is not None and self.head.repeatable and not self._broken_once:
            connection = idle.pop()
            connection.exchange = self
            self.dyno = connection
            connection.transport.write(self.forward)
            if self.router.request_timeout is not None:
                self._set_alarm(self.router.request_timeout)
            return
        self._started = now
        self._task = upstream.open(self)

    def connected(self, connection: DynoConnection) -> None:
        self._task = None
        if self._upstream is None:  # it was given up while the connection was made
            connection.abort()
            return
        self._connect = self.router.loop.time() - self._started
        self.router.accepted(self._upstream.entry)
        self._send(connection)

    def unreachable(self, *, timed_out: bool) -> None:
        """No byte of the request was seen: it may go elsewhere, or wait."""
        self._task = None
        entry = self._lease
        if entry is None:
            return
        self.failure = Code.H19 if timed_out else Code.H21
        self._avoid(entry)
        self.router.refused(entry)
        self._release(None)
        self.router.dispatch(self, self.router.loop.time())

    def _avoid(self, entry: Entry) -> None:
        if entry not in self.avoid:
            self.avoid = (*self.avoid, entry)

    def _send(self, connection: DynoConnection) -> None:
        self.dyno = connection
        connection.transport.write(self.forward)
        head = self.head
        if head is None:
            self._join(connection, b"")
            return
        if self.router.request_timeout is not None:
            self._set_alarm(self.router.request_timeout)
        if head.framing is not Framing.NONE:
            if self.held:
                connection.transport.write(self.held)
                self.held = b""
            self.client.hold_reading(False)

    def _set_alarm(self, timeout: float) -> None:
        self._alarm = self.router.loop.call_later(timeout, self._timed_out)

    def _timed_out(self) -> None:
        self._alarm = None
        self.fail(Code.H12)

    def dyno_sent(self, data: bytes) -> None:
        if self._answer is not None:
            self._pass_on(self._answer, data, b"")
            return
        if not self._heard:
            self._heard = True
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            if self._connect is not None and self.dyno is not None:
                self.dyno.upstream.heard_on(self.dyno, self.router.loop.time())
        if self._buffer:
            data = self._buffer + data
        while data:
            end = data.find(END) + 4
            if end < 4:
                self._wait_for_head(data)
                return
            rest = data[end:]
            if self._head_came(data[:end] if rest else data, rest):
                return
            data = rest
            self._buffer = b""
            self._glance = None

    def _wait_for_head(self, data: bytes) -> None:
        new = data[len(self._buffer) :]
        self._buffer = data
        if self._glance is None:
            self._glance, new = Glance(HttpResponseParser), data
        reason = self._glance.refuses(new)
        if reason:
            self.fail(Code.H17, detail=reason)
        elif len(data) > LONGEST_HEAD:
            self.fail(Code.H25, detail="the head of the answer is too long")

    def _head_came(self, raw: bytes, rest: bytes) -> bool:
        """Is this the answer's head? An interim one (1xx) is not it."""
        head = self.head
        client = self.client
        assert head is not None
        try:
            status, lines, framing, size, reusable = judge_answer(raw, head.asked)
        except BadAnswer as error:
            self.fail(Code.H17, detail=str(error))
            return True
        if status < 200:
            return self._interim(status, lines, rest)
        self._status = status
        if framing is _UNTIL_CLOSE or not client.keeps_alive(head):
            stays = False
            lines += b"Connection: close\r\n"
        else:
            stays = True
            if head.asked.minor == 0:
                lines += b"Connection: keep-alive\r\n"
        if size == len(rest):
            data = lines + b"\r\n" + rest
            self._sent += len(data)
            client.transport.write(data)
            self._finish(head, stays, reusable)
            return True
        self._stays = stays
        self._reusable = reusable
        body = self._answer = body_of(framing, size)
        if body is None:  # and bytes after it, which nobody asked for
            self._write(lines + b"\r\n")
            self._finish(head, stays, False)
        else:
            self._pass_on(body, rest, lines + b"\r\n")
        return True

    def _interim(self, status: int, lines: bytes, rest: bytes) -> bool:
        head = self.head
        assert head is not None
        if status == SWITCHING_PROTOCOLS:
            assert self.dyno is not None
            self._status = status
            self._write(lines + b"\r\n")
            self._join(self.dyno, rest)
            return True
        if status == 100:
            self.client.continued = True
        if head.asked.minor:
            self._write(lines + b"\r\n")
        return False

    def _pass_on(self, body: Body, data: bytes, lines: bytes) -> None:
        try:
            size = body.take(data)
        except BadBody as error:
            self.fail(Code.H18, detail=str(error))
            return
        whole = size == len(data)
        self._write(lines + body.put(data if whole else data[:size]))
        if body.done:
            assert self.head is not None
            self._finish(self.head, self._stays, self._reusable and whole)

    def _write(self, data: bytes) -> None:
        self._sent += len(data)
        self.client.transport.write(data)

    def dyno_lost(self, error: Exception | None) -> None:
        self.dyno = None
        head = self.head
        if head is None:
            self.fail(Code.H13)
        elif self._answer is not None and self._answer.until_close and error is None:
            self._finish(head, False, False)
        elif self._heard:
            self.fail(Code.H18)
        elif head.repeatable and not self._broken_once and self._lease is not None:
            self._broken_once = True
            self.failure = Code.H13
            self._avoid(self._lease)
            self._release(None)
            self._alarm = self.router.try_again(self)
        else:
            self.fail(Code.H13)

    # from the client

    def client_sent(self, data: bytes) -> bytes:
        """Takes what belongs to the request's body, and gives back the rest."""
        body = self.body
        if body is None or body.done:
            return data
        try:
            size = body.take(data)
        except BadBody as error:
            self.fail(Code.H26, detail=str(error))
            return b""
        mine = data if size == len(data) else data[:size]
        if self.dyno is not None:
            self.dyno.transport.write(mine)
        else:
            self.held += mine
            self.client.hold_reading(True)
        return b"" if mine is data else data[size:]

    def client_lost(self) -> None:
        """It has left: the dyno is told by a closed connection, the log by H27."""
        if self._lease is None:
            self.router.unpark(self)
            if self._alarm is not None:
                self._alarm.cancel()
        self._status = 499
        self._end(Code.H27)

    def hold_dyno(self, held: bool) -> None:
        """The client takes no more for now; or it does again."""
        if self.dyno is not None and not self.dyno.transport.is_closing():
            if held:
                self.dyno.transport.pause_reading()
            else:
                self.dyno.transport.resume_reading()

    # the end

    def cut(self) -> None:
        """The router closes, and has waited long enough."""
        if self._tunnel is not None:
            self._tunnel.abort()
        else:
            self.client.exchange = None
            self._end(Code.H24)

    def fail(self, code: Code, outage: Outage | None = None, *, detail: str = "") -> None:
        """Answered by ourselves; or cut off, when the dyno's answer has begun."""
        client = self.client
        head = self.head
        if self._status is not None or head is None:
            until_close = self._answer is not None and self._answer.until_close
            self._end(code, detail)
            client.cut_off(reset=until_close)
            return
        stays = code is not Code.H26 and head.asked.minor == 1 and client.keeps_alive(head)
        self._write(own_answer(code, outage, detail, head, self.forward, self.request_id, stays))
        self._status = status_of(code)
        self._end(code, detail)
        client.answered(self.body, stays)

    def _finish(self, head: RequestHead, stays: bool, reusable: bool) -> None:
        """The whole answer has gone to the client."""
        router = self.router
        if router.tells_of is _ALL:
            router.report(self._access(), None)
        connection = self.dyno
        lease = self._lease
        upstream = self._upstream
        assert lease is not None
        assert upstream is not None
        body = self.body
        now = router.loop.time()
        if connection is not None:
            self.dyno = None
            if reusable and (body is None or body.done):
                upstream.give_back(connection, self.client.writing_held, now)
            else:
                connection.abort()
        self._lease = self._upstream = None
        router.ended(lease, now)
        self.client.answered(body, stays)

    def _end(self, code: Code | None, detail: str = "") -> None:
        """It ended otherwise: the connection to the dyno, if there is one, is of no more use."""
        router = self.router
        if router.tells_of is RouterLog.ALL or (
            router.tells_of is RouterLog.ERRORS and code is not None and not is_look(self.forward)
        ):
            router.report(self._access(), code, detail)
        connection = self.dyno
        if connection is not None:
            self.dyno = None
            connection.abort()
        if self._lease is not None:
            self._release(router.loop.time())

    def _release(self, served: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        lease = self._lease
        assert lease is not None
        self._lease = self._upstream = None
        self.router.ended(lease, served)

    def _join(self, connection: DynoConnection, early: bytes) -> None:
        """From here on bytes, not messages."""
        client = self.client
        connection.exchange = None
        connection.upstream.heard_on(connection, self.router.loop.time())
        if early:
            self._write(early)
        waiting = client.surrender()
        if waiting:
            connection.transport.write(waiting)
        self._tunnel = Tunnel(
            client.transport, connection.transport, self._tunnel_ended, held=client.writing_held
        )

    def _tunnel_ended(self) -> None:
        assert self._tunnel is not None
        assert self.dyno is not None
        self._sent += self._tunnel.sent
        self.dyno.upstream.connections.discard(self.dyno)
        self.dyno = None
        self._end(None)
        self.client.exchange = None
        self.router.forget(self.client)

    def _access(self) -> Access:
        """What the log says of it."""
        return access(
            self.head,
            self.request_id,
            self.client.peer,
            self._lease.backend.dyno if self._lease else None,
            self._connect,
            self.router.loop.time() - self._started,
            self._status,
            self._sent,
        )
