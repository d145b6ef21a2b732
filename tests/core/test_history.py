"""The history's form is read back as it was written, and lines are chosen from it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.history import file_name, first_line_of
from procman.core.recall import Batch, Selection, batches, begins_before, plain
from procman.core.style import SYSTEM, for_history

NOON = 1_795_435_201.123456  # 2026-11-23T12:00:01.123456 UTC
NOON_TEXT = "2026-11-23T12:00:01.123456+00:00"
DYNO = st.from_regex(r"[A-Za-z0-9_-]{1,9}\.[1-9][0-9]{0,2}", fullmatch=True)
TEXT = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b""))


def history(*batches_of: tuple[str, list[bytes]], now: float = NOON) -> bytes:
    """What the sink writes for some batches, a microsecond apart."""
    return b"".join(
        for_history(b"".join(text + b"\n" for text in texts), source, now + index / 1e6)
        for index, (source, texts) in enumerate(batches_of)
    )


@given(st.lists(st.tuples(DYNO | st.just(SYSTEM), st.lists(TEXT, min_size=1)), max_size=8))
def test_what_was_written_is_read_back_whatever_bytes_it_holds(
    written: list[tuple[str, list[bytes]]],
) -> None:
    """Sources and texts, in order, to the last byte."""
    read = [(batch.source, batch.texts) for batch in batches(history(*written))]
    assert read == written


def test_a_line_has_herokus_form() -> None:
    """`app[web.1]` for dynos, `procman` for our own."""
    assert history(("web.1", [b"one"])) == f"{NOON_TEXT} app[web.1]: one\n".encode()
    assert list(batches(history((SYSTEM, [b"hi"])))) == [Batch(NOON_TEXT, SYSTEM, [b"hi"])]


def test_a_text_that_imitates_the_form_stays_a_text() -> None:
    """No dyno speaks in another's name."""
    forged = for_history(b"x\n", "web.2", NOON)[:-1]
    assert [batch.source for batch in batches(history(("web.1", [forged, forged])))] == ["web.1"]


def test_lines_of_no_known_form_are_left_out() -> None:
    """Somebody has edited the file."""
    lines = b"nonsense\n" + history(("a.1", [b"x"])) + b"\n2026 y\n" + history(("b.1", [b"z"]))
    assert [batch.texts for batch in batches(lines)] == [[b"x"], [b"z"]]


def test_no_lines_are_no_batches() -> None:
    """An empty read."""
    assert list(batches(b"")) == []


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("000000000000.log", 0),
        ("000000012345.log", 12345),
        ("1234567890123.log", 1234567890123),
        ("12345.log", None),
        ("000000000000", None),
        ("000000000000.log.gz", None),
        ("-00000000001.log", None),
        ("\u0660" * 12 + ".log", None),
        (".gitignore", None),
    ],
)
def test_a_file_is_named_by_the_number_of_its_first_line(name: str, first: int | None) -> None:
    """What is none of ours is left alone."""
    assert first_line_of(name) == first
    if first is not None:
        assert file_name(first) == name


WRITTEN = history(
    ("web.1", [b"one", b"\x1b[31mError\x1b[0m two"]),
    ("web.2", [b"Error three"]),
    ("worker.1", [b"four"]),
    (SYSTEM, [b"web.1 crashed, status 3", b"SIGINT received"]),
)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), [b"one", b"two", b"three", b"four", b"crashed", b"SIGINT"]),
        (Selection(("web",)), [b"one", b"two", b"three", b"crashed"]),
        (Selection(("web.1",)), [b"one", b"two", b"crashed"]),
        (Selection(("w*",)), [b"one", b"two", b"three", b"four", b"crashed"]),
        (Selection(("worker", "web.2")), [b"three", b"four"]),
        (Selection((SYSTEM,)), [b"crashed", b"SIGINT"]),
        (Selection(("we",)), []),
        (Selection(grep=re.compile("^Error")), [b"two", b"three"]),
        (Selection(("web.2",), grep=re.compile("Error")), [b"three"]),
        (Selection(since=NOON_TEXT[:-7] + "8+00:00"), [b"four", b"crashed", b"SIGINT"]),
        (Selection(since="2027"), []),
    ],
    ids=repr,
)
def test_lines_are_chosen_by_who_when_and_what(selection: Selection, wanted: list[bytes]) -> None:
    """A dyno's lines include what procman says of it."""
    chosen = [text for batch in batches(WRITTEN) for text in selection.choose(batch)]
    assert len(chosen) == len(wanted)
    assert all(word in text for word, text in zip(wanted, chosen, strict=True))
    assert selection.count(WRITTEN) == len(wanted)


def test_the_age_of_a_block_is_its_first_lines() -> None:
    """So that a search backwards knows when to stop."""
    assert begins_before(WRITTEN, "2027")
    assert not begins_before(WRITTEN, NOON_TEXT)
    assert not begins_before(b"nonsense\n", "2027")


def test_colours_do_not_hide_words() -> None:
    """Bytes that are no UTF-8 hide nothing either."""
    assert plain(b"\x1b[1;31mred\x1b[0m \xff") == "red �"
