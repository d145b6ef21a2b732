"""Says of a Procfile's line that is no entry how it was probably meant."""

from __future__ import annotations

import re

from procman.core.procfile import ENTRY, EXAMPLE, LONGEST_NAME

_NO_COMMAND = re.compile(r"([A-Za-z0-9_-]+):\s*")
_BLANK_BEFORE_COLON = re.compile(r"([A-Za-z0-9_-]+)\s+:\s*(.+)")
_VARIABLE = re.compile(r"(?:export\s+)?[A-Z_][A-Z0-9_]*=.*")
_EQUALS = re.compile(r"([A-Za-z0-9_-]+)\s*=\s*(.+)")
_NO_COLON = re.compile(r"([A-Za-z0-9_-]+)\s+(.+)")


def explain_near_miss(text: str) -> tuple[str, str]:
    """What is wrong with a line that is no entry, and how it was probably meant."""
    if text[0].isspace():
        inner = text.strip()
        if ENTRY.fullmatch(inner):
            return "an entry begins with its name, not with blanks", f"write `{_cut(inner)}`"
        hint = "to go on with the line above, end it with a backslash and no blank after it"
        return _not_an_entry(inner), hint
    if match := _NO_COMMAND.fullmatch(text):
        return f"process type {_shown(match[1])} has no command", _corrected(match[1], "COMMAND")
    if match := ENTRY.fullmatch(text):
        message = f"the name has {len(match[1])} characters"
        return message, f"a name has at most {LONGEST_NAME} characters"
    if match := _BLANK_BEFORE_COLON.fullmatch(text):
        return "there is a blank before the colon", _corrected(match[1], match[2])
    if text.startswith(("//", ";")):
        return _not_an_entry(text), "a comment begins with #"
    if _VARIABLE.fullmatch(text):  # its value may be a secret: unsaid
        name = text.partition("=")[0]
        return f"{_shown(name)} is a config var, no process type", "config vars go in .env"
    if match := _EQUALS.fullmatch(text):
        return "there is '=' where a colon belongs", _corrected(match[1], match[2])
    name, colon, command = text.partition(":")
    if colon and name.strip() and command.strip():
        return _bad_name(name.strip(), command.strip())
    if (match := _NO_COLON.fullmatch(text)) and not colon:
        return "there is no colon", _corrected(match[1], match[2])
    return _not_an_entry(text), EXAMPLE


def _bad_name(name: str, command: str) -> tuple[str, str]:
    """`my worker` and `a.b` become `my-worker` and `a-b`; from a quoted name the quotes go."""
    message = f"{_shown(name)} is no name: letters, digits, - and _ only"
    better = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:LONGEST_NAME]
    return message, _corrected(better, command) if better else EXAMPLE


def _not_an_entry(text: str) -> str:
    return f"expected 'type: command', got {_shown(text)}"


def _corrected(name: str, command: str) -> str:
    return f"write `{_cut(name)}: {_cut(command)}`"


def _shown(text: str) -> str:
    return f"'{_cut(text)}'"


def _cut(text: str) -> str:
    """Short enough for one line, and harmless to a terminal."""
    short = text if len(text) <= 50 else text[:49] + "…"
    return short if short.isprintable() else repr(short)[1:-1]
