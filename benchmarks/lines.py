"""Checks what a tool made of numbered lines: which are lost, torn, doubled or out of order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

REST = b" the quick brown fox jumps over the lazy dog;"  # as child.c writes it
_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of `expected` lines, `whole` came once, in one piece; `torn` are pieces and mixtures."""

    expected: int
    whole: int
    torn: int
    doubled: int
    disordered: int

    @property
    def lost(self) -> int:
        """How many did not come whole."""
        return self.expected - self.whole

    @property
    def is_perfect(self) -> bool:
        """Whether each line came once, whole and in its turn."""
        return not (self.lost or self.torn or self.doubled or self.disordered)


def check_lines(output: bytes, tags: Sequence[str], count: int) -> Verdict:
    """Judge a tool's output. Whatever stands before the tag, the tool's prefix, is free, but must
    not hold a piece of another line; lines without any piece of ours are the tool's own.
    """
    names = "|".join(map(re.escape, tags)).encode()
    whole = re.compile(rb"(?:^|[\s|\]])(" + names + rb") (\d{7})" + re.escape(REST) + rb"\r?$")
    piece = re.compile(
        rb"(?:" + names + rb") \d|quick|brown|fox jumps|over the|lazy|dog;|\d{7} the"
    )
    seen: dict[bytes, bytearray] = {tag.encode(): bytearray(count) for tag in tags}
    last = dict.fromkeys(seen, -1)
    found = torn = doubled = disordered = 0
    for line in output.split(b"\n"):
        if b"\x1b" in line:
            line = _COLOURS.sub(b"", line)
        match = whole.search(line)
        if match is None or piece.search(line, 0, match.start(1)):
            torn += piece.search(line) is not None
            continue
        tag, number = match[1], int(match[2])
        if number >= count or seen[tag][number]:
            doubled += 1
            continue
        seen[tag][number] = 1
        found += 1
        disordered += number < last[tag]
        last[tag] = max(last[tag], number)
    return Verdict(count * len(tags), found, torn, doubled, disordered)
