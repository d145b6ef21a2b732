"""How a line looks on each sink: prefix, colours, timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from procman.core.lines import put_prefix, tame

SYSTEM = "procman"  # the source of our own lines

_RESET = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal's lines look like. `tame` takes out what would wreck a shared screen."""

    width: int = len(SYSTEM)
    colour: bool = False
    prefix: bool = True
    timestamps: bool = True
    tame: bool = False


def colour_of(index: int) -> str:
    """The colour of a dyno's prefix, by its type's place in the Procfile.

    honcho's and foreman's order; red is left to errors.
    """
    from colorama import Fore

    plain = (Fore.CYAN, Fore.YELLOW, Fore.GREEN, Fore.MAGENTA, Fore.BLUE)
    bright = (
        Fore.LIGHTCYAN_EX,
        Fore.LIGHTYELLOW_EX,
        Fore.LIGHTGREEN_EX,
        Fore.LIGHTMAGENTA_EX,
        Fore.LIGHTBLUE_EX,
    )
    colours = plain + bright
    return str(colours[index % len(colours)])


def prefix_of(source: str, colour: str, look: Look, clock: str) -> bytes:
    """`12:00:01 web.1    | `; the reset before it keeps a child's colours out of our prefix."""
    if not look.prefix:
        return _RESET.encode() if look.colour else b""
    stamp = f"{clock} " if look.timestamps else ""
    text = f"{stamp}{source.ljust(look.width)} | "
    return f"{_RESET}{colour}{text}{_RESET}".encode() if look.colour else text.encode()


def for_screen(lines: bytes, prefix: bytes, look: Look) -> bytes:
    """Whole lines as they are shown."""
    lines = put_prefix(lines, prefix) if prefix else lines
    return tame(lines, prefix) if look.tame else lines


def for_json(lines: bytes, source: str, now: float) -> bytes:
    """One object a line: time, source (`app` or `procman`), dyno, line.

    Bytes that are no UTF-8 stand as `\\xNN` in the text.
    """
    import json

    time = iso_time(now)
    kind, dyno = ("procman", None) if source == SYSTEM else ("app", source)
    return b"".join(
        json.dumps(
            {
                "time": time,
                "source": kind,
                "dyno": dyno,
                "line": line.decode("utf-8", "backslashreplace"),
            },
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for line in lines[:-1].split(b"\n")
    )


def for_history(lines: bytes, source: str, now: float) -> bytes:
    """Heroku's form: `2026-11-23T12:00:01.123456+00:00 app[web.1]: …`."""
    place = "procman" if source == SYSTEM else f"app[{source}]"
    return put_prefix(lines, f"{iso_time(now)} {place}: ".encode())


def iso_time(now: float) -> str:
    """RFC 5424's time in UTC with microseconds, from seconds of the wall clock."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")
