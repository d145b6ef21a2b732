"""Frames and keys of an attached terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.attach import (
    Began,
    Ended,
    Frame,
    FrameReader,
    Keys,
    Left,
    Missed,
    Output,
    encode_frame,
    end_of_input,
)
from procman.errors import ProtocolError

FRAMES = st.lists(
    st.builds(Began, st.integers(1, 99))
    | st.builds(Left, st.integers(1, 99))
    | st.builds(Output, st.binary(min_size=1))
    | st.builds(Missed, st.integers(1))
    | st.builds(Ended, st.integers(1, 99), st.integers(-64, 255), st.booleans()),
    max_size=8,
)


@given(FRAMES, st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[Frame], data: st.DataObject
) -> None:
    """Output may hold newlines, braces, anything."""
    stream = b"".join(map(encode_frame, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader = FrameReader()
    assert [frame for piece in pieces for frame in reader.feed(piece)] == frames


@pytest.mark.parametrize("stream", [b"x\n", b"[]\n", b'{"began":"1"}\n', b"{}\n", b'{"no":1}\n'])
def test_what_is_no_frame_is_a_protocol_error(stream: bytes) -> None:
    """The other end is no procman."""
    with pytest.raises(ProtocolError):
        list(FrameReader().feed(stream))


@given(st.binary(), st.data())
def test_keys_reach_the_dyno_unless_they_are_the_detach_keys(
    typed: bytes, data: st.DataObject
) -> None:
    """However they are cut; a Ctrl-P at the end waits for what follows."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(typed)), max_size=5)))
    pieces = [typed[a:b] for a, b in zip([0, *cuts], [*cuts, len(typed)], strict=True)]
    keys, passed, leaves = Keys(), b"", False
    for piece in pieces:
        if not leaves:
            more, leaves = keys.feed(piece)
            passed += more
    before, detach, _ = typed.partition(b"\x10\x11")
    assert leaves is bool(detach)
    assert passed == (before if detach else typed.removesuffix(b"\x10"))


def test_the_detach_keys_may_come_one_by_one() -> None:
    """A Ctrl-P before another key goes through with it."""
    keys = Keys()
    assert keys.feed(b"a\x10") == (b"a", False)
    assert keys.feed(b"b") == (b"\x10b", False)
    assert keys.feed(b"\x10\x10") == (b"\x10", False)
    assert keys.feed(b"\x11rest") == (b"", True)


def test_the_end_of_the_input_is_a_ctrl_d_at_the_start_of_a_line() -> None:
    """A last line without an end gets one."""
    assert end_of_input(b"") == b"\x04"
    assert end_of_input(b"\n") == b"\x04"
    assert end_of_input(b"x") == b"\n\x04"
