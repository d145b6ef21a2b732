"""Log lines as bytes, in bulk: cut at the last newline, prefix put in by one replace.

Splitting, decoding or writing line by line costs ten to a hundred times as much; a line is touched
on its own only where the format is made of objects (JSON).
"""

from __future__ import annotations

import re

LONGEST_LINE = 1 << 20  # a line without an end may not take all memory: it is cut here

# What may stay is colour (SGR, `m`) and hyperlinks (OSC 8). All other control sequences move the
# cursor, clear, scroll, switch screens or rename the window, and would wreck a screen that many
# processes share. Syntax: ECMA-48 5.4 (CSI), xterm's ctlseqs (OSC, DCS and friends).
_WRECKING = re.compile(
    rb"\x1b(?:"
    rb"\[[0-?]*[ -/]*[@-ln-~]"  # CSI that does not end in m
    rb"|\[[<-?][0-?]*[ -/]*m"  # private `m`: keyboard modes, not colour
    rb"|\](?!8;)[^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC other than hyperlinks
    rb"|[PX^_][^\x1b\n]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    rb"|[ -/]+[0-~]"  # character sets and the like
    rb"|[0-OQ-WYZ=->`-~]"  # two-byte escapes: save, restore, index, reset
    rb")|[\x07\x08\x0b\x0c\x0e\x0f]"  # bell, backspace, vertical tab, form feed, shifts
)
_CONTROL = re.compile(rb"[\x07\x08\x0b\x0c\x0e\x0f\x1b]")


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
        while len(self.rest) >= LONGEST_LINE:
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
    if _CONTROL.search(lines) is None:
        return lines
    return _WRECKING.sub(b"", lines)
