"""The live table: readings in, lines out."""

from __future__ import annotations

import pytest

from procman.core.sizes import format_bytes
from procman.core.top import KEPT, Gauge, Top, bars

MIB = 1 << 20


def dyno(name: str = "web.1", **changes: object) -> dict[str, object]:
    """A row of `ps`."""
    return {
        "dyno": name,
        "state": "up",
        "pid": 7,
        "restarts": 0,
        "since": 1000.0,
        "last_exit": None,
        "retry_in": None,
        "cpu": 0.0,
        "rss": 10 * MIB,
        "command": "run it",
        **changes,
    }


def test_the_share_is_what_was_used_between_two_looks() -> None:
    """Half a second in one second is 50 %; the first look knows nothing yet."""
    gauge = Gauge()
    gauge.read(7, 10.0, MIB, 100.0)
    gauge.read(7, 10.5, MIB, 101.0)
    gauge.read(7, 11.5, MIB, 103.0)
    assert list(gauge.shares) == [0.0, 0.5, 0.5]


def test_another_process_begins_at_nothing() -> None:
    """A new boot has used less than the old one: that is no negative share."""
    gauge = Gauge()
    gauge.read(7, 10.0, MIB, 100.0)
    gauge.read(8, 0.5, MIB, 101.0)
    gauge.read(8, 0.7, MIB, 102.0)
    gauge.read(8, 0.6, MIB, 103.0)  # an ended child that nobody reaped
    assert list(gauge.shares) == pytest.approx([0.0, 0.0, 0.2, 0.0])


@pytest.mark.parametrize(
    ("readings", "drawn"),
    [([0.0, 0.5, 1.0], "▁▅█"), ([2.0], "█"), ([], ""), ([0.01], "▁")],
)
def test_bars_are_as_high_as_the_readings(readings: list[float], drawn: str) -> None:
    """The newest stands at the right; more than full is full."""
    assert bars(readings, 1.0) == drawn.rjust(KEPT)


def test_nothing_of_nothing_is_a_flat_bar() -> None:
    """No dyno has any memory: no division by it."""
    assert bars([0], 0) == "▁".rjust(KEPT)


def test_the_table_shows_each_dyno() -> None:
    """Title, headings, rows, keys."""
    top = Top()
    top.look([dyno(), dyno("w.1", state="crashed", pid=None, cpu=None, rss=None,
                           last_exit="status 3", retry_in=4.0)], 0.0)  # fmt: skip
    lines, _ = top.lines("app   pid 1", 1010.0, (10, 120))
    assert lines[0] == "app   pid 1   1 up, 1 crashed   CPU 0%   memory 10M"
    assert lines[1].split() == [
        "DYNO", "STATE", "PID", "CPU", "MEMORY", "RESTARTS", "FOR", "LAST", "EXIT", "COMMAND"
    ]  # fmt: skip
    assert lines[2].split() == [
        "web.1",
        "up",
        "7",
        "▁",
        "0%",
        "█",
        "10M",
        "0",
        "10s",
        "-",
        "run",
        "it",
    ]
    assert "status 3, retry in 4s" in lines[3]
    assert lines[-1] == "q quits"


@pytest.mark.parametrize("window", [(1, 1), (4, 20), (10, 40), (24, 80), (100, 300)])
def test_it_fits_the_window(window: tuple[int, int]) -> None:
    """No line is too long, and not one too many."""
    top = Top()
    top.look([dyno(f"web.{n}", command="x" * 500) for n in range(1, 101)], 0.0)
    lines, _ = top.lines("a" * 500, 0.0, window)
    assert len(lines) <= max(4, window[0])
    assert all(len(line) <= max(20, window[1]) for line in lines)


def test_it_scrolls_no_further_than_to_the_last_dyno() -> None:
    """And stays there when dynos go."""
    top = Top()
    rows = [dyno(f"web.{n}") for n in range(1, 101)]
    top.look(rows, 0.0)
    lines, first = top.lines("", 0.0, (13, 80), 5)
    assert first == 5
    assert lines[2].startswith("web.6 ")
    assert lines[-1] == "q quits; 6-15 of 100, j and k scroll"
    assert top.lines("", 0.0, (13, 80), 1000)[1] == 90
    top.look(rows[:12], 1.0)
    assert top.lines("", 0.0, (13, 80), 90)[1] == 2


def test_a_command_cannot_move_the_cursor() -> None:
    """What cannot be printed is a question mark."""
    top = Top()
    top.look([dyno(command="a\x1b[2Jb\nc")], 0.0)
    lines, _ = top.lines("", 0.0, (10, 200))
    assert lines[2].endswith("a?[2Jb?c")


def test_memory_reads_as_people_say_it() -> None:
    """Binary megabytes, then gigabytes."""
    assert [format_bytes(n * MIB) for n in (0, 34, 1023, 1024, 1536)] == [
        "0M",
        "34M",
        "1023M",
        "1.0G",
        "1.5G",
    ]
