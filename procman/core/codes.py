"""Heroku's router errors as data, in its words: code, description, status.

Source: Dev Center "Heroku Error Codes" (August 2021) and heroku/vegur. Left out is what a router
on the developer's own machine cannot meet: H15 and H28 (its 55 s of silence would cut debuggers and
quiet streams), TLS, maintenance and plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Code(Enum):
    """Why a request was not served as it should have been."""

    H10 = "App crashed"
    H11 = "Backlog too deep"
    H12 = "Request timeout"
    H13 = "Connection closed without response"
    H14 = "No web processes running"
    H17 = "Poorly formatted HTTP response"
    H18 = "Server Request Interrupted"
    H19 = "Backend connection timeout"
    H20 = "App boot timeout"
    H21 = "Backend connection refused"
    H24 = "Forced close"
    H25 = "HTTP Restriction"
    H26 = "Request Error"
    H27 = "Client Request Interrupted"

    @property
    def description(self) -> str:
        """Heroku's words for it."""
        return self.value


_OTHER_STATUS = {
    Code.H25: 502,
    Code.H26: 400,
    Code.H27: 499,  # nginx's number for a client that left; nobody is there to read it
}

REASONS = {
    400: "Bad Request",
    405: "Method Not Allowed",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def status_of(code: Code) -> int:
    """The status that Heroku answers, or would log, with a code."""
    return _OTHER_STATUS.get(code, 503)


@dataclass(frozen=True, slots=True)
class Access:
    """What the router knows of one request when it is over; times in seconds, None for never."""

    method: str
    path: str
    host: str
    request_id: str
    forwarded_for: str
    dyno: str | None
    connect: float | None
    service: float | None
    status: int | None
    sent: int


def log_line(access: Access, code: Code | None = None, description: str | None = None) -> str:
    """A router line in Heroku's form; `description` says more than the code's own words."""
    if code is None:
        head = "at=info"
    else:
        level = "warning" if code is Code.H27 else "error"
        side = " sock=client" if code is Code.H27 else " sock=backend" if code is Code.H18 else ""
        said = description or code.description
        head = f'at={level} code={code.name} desc="{_quoted(said)}"{side}'
    return (
        f'{head} method={access.method} path="{_quoted(access.path)}" host={access.host}'
        f' request_id={access.request_id} fwd="{_quoted(access.forwarded_for)}"'
        f" dyno={access.dyno or ''} connect={_milliseconds(access.connect)}"
        f" service={_milliseconds(access.service)}"
        f" status={'' if access.status is None else access.status} bytes={access.sent}"
        " protocol=http"
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f}ms"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
