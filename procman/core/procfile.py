"""Reads a Procfile: which process types there are, and what is wrong with the lines that are none.

An entry is honcho's, `^([A-Za-z0-9_-]+):\\s*(.+)$`, with a name of up to 128 characters (Heroku's
Platform API). Eleven of twelve Procfile tools drop any other line in silence; here each becomes a
Problem that says how it was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from procman.errors import InputError

LONGEST_NAME = 128

_LINE_END = re.compile(rb"\r\n|\n|\r")
ENTRY = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
EXAMPLE = "write `web: python app.py`"


def is_type_name(text: str) -> bool:
    """Whether a process type can be called so, wherever it is declared."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a line (from 1; None means the whole file). Only a fatal one stops start."""

    line: int | None
    message: str
    hint: str | None
    fatal: bool


@dataclass(frozen=True, slots=True)
class Procfile:
    """A Procfile as far as it could be read.

    `commands` maps each process type to its command, in file order, and `lines` to the line where
    it begins. Problems are in the order of their lines.
    """

    path: str
    commands: dict[str, str]
    lines: dict[str, int]
    problems: tuple[Problem, ...]

    def require_valid(self) -> None:
        """Raise InputError, with place and hint, for the first fatal problem."""
        for problem in self.problems:
            if problem.fatal:
                raise InputError(
                    problem.message, path=self.path, line=problem.line, hint=problem.hint
                )


@dataclass(frozen=True, slots=True)
class _Line:
    """A logical line: the number of its first physical line, and its text, or why it has none."""

    number: int
    text: str
    problem: Problem | None = None


def parse_procfile(data: bytes, path: str) -> Procfile:
    """Read a Procfile; whatever the bytes are, the answer is a value and nothing is raised.

    A line that ends in a backslash goes on in the next, as in a shell: the backslash and the line
    end vanish and nothing takes their place, so a blank before the backslash or the indentation of
    the next line keeps two words apart. `\\\\` at the end of a line is a backslash and ends it. A
    comment is never continued. A continued line counts by its first line's number. Lines end with
    LF, CRLF or CR; a byte order mark is skipped; blanks around a command go.
    """
    commands: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    for line in _logical_lines(data):
        if line.problem is not None:
            problems.append(line.problem)
        stripped = line.text.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = ENTRY.fullmatch(line.text)
        if match is None or len(match[1]) > LONGEST_NAME or not match[2].strip():
            problems.append(_explain(line))
        elif match[1] in commands:
            problems.append(_duplicate(match[1], line.number, lines[match[1]]))
        else:
            commands[match[1]] = match[2].strip()
            lines[match[1]] = line.number
    if not commands and not any(problem.fatal for problem in problems):
        problems.append(Problem(None, "there is no process type in it", EXAMPLE, fatal=True))
    return Procfile(path, commands, lines, tuple(problems))


def _logical_lines(data: bytes) -> Iterator[_Line]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "save it as UTF-8; in PowerShell: Set-Content -Encoding utf8"
        yield _Line(1, "", Problem(1, "this is UTF-16, not UTF-8", hint, fatal=True))
        return
    physical = _LINE_END.split(data.removeprefix(b"\xef\xbb\xbf"))
    number = 0
    while number < len(physical):
        first = number
        pieces: list[bytes] = []
        going_on = True
        while going_on and number < len(physical):
            piece = physical[number]
            number += 1
            going_on = _goes_on(piece) and not (not pieces and piece.lstrip().startswith(b"#"))
            pieces.append(piece[:-1] if going_on else piece)
        yield _decode(first + 1, pieces, unfinished=going_on)


def _goes_on(piece: bytes) -> bool:
    return (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1


def _decode(number: int, pieces: list[bytes], unfinished: bool) -> _Line:
    if pieces[0].lstrip().startswith(b"#"):
        return _Line(number, "")  # in any encoding: nobody reads it
    for offset, piece in enumerate(pieces):
        line = number + offset
        if b"\0" in piece:
            hint = "remove it; no program can be given one"
            return _Line(number, "", Problem(line, "there is a NUL byte", hint, fatal=True))
        try:
            piece.decode()
        except UnicodeDecodeError as error:
            message = f"this is not UTF-8, from byte {error.start + 1} of the line"
            return _Line(number, "", Problem(line, message, "save it as UTF-8", fatal=True))
    text = b"".join(pieces).decode()
    if unfinished:
        message = "the last line ends in a backslash, and nothing follows"
        problem = Problem(number, message, "remove the backslash", fatal=False)
        return _Line(number, text, problem)
    return _Line(number, text)


def _duplicate(name: str, line: int, first: int) -> Problem:
    message = f"process type {name!r} is defined twice, first in line {first}"
    return Problem(line, message, "give one of them another name, or remove it", fatal=True)


def _explain(line: _Line) -> Problem:
    from procman.core.near_miss import explain_near_miss  # its patterns cost a right file 1 ms

    message, hint = explain_near_miss(line.text)
    return Problem(line.number, message, hint, fatal=False)
