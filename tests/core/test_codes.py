"""Heroku's codes, log lines and answers, word for word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from procman.core.codes import REASONS, Access, Code, log_line, status_of
from procman.core.error_page import MOST_LINES, answer, wants_page
from procman.core.routing import Outage

ACCESS = Access(
    method="GET",
    path="/a?b",
    host="localhost:5000",
    request_id="f9ed4675f1c53513c61a3b3b4e25b4c0",
    forwarded_for="127.0.0.1",
    dyno="web.1",
    connect=0.0012,
    service=0.0184,
    status=200,
    sent=13,
)


def test_a_request_that_was_served_is_a_line_of_herokus_form() -> None:
    assert log_line(ACCESS) == (
        'at=info method=GET path="/a?b" host=localhost:5000'
        ' request_id=f9ed4675f1c53513c61a3b3b4e25b4c0 fwd="127.0.0.1" dyno=web.1 connect=1ms'
        " service=18ms status=200 bytes=13 protocol=http"
    )


def test_a_request_that_was_not_served_has_its_code_and_empty_fields() -> None:
    access = replace(ACCESS, dyno=None, connect=None, service=None, status=503, sent=0)
    assert log_line(access, Code.H10) == (
        'at=error code=H10 desc="App crashed" method=GET path="/a?b" host=localhost:5000'
        ' request_id=f9ed4675f1c53513c61a3b3b4e25b4c0 fwd="127.0.0.1" dyno= connect= service='
        " status=503 bytes=0 protocol=http"
    )


def test_a_client_that_left_is_a_warning() -> None:
    line = log_line(replace(ACCESS, status=499), Code.H27)
    assert line.startswith('at=warning code=H27 desc="Client Request Interrupted" sock=client ')


def test_quotes_in_a_path_cannot_forge_fields() -> None:
    line = log_line(replace(ACCESS, path='/" status=200 x="\\'))
    assert 'path="/\\" status=200 x=\\"\\\\" host' in line


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_status_with_words(code: Code) -> None:
    status = status_of(code)
    assert status == {Code.H25: 502, Code.H26: 400, Code.H27: 499}.get(code, 503)
    assert status in REASONS or code is Code.H27


def test_a_page_shows_the_last_lines_escaped_and_without_control_sequences() -> None:
    lines = [b"line %d" % number for number in range(100)]
    lines.append(b"\x1b[1;31m<script>alert('x')</script>\x1b[0m\x07 \xff")
    outage = Outage(Code.H10, "web.1", "exited with status 1", lines, 3.2)
    head, body = answer(Code.H10, 503, outage, page=True, again=True, request_id="abc", close=False)
    text = body.decode()
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; \N{REPLACEMENT CHARACTER}" in text
    assert "\x1b" not in text
    assert "line 99" in text
    assert f"line {101 - MOST_LINES - 1}\n" not in text
    assert "web.1 exited with status 1." in text
    assert "It is started again in 4 s." in text
    assert "procman restart web.1" in text
    assert b"Retry-After: 4\r\n" in head
    due = answer(
        Code.H10,
        503,
        replace(outage, retry_in=0.0),
        page=True,
        again=True,
        request_id="a",
        close=False,
    )
    assert b"It is started again now." in due[1]
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (b"text/html,application/xhtml+xml,*/*;q=0.8", True),
        (b"Text/HTML", True),
        (b"*/*", False),
        (b"application/json", False),
        (None, False),
    ],
)
def test_only_who_asks_for_a_page_gets_one(accept: bytes | None, page: bool) -> None:
    line = b"" if accept is None else b"ACCEPT: " + accept + b"\r\n"
    assert wants_page(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n") is page


def test_an_outage_of_no_dyno_in_particular_is_told_in_a_sentence() -> None:
    remedy = "procman scale web=1"
    outage = Outage(Code.H14, status_line="web is scaled to 0", remedy=remedy)
    _, body = answer(Code.H14, 503, outage, page=False, again=True, request_id="", close=False)
    assert body.decode().splitlines()[1:] == [
        "web is scaled to 0.",
        "Start one with: procman scale web=1",
    ]
