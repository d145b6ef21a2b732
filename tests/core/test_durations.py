"""Durations are read as people write them, and written as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.durations import LONGEST, format_duration, parse_duration
from procman.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("3d", 259_200.0),
        ("500ms", 0.5),
        ("1h30m", 5400.0),
        ("1h 2m", 3720.0),
        ("1m 500 ms", 60.5),
        (" 10 s ", 10.0),
        ("1.5h", 5400.0),
        ("90", 90.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("0", 0.0),
        ("0s", 0.0),
        (10, 10.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_a_duration_is_read(text: str | int | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "s",
            "5x",
            "5 minutes",
            "-1",
            "-5s",
            "+5s",
            "1e3",
            "5S",
            "1h30",
            "30m1h",
            "1h1h",
        ),
        *("1.2.3s", "٣s", "nan", "inf", "1_000", "5s,", "11y", "9" * 5000, "9" * 400 + "d"),
        *(-1, -0.5, math.nan, math.inf, 10**400, LONGEST + 1, True, False),
    ],
)
def test_what_is_no_duration_is_an_error_with_an_example(text: str | int | float) -> None:
    with pytest.raises(InputError) as caught:
        parse_duration(text)
    assert caught.value.hint == "write 30s, 5m, 1h30m or 500ms; a plain number is seconds"
    assert len(caught.value.message) < 120


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0s"),
        (0.0, "0s"),
        (0.0004, "0s"),
        (0.0006, "1ms"),
        (0.02, "20ms"),
        (0.0999, "0.1s"),
        (0.4, "0.4s"),
        (0.97, "1s"),
        (4.0, "4s"),
        (4.26, "4.3s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.7, "1m"),
        (63.0, "1m 3s"),
        (300.0, "5m"),
        (3599.4, "59m 59s"),
        (3599.9, "1h"),
        (3725.0, "1h 2m"),
        (86_380.0, "1d"),
        (86_399.0, "1d"),
        (259_200.0, "3d"),
        (270_000.0, "3d 3h"),
    ],
)
def test_a_duration_is_shown_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def attempt(text: str | int | float) -> float | InputError:
    try:
        return parse_duration(text)
    except InputError as error:
        return error


@given(st.text() | st.from_regex(r"[0-9.]{0,4}(ms|[dhms ]){0,3}([0-9.]{1,3}(ms|[dhms])){0,3}"))
def test_any_text_gives_seconds_or_an_error_with_a_hint(text: str) -> None:
    outcome = attempt(text)
    assert outcome.hint if isinstance(outcome, InputError) else 0 <= outcome <= LONGEST


@given(st.floats() | st.integers())
def test_any_number_gives_seconds_or_an_error_with_a_hint(number: float) -> None:
    outcome = attempt(number)
    if isinstance(outcome, InputError):
        assert outcome.hint
        assert not 0 <= number <= LONGEST
    else:
        assert outcome == number


@given(st.floats(0.001, LONGEST - 86_400))
def test_what_is_shown_can_be_read_back(seconds: float) -> None:
    """Near enough (1.4 ms is shown as 1ms), and the shown form is stable."""
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, rel_tol=0.5)
    shown = format_duration(seconds)
    assert format_duration(parse_duration(shown)) == shown


@given(st.integers(0, 3000), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_units_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == total
