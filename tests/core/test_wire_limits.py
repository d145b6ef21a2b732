"""How large and how deep a message of the control socket may be."""

from __future__ import annotations

import pytest

from procman.core.wire import LONGEST, encode, error_answer, parse_answer, parse_request
from procman.errors import ProtocolError


def test_an_answer_may_be_larger_than_a_request_may() -> None:
    """`ps` of a thousand dynos is half a megabyte."""
    answer = {"ok": True, "dynos": ["a" * 500] * 1000}
    assert parse_answer(encode(answer)) == answer


def test_a_request_may_not_fill_our_memory() -> None:
    """Blanks are bytes as well."""
    with pytest.raises(ProtocolError, match=f"more than {LONGEST} bytes"):
        parse_request(b'{"v":1,"do":"ps"}' + b" " * LONGEST + b"\n")


@pytest.mark.parametrize("depth", range(100, 1000, 50))
@pytest.mark.parametrize(
    "place", ['{"v":%s,"do":"ps"}', '{"v":1,"do":%s}', '{"v":1,"do":"ps","x":%s}']
)
def test_a_message_as_deep_as_python_can_read_is_refused_in_few_words(
    place: str, depth: int
) -> None:
    """What can be read can be deeper than what can be shown."""
    line = (place % ("[" * depth + "]" * depth)).encode() + b"\n"
    with pytest.raises(ProtocolError) as caught:
        parse_request(line)
    assert len(error_answer(caught.value)) < 1000
