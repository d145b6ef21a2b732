"""What the router itself says: to a client in an answer, to the log in a line."""

from __future__ import annotations

from procman.core.codes import Access, Code, status_of
from procman.core.error_page import answer, wants_page
from procman.core.http_request import BadRequest, RequestHead
from procman.core.routing import Outage


def own_answer(
    code: Code,
    outage: Outage | None,
    detail: str,
    head: RequestHead,
    forward: bytes,
    request_id: bytes,
    stays: bool,
) -> bytes:
    """The answer to a request that no dyno has answered."""
    said, body = answer(
        code,
        status_of(code),
        outage,
        detail=detail,
        page=wants_page(forward),
        again=head.method == b"GET",
        request_id=request_id.decode(),
        close=not stays,
    )
    return said if head.asked.head else said + body


def refusal_answer(refusal: BadRequest) -> bytes:
    """The answer to what is no request."""
    said, body = answer(
        Code.H26,
        refusal.status,
        None,
        detail=f"The request was refused: {refusal.reason}.",
        page=False,
        again=False,
        request_id="",
        close=True,
    )
    return said + body


def refusal_access(refusal: BadRequest, peer: str, sent: int) -> Access:
    """What the log says of it: of the request itself, nothing can be said."""
    return Access(
        method="",
        path="",
        host="",
        request_id="",
        forwarded_for=peer,
        dyno=None,
        connect=None,
        service=None,
        status=refusal.status,
        sent=sent,
    )


def access(
    head: RequestHead | None,
    request_id: bytes,
    peer: str,
    dyno: str | None,
    connect: float | None,
    service: float,
    status: int | None,
    sent: int,
) -> Access:
    """What the log says of a request; without a head it is HTTP/2 with prior knowledge."""
    chain = head.forwarded_for.decode("latin-1") if head else ""
    return Access(
        method=head.method.decode() if head else "PRI",
        path=head.target.decode("latin-1") if head else "*",
        host=head.host.decode("latin-1") if head else "",
        request_id=request_id.decode(),
        forwarded_for=f"{chain}, {peer}" if chain else peer,
        dyno=dyno,
        connect=connect if dyno else None,
        service=service if dyno else None,
        status=status,
        sent=sent,
    )
