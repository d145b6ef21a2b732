"""Log lines as bytes, in bulk: cut at the last newline, prefix put in by one replace.

Splitting, decoding or writing line by line costs ten to a hundred times as much; a line is touched
on its own only where the format is made of objects (JSON).
"""

from __future__ import annotations

import re

LONGEST_LINE = 1 << 20  # a line without an end may not take all memory: it is cut here

# What may stay is colour (SGR, `m`) and hyperlinks (OSC 8) that are complete. All other control
# sequences move the cursor, clear, scroll, switch screens or rename the window, and would wreck a
# screen that many processes share; an unfinished one would swallow what follows it. Syntax: ECMA-48
# 5.4 (CSI), xterm's ctlseqs (OSC, DCS and friends). A sequence ends with its line at the latest.
_SEQUENCE = re.compile(
    rb"(\x1b\[[0-9:;]*m|\x1b\]8;[^\x00-\x1f\x7f]*(?:\x07|\x1b\\))"  # the only ones that stay
    rb"|\x1b(?:"
    rb"\[[0-?]*[ -/]*[@-~]?"  # CSI
    rb"|[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC
    rb"|[ -/]*[0-~]?"  # two-byte escapes, character sets and the like
    # C1: the same controls as one character of UTF-8. In valid text there is one of each byte; a
    # nest of them, as binary data may hold, would take a pass for each pair.
    rb")|\xc2+[\x80-\x9f]+"
    rb"|[\x05\x07\x08\x0b\x0c\x0e\x0f]"  # answerback, bell, backspace, vertical moves, shifts
)
_C1 = re.compile(rb"\xc2[\x80-\x9f]")

# Looked for one by one: eight searches for a byte take a fiftieth of the time of one for a set.
_CONTROLS = tuple(bytes([c]) for c in b"\x1b\x05\x07\x08\x0b\x0c\x0e\x0f")


class Cutter:
    """Holds the unfinished last line of one source."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = bytearray()

    def cut(self, data: bytes) -> bytes:
        """All lines that `data` completes, each ending in a newline; `b""` when there is none."""
        end = data.rfind(b"\n") + 1
        if not end:
            self.rest += data
            return self._overlong()
        if not self.rest:
            self.rest += data[end:]
            return data if end == len(data) else data[:end]
        room = LONGEST_LINE - len(self.rest)  # reads are shorter than a longest line: one cut does
        cut = b"\n" + data[room:end] if data.find(b"\n") > room else data[room:end]
        lines = (
            bytes(self.rest) + data[:room] + cut if room < end else bytes(self.rest) + data[:end]
        )
        self.rest[:] = data[end:]
        return lines

    def flush(self) -> bytes:
        """What is left, as a line; `b""` when nothing is."""
        if not self.rest:
            return b""
        lines = bytes(self.rest) + b"\n"
        self.rest.clear()
        return lines

    def _overlong(self) -> bytes:
        lines = b""
        while len(self.rest) > LONGEST_LINE:
            lines += bytes(self.rest[:LONGEST_LINE]) + b"\n"
            del self.rest[:LONGEST_LINE]
        return lines


def put_prefix(lines: bytes, prefix: bytes) -> bytes:
    """Put the prefix before every line. `lines` is not empty and ends in a newline."""
    return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"


def tame(lines: bytes, prefix: bytes) -> bytes:
    """Make lines safe for a screen that many share: colours stay, what moves the cursor goes.

    A carriage return redraws the line from its start, where the prefix stands: it is put again.
    """
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\r" + prefix)
    while any(control in lines for control in _CONTROLS) or _C1.search(lines):
        tamed = _SEQUENCE.sub(rb"\1", lines)
        if tamed == lines:
            break  # what is left may stay
        lines = tamed  # once more: what stood around something taken out may be a sequence now
    return lines
