"""One request's way: leased a dyno, sent, answered to the last byte, or failed with a code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from procman.core.codes import Access, Code, status_of
from procman.core.error_page import is_look
from procman.core.http_answer import SWITCHING_PROTOCOLS, AnswerHead
from procman.core.http_body import BadBody
from procman.core.http_head import Framing
from procman.core.http_request import RequestHead
from procman.core.routing import Entry, Outage
from procman.runtime.router.log import RouterLog
from procman.runtime.router.tunnel import Tunnel
from procman.runtime.router.words import access, own_answer

if TYPE_CHECKING:
    from procman.core.http_body import Body
    from procman.runtime.router.client import Client
    from procman.runtime.router.connection import DynoConnection
    from procman.runtime.router.router import Router
    from procman.runtime.router.upstream import Upstream


# In CPython 3.11 a member of an enum takes 70 ns to look up, and a global 8.
_NONE = Framing.NONE
_UNTIL_CLOSE = Framing.UNTIL_CLOSE
_DECODED = Framing.DECODED
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
    _task: asyncio.Task[None] | None = None
    alarm: asyncio.TimerHandle | None = None
    _tunnel: Tunnel | None = None
    _broken_once = False
    _status: int | None = None  # of the answer, once its head has gone to the client
    _until_close = False  # the answer ends with the dyno's connection
    _unmarked = False  # only the end of the client's connection tells it where the answer ends
    _is_endless = False  # the answer has no end of its own
    _stays = True  # may the client ask again after it?
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
        idle = upstream.idle
        if idle and self.head is not None and self.head.repeatable and not self._broken_once:
            connection = idle.pop()
            connection.exchange = self
            self.dyno = connection
            connection.transport.write(self.forward)
            if self.router.request_timeout is not None:
                self._expect_answer()
            return
        self._started = now
        self._task = upstream.open(self)

    def connected(self, connection: DynoConnection) -> None:
        self._task = None
        if self._lease is None:  # it was given up while the connection was made
            connection.abort()
            return
        self._connect = self.router.loop.time() - self._started
        self.router.accepted(self._lease)
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
        head = self.head
        if head is not None and head.framing is not _NONE:
            self.client.hold_reading(False)
        connection.transport.write(self.forward + self.held)
        self.held = b""
        if head is None:
            self._join(connection, b"")
        else:
            self._expect_answer()

    def _expect_answer(self) -> None:
        """The dyno's time for an answer runs from when it has the whole request, as on Heroku; and
        while it takes no more of it, where Heroku's router would go on and buffer.
        """
        timeout = self.router.request_timeout
        if timeout is None or self._status is not None:
            return
        self.quiet_alarm()
        if self.client.dyno_full or self.body is None or self.body.done:
            self.alarm = self.router.loop.call_later(timeout, self._timed_out)

    def _timed_out(self) -> None:
        self.alarm = None
        self.fail(Code.H12)

    def quiet_alarm(self) -> None:
        """No time is running any more: the dyno answers, or the lease is over."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    # from the dyno

    def interim(self, answer: AnswerHead, rest: bytes) -> bool:
        """A head before the answer's: is it the last, since what follows is another protocol?"""
        head = self.head
        assert head is not None
        if answer.status == SWITCHING_PROTOCOLS:
            assert self.dyno is not None
            self._status = answer.status
            self.write(answer.lines + b"\r\n")
            self._join(self.dyno, rest)
            return True
        if answer.status == 100:
            self.client.continued = True
        if head.asked.minor:
            self.write(answer.lines + b"\r\n")
        self._expect_answer()
        return False

    def begin(self, head: RequestHead, answer: AnswerHead) -> bytes:
        """The head of the answer, as the client is to be sent it."""
        self._status = answer.status
        if self.alarm is not None:  # set again by an interim answer
            self.quiet_alarm()
        if answer.endless:
            self._become_endless()
        framing = answer.framing
        if framing is _UNTIL_CLOSE or framing is _DECODED:
            self._until_close = framing is _UNTIL_CLOSE
            self._unmarked = True
        if self._unmarked or not self.client.keeps_alive(head):
            self._stays = False
            return answer.lines + b"Connection: close\r\n\r\n"
        if head.asked.minor:
            return answer.lines + b"\r\n"
        return answer.lines + b"Connection: keep-alive\r\n\r\n"

    def write(self, data: bytes) -> None:
        """A piece of the answer."""
        self._sent += len(data)
        self.client.transport.write(data)

    def dyno_lost(self, connection: DynoConnection, error: Exception | None) -> None:
        """Its connection is closed: by itself, or by `error`."""
        self.dyno = None
        head = self.head
        if head is None:
            self.fail(Code.H13)
        elif self._until_close and error is None:
            self.finish(b"", False)
        elif connection.heard:
            self.fail(Code.H18)
        elif head.repeatable and not self._broken_once and self._lease is not None:
            self._broken_once = True
            self.failure = Code.H13
            self._avoid(self._lease)
            self._release(None)
            self.alarm = self.router.try_again(self)
        else:
            self.fail(Code.H13)

    def hold_client(self, held: bool) -> None:
        """The dyno takes no more of the body for now; or it does again."""
        self.client.hold_reading(held)
        self._expect_answer()

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
            self._expect_answer()
        else:
            self.held += mine
            # A client that has sent all is read on: that it leaves is to be noticed.
            self.client.hold_reading(not body.done)
        return b"" if mine is data else data[size:]

    def client_lost(self) -> None:
        """It has left: the dyno is told by a closed connection, the log by H27."""
        if self._lease is None:
            self.router.unpark(self)
            self.quiet_alarm()
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
            client.exchange = None  # it does not leave: it is left
            self._end(code, detail)
            client.cut_off(reset=self._unmarked)
            return
        stays = code is not Code.H26 and head.asked.minor == 1 and client.keeps_alive(head)
        self.write(own_answer(code, outage, detail, head, self.forward, self.request_id, stays))
        self._status = status_of(code)
        self._end(code, detail)
        client.answered(self.body, stays)

    def finish(self, data: bytes, reusable: bool) -> None:
        """The last piece of the answer; may the dyno be asked again on the same connection?"""
        router = self.router
        client = self.client
        if data:
            client.transport.write(data)
        if router.tells_of is _ALL:
            self._sent += len(data)
            router.report(self._access(), None)
        lease = self._lease
        assert lease is not None
        self._lease = None
        now = router.loop.time()
        connection = self.dyno
        body = self.body
        if connection is not None:
            self.dyno = None
            if reusable and (body is None or body.done):
                connection.upstream.give_back(connection, client.writing_held, now)
            else:
                connection.abort()
        router.ended(lease, now, endless=self._is_endless)
        client.answered(body, self._stays)

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
        self.quiet_alarm()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        lease = self._lease
        assert lease is not None
        self._lease = None
        self.router.ended(lease, served, endless=self._is_endless)

    def _become_endless(self) -> None:
        assert self._lease is not None
        self._is_endless = True
        self.router.became_endless(self._lease)

    def _join(self, connection: DynoConnection, early: bytes) -> None:
        """From here on bytes, not messages."""
        self.quiet_alarm()  # set again by an interim answer before the last
        self._become_endless()
        client = self.client
        connection.exchange = None
        connection.upstream.unwatch(connection)
        if early:
            self.write(early)
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
