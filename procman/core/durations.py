"""Durations as people write and read them: `30s`, `5m`, `1h30m`, and back."""

from __future__ import annotations

import re

from procman.errors import InputError

# Largest first: the order in which units may follow each other.
MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}

# Above it the deadline is a slip of the finger, and some system calls refuse the number.
LONGEST = 3650 * 86_400.0

_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_PARTS = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)\s*(ms|d|h|m|s)\s*)+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|d|h|m|s)")

_HINT = "write 30s, 5m, 1h30m or 500ms; a plain number is seconds"


def parse_duration(text: str | int | float) -> float:
    """Seconds of `30s`, `5m`, `1h`, `3d`, `500ms`, `1h30m` or `1h 30m`; a number is seconds.

    Units come largest first and each at most once. Zero is allowed. Raises InputError, without a
    place, for anything else: signs, unknown units, what is no finite number, above ten years.
    """
    seconds = _parse_text(text.strip()) if isinstance(text, str) else text
    if isinstance(seconds, bool) or seconds is None or not seconds >= 0:  # `not >=` takes NaN
        raise InputError(f"{_shown(text)} is not a duration", hint=_HINT)
    if seconds > LONGEST:
        raise InputError(f"{_shown(text)} is longer than ten years", hint=_HINT)
    return float(seconds)


def format_duration(seconds: float) -> str:
    """The short form for people: `40ms`, `0.4s`, `4s`, `5m 3s`, `1h 2m`, `3d`.

    At most two units, rounded to the smaller one. A negative value, from a clock that was set
    back, is `0s`. `parse_duration` reads the result.
    """
    if seconds < 0.0005:
        return "0s"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole // 60, "m", whole % 60, "s")
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return _two(minutes // 60, "h", minutes % 60, "m")
    hours = round(seconds / 3600)
    return _two(hours // 24, "d", hours % 24, "h")


def _two(large: int, unit: str, small: int, smaller_unit: str) -> str:
    parts = [f"{large}{unit}"] * (large > 0) + [f"{small}{smaller_unit}"] * (small > 0)
    return " ".join(parts)


def _parse_text(text: str) -> float | None:
    if _PLAIN.fullmatch(text):
        return float(text)
    if not _PARTS.fullmatch(text):
        return None
    units = list(MILLISECONDS)
    parts = [(float(number), unit) for number, unit in _PART.findall(text)]
    places = [units.index(unit) for _, unit in parts]
    if places != sorted(set(places)):
        return None
    return sum(number * MILLISECONDS[unit] for number, unit in parts) / 1000


def _shown(value: object) -> str:
    """Quoted, and cut where a whole file was given by mistake; a huge int has no short form."""
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return "that number"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…'"
