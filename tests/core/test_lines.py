"""Lines come out as they went in, however they were cut; a shared screen cannot be wrecked."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core import lines as module
from procman.core.lines import LONGEST_LINE, Cutter, put_prefix, tame

CHUNKS = st.lists(st.binary(max_size=60), max_size=20)
LINEY = st.lists(st.sampled_from([b"a", b"\n", b"bc", b"\n\n", b"\xff\x00", b"\r"]), max_size=40)


def through(chunks: Sequence[bytes]) -> bytes:
    """All that a cutter hands on, the unfinished line at the end included."""
    cutter = Cutter()
    handed = []
    for chunk in chunks:
        lines = cutter.cut(chunk)
        assert lines == b"" or lines.endswith(b"\n")
        handed.append(lines)
    return b"".join(handed) + cutter.flush()


def ended(data: bytes) -> bytes:
    """With a newline at the end, as an unfinished line is shown."""
    return data if not data or data.endswith(b"\n") else data + b"\n"


@given(CHUNKS | LINEY)
def test_any_bytes_cut_at_any_places_come_out_equal(chunks: list[bytes]) -> None:
    """Nothing is lost, added or reordered."""
    assert through(chunks) == ended(b"".join(chunks))


@given(LINEY)
def test_a_line_is_handed_on_as_soon_as_it_is_complete(chunks: list[bytes]) -> None:
    """Only what follows the last newline waits."""
    cutter, seen, handed = Cutter(), b"", b""
    for chunk in chunks:
        seen += chunk
        handed += cutter.cut(chunk)
        assert handed == seen[: seen.rfind(b"\n") + 1]


def in_pieces(data: bytes, longest: int) -> bytes:
    """The rule for long lines, written plainly: a newline after every `longest` bytes of a line."""
    pieces = []
    for line in data.split(b"\n"):
        cuts = range(0, len(line), longest)
        pieces.append(b"\n".join(line[at : at + longest] for at in cuts))
    return b"\n".join(pieces)


@given(st.lists(st.text("ab\n", max_size=16).map(str.encode), max_size=12))
def test_a_line_longer_than_the_longest_is_cut_there_wherever_the_reads_ended(
    chunks: list[bytes],
) -> None:
    """Where it is cut depends on the line alone. A read is never longer than a longest line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONGEST_LINE", 16)
        assert through(chunks) == in_pieces(ended(b"".join(chunks)), 16)


@pytest.mark.parametrize("more", [0, 1, 5])
def test_the_longest_line_is_one_mebibyte_exactly(more: int) -> None:
    """That long it is whole; a byte more is a line of its own."""
    line = b"x" * (LONGEST_LINE + more)
    data = line + b"\nnext\n"
    chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    sizes = [len(part) for part in through(chunks).split(b"\n")]
    assert sizes == [LONGEST_LINE, *([more] if more else []), 4, 0]


def test_a_line_without_end_takes_no_memory_without_end() -> None:
    """At no time more than a longest line and a read is held."""
    cutter = Cutter()
    for _ in range(100):
        cutter.cut(b"x" * 65536)
        assert len(cutter.rest) <= LONGEST_LINE


@given(LINEY, st.binary(max_size=8).filter(lambda prefix: b"\n" not in prefix))
def test_every_line_has_the_prefix_once(chunks: list[bytes], prefix: bytes) -> None:
    """Empty lines as well."""
    lines = b"".join(chunks) + b"\n"
    wanted = b"".join(prefix + line + b"\n" for line in lines[:-1].split(b"\n"))
    assert put_prefix(lines, prefix) == wanted


# --- a screen that many share ---


