"""The control socket's messages: any bytes give a request or a ProtocolError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.wire import (
    LONGEST,
    REQUESTS,
    VERSION,
    Request,
    encode,
    error_answer,
    parse_answer,
    parse_request,
    request,
)
from procman.errors import InputError, NotRunningError, ProcmanError, ProtocolError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["v", "do", *sorted({name for fields in REQUESTS.values() for name in fields})]
)
NEARLY = st.dictionaries(
    NAMES | st.text(max_size=4), JSON | st.sampled_from([VERSION, *REQUESTS]), max_size=6
)


def check(line: bytes) -> None:
    """A request whose fields can be read, or a ProtocolError of bearable length."""
    try:
        parsed = parse_request(line)
    except ProtocolError as error:
        assert len(error.message) < 300  # noqa: PT017  # either outcome is right
        return
    for name in REQUESTS[parsed.do]:
        assert all(isinstance(word, str) for word in parsed.words(name))
        assert parsed.flag(name) in (True, False)
        assert isinstance(parsed.number(name), (int, float, type(None)))
        assert isinstance(parsed.text(name), str)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_protocol_error(line: bytes) -> None:
    """Nothing that a client sends can hurt the app."""
    check(line)


@given(NEARLY)
def test_any_object_gives_a_request_or_a_protocol_error(message: dict[str, object]) -> None:
    """Wrong types in the right places, and right ones in the wrong."""
    check(json.dumps(message).encode())
    check(json.dumps({"v": VERSION, "do": "scale", **message}).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"1" * 5000,
        b"[" * 60_000,
        b'{"v":' * 10_000,
        b"x" * (LONGEST + 1),
        b'{"v":1,"do":"ps"}{"v":1,"do":"ps"}',
        b'{"v":1,"do":["ps"]}',
        b'{"v":true,"do":"\xff"}',
        b'{"v":2,"do":"ps"}',
        b'{"do":"ps"}',
        b'{"v":1}',
        b'{"v":1,"do":"format"}',
        b'{"v":1,"do":"ps","colour":1}',
        b'{"v":1,"do":"ps","targets":"web"}',
        b'{"v":1,"do":"ps","targets":[1]}',
        b'{"v":1,"do":"scale","wait":1}',
        b'{"v":1,"do":"signal","number":true}',
        b'{"v":1,"do":"attach","dyno":1}',
    ],
    ids=lambda line: repr(line[:24]),
)
def test_what_makes_no_sense_is_refused(line: bytes) -> None:
    """With a ProtocolError and no other."""
    with pytest.raises(ProtocolError):
        parse_request(line)


@pytest.mark.parametrize("number", ["1.5", "1e400", "NaN", "-Infinity"])
def test_a_whole_number_is_a_whole_number(number: str) -> None:
    """A signal of 1.5 has no meaning."""
    with pytest.raises(ProtocolError):
        parse_request(b'{"v":1,"do":"signal","number":%s}' % number.encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_a_time_is_finite(number: str) -> None:
    """No timer can be set to it."""
    with pytest.raises(ProtocolError):
        parse_request(b'{"v":1,"do":"wait","timeout":%s}' % number.encode())


def test_a_request_is_read_as_it_was_made_and_what_is_none_is_left_out() -> None:
    """One line each."""
    line = request("wait", targets=["web"], timeout=None)
    assert line.count(b"\n") == 1
    assert parse_request(line) == Request("wait", {"targets": ["web"]})
    assert parse_request(request("wait")).number("timeout") is None


def test_a_newline_within_a_message_is_no_end_of_it() -> None:
    """A line is a message, whatever it holds."""
    line = encode({"text": "one\ntwo\u2028three"})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


@pytest.mark.parametrize(
    "error",
    [
        InputError("unknown process type 'wob'", hint="did you mean 'web'?"),
        NotRunningError("it ended meanwhile"),
        ProcmanError("something"),
    ],
)
def test_an_error_arrives_as_it_was_raised(error: ProcmanError) -> None:
    """With its message, hint and exit status."""
    with pytest.raises(type(error)) as caught:
        parse_answer(error_answer(error))
    raised = caught.value
    assert (raised.message, raised.hint) == (error.message, error.hint)
    assert raised.exit_code == error.exit_code


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_an_answer_or_an_error(line: bytes) -> None:
    """An app of another version cannot crash the client."""
    try:
        assert parse_answer(line)["ok"] is True
    except ProcmanError as error:
        assert error.message  # noqa: PT017  # either outcome is right
