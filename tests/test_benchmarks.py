"""The benchmarks' arithmetic, and that they find what is wrong: no time is asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import QUICK, command
from benchmarks.lines import REST, Verdict, check_lines
from benchmarks.measure import (
    Aim,
    Failed,
    Metric,
    in_turn,
    markdown_table,
    ratio,
    spread,
    take_turns,
)
from benchmarks.peers import Kind, by_procfile

ROOT = Path(__file__).parent.parent
COUNT = 40


def shown(tag: str, number: int, prefix: str = "12:00:01 alpha.1  | ") -> bytes:
    """A line as a tool shows it."""
    return f"{prefix}{tag} {number:07}".encode() + REST + b"\n"


def all_shown(prefix: str = "12:00:01 alpha.1  | ") -> list[bytes]:
    """Two children's lines, mixed as a tool may mix them."""
    return [shown(tag, n, prefix) for n in range(COUNT) for tag in ("alpha", "beta")]


def verdict(lines: list[bytes]) -> Verdict:
    """What is said of these."""
    return check_lines(b"".join(lines), ("alpha", "beta"), COUNT)


@pytest.mark.parametrize(
    "prefix",
    ["", "12:00:01 alpha.1  | ", "[36malpha.1[0m | ", "\x1b[36malpha.1 |\x1b[0m ", "0|alpha | "],
)
def test_whole_lines_are_perfect_behind_any_prefix(prefix: str) -> None:
    """Each tool has its own, and its own words."""
    own = [b"12:00:01 system   | alpha.1 started (pid=7)\n", b"\n"]
    assert verdict(own + all_shown(prefix)) == Verdict(2 * COUNT, 2 * COUNT, 0, 0, 0)
    assert verdict(own + all_shown(prefix)).is_perfect


def test_a_lost_line_is_found() -> None:
    """One of eighty."""
    lines = all_shown()
    del lines[17]
    assert verdict(lines) == Verdict(2 * COUNT, 2 * COUNT - 1, 0, 0, 0)
    assert verdict(lines).lost == 1


def test_a_torn_line_is_found_in_both_of_its_pieces() -> None:
    """As of a tool that shows what it has read when it has read it."""
    lines = all_shown()
    lines[17] = lines[17][:40] + b"\n12:00:01 alpha.1  | " + lines[17][40:]
    assert verdict(lines) == Verdict(2 * COUNT, 2 * COUNT - 1, 2, 0, 0)


def test_two_lines_in_one_are_found() -> None:
    """Both are there, and neither is a line."""
    lines = all_shown()
    lines[17:19] = [lines[17].rstrip(b"\n") + lines[18]]
    assert verdict(lines).torn == 1
    assert verdict(lines).lost == 2


def test_a_line_within_a_line_is_found() -> None:
    """The inner one is whole, but it is in the wrong place."""
    lines = all_shown()
    lines[17:19] = [lines[17][:45] + lines[18].rstrip(b"\n") + lines[17][45:]]
    assert not verdict(lines).is_perfect
    assert verdict(lines).lost >= 1


def test_a_line_that_comes_twice_is_found() -> None:
    """It is not lost, and not once."""
    lines = all_shown()
    assert verdict([*lines, lines[17]]) == Verdict(2 * COUNT, 2 * COUNT, 0, 1, 0)


def test_lines_out_of_order_are_found() -> None:
    """The order counts within one child only."""
    lines = all_shown()
    lines[4], lines[6] = lines[6], lines[4]
    assert verdict(lines).disordered == 1
    lines = all_shown()
    lines[4], lines[5] = lines[5], lines[4]
    assert verdict(lines).is_perfect


@given(st.integers(0, 2 * COUNT - 1), st.integers(1, 60))
def test_a_line_cut_anywhere_is_no_line(which: int, kept: int) -> None:
    """Whatever is left of it."""
    lines = all_shown()
    cut = lines[which][:kept]
    lines[which] = cut + b"\n"
    assert verdict(lines).lost == 1