@pytest.mark.parametrize(
    "kept",
    [
        b"plain\n",
        b"tab\tand \xc3\xa9\xe2\x9c\x93\xf0\x9f\x98\x80\n",
        b"\xff\xfe no utf-8 \xc2\n",
        b"\x1b[31mred\x1b[0m \x1b[1;38;5;208morange\x1b[m \x1b[38:2::1:2:3mrgb\x1b[39m\n",
        b"\x1b]8;;http://localhost:5000/\x1b\\link\x1b]8;;\x1b\\\n",
        b"\x1b]8;id=1;http://localhost:5000/\x07link\x1b]8;;\x07\n",
    ],
)
def test_text_colours_and_hyperlinks_stay(kept: bytes) -> None:
    """Both endings of a hyperlink are kept: one without its end would swallow the screen."""
    assert tame(kept, b"web | ") == kept


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b[2J",
        b"\x1b[H",
        b"\x1b[10;20H",
        b"\x1b[3A",
        b"\x1b[K",
        b"\x1b[1;5r",
        b"\x1b[?1049h",
        b"\x1b[?25l",
        b"\x1b[>4;1m",
        b"\x1b[?4m",
        b"\x1b[6n",
        b"\x1b[3 q",
        b"\x1b]0;title\x07",
        b"\x1b]2;title\x1b\\",
        b"\x1b]52;c;aGk=\x07",
        b"\x1bP1$r0m\x1b\\",
        b"\x1b_payload\x1b\\",
        b"\x1b^private\x1b\\",
        b"\x1bXstring\x1b\\",
        b"\x1bc",
        b"\x1b7",
        b"\x1b8",
        b"\x1bM",
        b"\x1b(0",
        b"\x1b#8",
        b"\x1b=",
        b"\xc2\x9b2J",
        b"\x07",
        b"\x08",
        b"\x0b",
        b"\x0c",
        b"\x0e",
        b"\x05",
    ],
    ids=repr,
)
def test_what_would_wreck_the_screen_is_taken_out(sequence: bytes) -> None:
    """Cursor, clear, scroll region, alternate screen, titles, clipboard, modes, character sets."""
    tamed = tame(b"one " + sequence + b"two\n", b"")
    assert tamed in (b"one two\n", b"one 2Jtwo\n")  # of a C1 control the parameters are text


@pytest.mark.parametrize(
    "unfinished", [b"\x1b", b"\x1b[", b"\x1b[31", b"\x1b]0;title", b"\x1b]8;;http://x", b"\x1bP1"]
)
def test_an_unfinished_sequence_does_not_reach_into_the_next_line(unfinished: bytes) -> None:
    """The terminal would take our prefix for its rest."""
    assert tame(b"one" + unfinished + b"\ntwo\n", b"") == b"one\ntwo\n"


def test_a_carriage_return_redraws_the_line_behind_the_prefix() -> None:
    """A progress bar stays on its line; CR LF is a newline."""
    assert tame(b"P 10%\r20%\r\nP next\r\n", b"P ") == b"P 10%\rP 20%\nP next\n"


ALLOWED = re.compile(rb"\x1b\[[0-9:;]*m|\x1b\]8;[^\x00-\x1f\x7f]*(?:\x07|\x1b\\)")
PIECES = st.sampled_from(
    [b"\x1b", b"[", b"]", b"8;", b";", b"\x07", b"\\", b"m", b"2J", b"\xc2", b"\x9b", b"P", b"a"]
)


@given(st.lists(PIECES | st.binary(max_size=3), max_size=30).map(b"".join))
def test_whatever_is_written_nothing_but_colours_and_hyperlinks_comes_through(data: bytes) -> None:
    """Not even by what is left when something in its midst was taken out."""
    rest = ALLOWED.sub(b"", tame(data + b"\n", b""))
    assert not set(rest) & set(b"\x1b\x05\x07\x08\x0b\x0c\x0e\x0f")
    assert re.search(rb"\xc2[\x80-\x9f]", tame(data + b"\n", b"")) is None


@pytest.mark.parametrize("nest", [b"\xc2%b\x80", b"\xc2\x07%b\x80", b"\x1b%b[", b"\x1b[%bm"])
def test_a_deep_nest_of_controls_takes_a_few_passes_and_not_one_for_each(nest: bytes) -> None:
    """A megabyte of it would take days."""
    opening, closing = nest.split(b"%b")
    data = opening * 200_000 + closing * 200_000
    assert not set(ALLOWED.sub(b"", tame(data + b"\n", b""))) & set(b"\x1b\x07\xc2")


@given(st.text().map(str.encode), st.lists(st.text(max_size=5).map(str.encode), max_size=3))
def test_lines_stay_lines(line: bytes, more: list[bytes]) -> None:
    """Nothing is taken out beyond the end of its line."""
    data = b"\n".join([line, *more]) + b"\n"
    assert tame(data, b"").count(b"\n") == data.count(b"\n")
