"""What a smoke test's report says, in each of its forms."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.smoke import (
    AnswerResult,
    DynoResult,
    Report,
    as_annotations,
    as_json,
    as_junit,
    as_text,
    why_wrong,
)


def failed_answer() -> Report:
    """A web that answers 500 and says why, and a worker with nothing to say of it."""
    dynos = [
        DynoResult("web.1", "web", "up", 0.05, None, ["KeyError: 'price'"]),
        DynoResult("worker.1", "worker", "up", 0.01, None, ["working"]),
    ]
    return Report("shop", dynos, [AnswerResult("/cart", 500, 0.01, "expected 200")])


@pytest.mark.parametrize(
    ("status", "code", "location", "reason"),
    [
        (200, "", "", None),
        (204, "", "/elsewhere", None),
        (404, "", "", "expected 200 or 204"),
        (302, "", "/login", "expected 200 or 204, it redirects to /login"),
        (503, "H13", "", "H13 Connection closed without response"),
        (200, "H10", "", "H10 App crashed"),  # the router's answer is not the app's
        (200, "app's own", "", None),
    ],
)
def test_a_wrong_answer_has_its_cause(
    status: int, code: str, location: str, reason: str | None
) -> None:
    """Not only that it is wrong."""
    assert why_wrong(status, {200, 204}, code=code, location=location) == reason


def test_a_wrong_answer_comes_with_the_webs_last_lines() -> None:
    """The traceback behind a 500 is there, in text and for CI's page of the test."""
    report = failed_answer()
    text = as_text(report)
    assert "FAIL GET /cart  500 in 10ms: expected 200" in text
    assert "     | KeyError: 'price'" in text
    assert "working" not in text
    failure = ET.fromstring(as_junit(report)).find("testcase/failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("500: expected 200", "KeyError: 'price'")


def test_what_an_app_says_does_not_wreck_the_screen_of_the_report() -> None:
    """Colours stay, as in the logs: another screen, or a cleared one, would hide the cause."""
    lines = ["\x1b[?1049h\x1b[2Jgone", "\x1b[31mred\x1b[0m"]
    report = Report("shop", [DynoResult("web.1", "web", "crashed", None, "crashed", lines)])
    report.answers = [AnswerResult("/", 302, 0.01, "it redirects to /\x1b[2J")]
    report.command_status, report.command_reason = 127, "\udcff\x1b[H: No such file or directory"
    text = as_text(report)
    assert "     | gone\n     | \x1b[31mred\x1b[0m\n" in text
    assert "it redirects to /\n" in text
    assert "FAIL \udcff: No such file or directory\n" in text


def test_an_answer_that_nobody_asked_for_says_nothing_of_the_web() -> None:
    """Another dyno had crashed: its lines are the cause, not those of a web that is well."""
    report = failed_answer()
    report.answers = [AnswerResult("/cart", None, 0.0, "not asked, a dyno had failed")]
    assert "FAIL GET /cart" in as_text(report)
    assert "KeyError" not in as_text(report)


def test_each_failure_is_an_annotation() -> None:
    """At the line of the process type that it is about; percent and newlines as GitHub wants."""
    report = failed_answer()
    report.command_status = 7
    report.reason = "100%\nlost"
    assert as_annotations(report, "a,b:c/Procfile", {"web": 3}).splitlines() == [
        "::error file=a%2Cb%3Ac/Procfile,line=3::GET /cart: 500: expected 200",
        "::error file=a%2Cb%3Ac/Procfile,line=1::the command ended with status 7",
        "::error file=a%2Cb%3Ac/Procfile,line=1::100%25%0Alost",
    ]


def test_a_command_that_cannot_be_run_has_a_shells_status_and_its_reason() -> None:
    """As `env`, `timeout` and `procman run` have it."""
    report = Report("shop", command_status=127, command_reason="pytst: No such file or directory")
    assert report.status == 127
    assert "FAIL pytst: No such file or directory\n" in as_text(report)
    assert json.loads(as_json(report))["command_reason"] == report.command_reason


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_makes_valid_xml(app: str, line: str) -> None:
    """Whatever an app prints; characters that XML cannot hold are shown as question marks."""
    report = Report(app, [DynoResult("web.1", "web", "crashed", None, line, [line])])
    ET.fromstring(as_junit(report))