def test_the_spread_of_samples_is_median_and_quartiles() -> None:
    """Of a single one, itself."""
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]).median == 3.0
    assert (spread([5.0, 1.0, 3.0, 2.0, 4.0]).low, spread([1.0, 2, 3, 4, 5]).high) == (2.0, 4.0)
    assert spread([7.0]).median == spread([7.0]).low == spread([7.0]).least == 7.0


def test_a_ratio_to_nothing_is_endless_but_for_nothing() -> None:
    """At rest the figures are zeros."""
    assert ratio(6.0, 3.0) == 2.0
    assert ratio(1.0, 0.0) == float("inf")
    assert ratio(0.0, 0.0) == 1.0


@pytest.mark.parametrize(
    ("aim", "met"),
    [
        (Aim(10), True),
        (Aim(2.9), False),
        (Aim(0.3, "honcho"), True),
        (Aim(0.29, "honcho"), False),
        (Aim(0.1, "honcho", plus=2), True),
        (Aim(0.5, "nobody"), None),
    ],
)
def test_an_aim_is_met_missed_or_not_to_be_told(aim: Aim, met: bool | None) -> None:
    """Absolute, as a share of another's median, or more than it by so much."""
    metric = Metric("time", "ms", {"procman": [2.0, 3.0, 9.0], "honcho": [10.0]}, aim)
    assert metric.is_met() is met
    assert any("MISSED" in line for line in metric.lines()) is (met is False)


def test_the_contestants_take_turns_and_each_is_first_once() -> None:
    """A machine that slows down slows all of them down."""
    order: list[str] = []
    take_turns({"a": "a", "b": "b", "c": "c"}, 3, order.append, lambda *_: None)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert in_turn({}, 3) == []


def test_who_fails_sits_out_the_later_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    """And it is said why."""
    tried: list[str] = []

    def measure(who: str) -> float:
        tried.append(who)
        if who == "b":
            raise Failed("it ended")
        return 1.0

    metric = Metric("time", "ms")
    take_turns({"a": "a", "b": "b"}, 2, measure, metric.add)
    assert tried == ["a", "b", "a"]
    assert metric.samples == {"a": [1.0, 1.0]}
    assert capsys.readouterr().err == "(b is left out: it ended)\n"


def test_a_table_to_paste_has_a_row_for_each_metric_and_a_column_for_each_contestant() -> None:
    """Who was not measured has a dash."""
    metrics = [
        Metric("up", "ms", {"procman": [1234.56], "honcho": [2.0]}),
        Metric("restart", "ms", {"procman": [3.0]}, digits=2),
    ]
    assert markdown_table(metrics) == [
        "|  | procman | honcho |",
        "|---|---|---|",
        "| up, ms | 1,234.6 | 2.0 |",
        "| restart, ms | 3.00 | - |",
    ]


def test_a_tool_is_told_what_to_run_by_its_procfile(tmp_path: Path) -> None:
    """And how many by its option."""
    kinds = [Kind("a", ("/bin/x", "y"), 3), Kind("b", ("/bin/z",))]
    argv = by_procfile("tool", "start", "-c")(tmp_path, kinds)
    assert argv == ["tool", "start", "-c", "a=3,b=1"]
    assert (tmp_path / "Procfile").read_text() == "a: /bin/x y\nb: /bin/z\n"


@pytest.mark.parametrize("name", ["", ".supervision", ".control", ".wake", ".router", ".slugs"])
def test_each_benchmark_tells_its_options(name: str) -> None:
    """It is imported, and measures nothing."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks{name}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_options_of_each_are_its_own(name: str) -> None:
    """With `--help` after them nothing is measured, and an option that there is not is an error."""
    if not (ROOT / "benchmarks" / f"{name}.py").exists():
        pytest.skip("not here")
    done = subprocess.run(
        [*command(name, quick=True, markdown=True), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in QUICK[name] if word.startswith("--"))
