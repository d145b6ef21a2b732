"""What passes between a dyno's terminal and the one that is attached to it: frames, and keys.

A frame is a JSON line; an `output` frame is followed by as many bytes as it says. With a `began`
frame comes a descriptor, the main end of the boot's pty: keys are written into it directly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from procman.core.wire import encode
from procman.errors import ProtocolError

# docker's, which Ctrl-P alone does not trigger and no line editor binds as a pair.
DETACH = b"\x10\x11"
DETACH_WORDS = "Ctrl-P Ctrl-Q"
END_OF_INPUT = b"\x04"  # Ctrl-D


@dataclass(frozen=True, slots=True)
class Began:
    """A boot runs on the pty whose descriptor comes with this frame."""

    boot: int


@dataclass(frozen=True, slots=True)
class Left:
    """Another terminal has left this boot: the window is that of this one again."""

    boot: int


@dataclass(frozen=True, slots=True)
class Output:
    """What the boot wrote, as it wrote it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Missed:
    """Bytes that this terminal was too slow for."""

    count: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The boot ended: `status` as in Exited; `again`, whether another boot will follow by itself,
    because the dyno crashed, is restarted, or sleeps."""

    boot: int
    status: int
    again: bool


Frame = Began | Left | Output | Missed | Ended


def encode_frame(frame: Frame) -> bytes:
    """A frame as it is sent."""
    match frame:
        case Began(boot):
            return encode({"began": boot})
        case Left(boot):
            return encode({"left": boot})
        case Output(data):
            return encode({"output": len(data)}) + data
        case Missed(count):
            return encode({"missed": count})
        case Ended(boot, status, again):
            return encode({"ended": boot, "status": status, "again": again})


class FrameReader:
    """Puts frames together from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises ProtocolError for what is none."""
        self._rest += data
        while (end := self._rest.find(b"\n") + 1) > 0:
            header = _parse_header(bytes(self._rest[:end]))
            length = header.get("output")
            whole = end + (length or 0)
            if len(self._rest) < whole:
                return
            frame = _frame(header, bytes(self._rest[end:whole]))
            del self._rest[:whole]
            yield frame


def _parse_header(line: bytes) -> dict[str, int]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not all(isinstance(n, int) for n in header.values()):
        raise ProtocolError("the app's stream makes no sense")
    return header


def _frame(header: dict[str, int], data: bytes) -> Frame:
    match header:
        case {"output": _}:
            return Output(data)
        case {"began": boot}:
            return Began(boot)
        case {"left": boot}:
            return Left(boot)
        case {"missed": count}:
            return Missed(count)
        case {"ended": boot, "status": status, "again": again}:
            return Ended(boot, status, bool(again))
        case _:
            raise ProtocolError("the app's stream makes no sense")


class Keys:
    """Finds the detach keys in what is typed, also when they come one by one."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What is for the dyno, and whether the user wants to leave; then the rest is dropped.

        A Ctrl-P waits for the next key, to which it may belong.
        """
        typed = self._held + typed
        self._held = b""
        before, found, _ = typed.partition(DETACH)
        if found:
            return before, True
        if typed.endswith(DETACH[:1]):
            self._held = DETACH[:1]
            return typed[:-1], False
        return typed, False


def end_of_input(last: bytes) -> bytes:
    """What tells a terminal's reader that the input has ended, after these last bytes.

    In the middle of a line a Ctrl-D only hands the line over, and how many more are needed depends
    on the program (cat one, Python two): a line that has no end gets one.
    """
    return END_OF_INPUT if last.endswith(b"\n") or not last else b"\n" + END_OF_INPUT


__all__ = [
    "DETACH",
    "DETACH_WORDS",
    "Began",
    "Ended",
    "Frame",
    "FrameReader",
    "Keys",
    "Left",
    "Missed",
    "Output",
    "encode_frame",
    "end_of_input",
]
