"""What a smoke test found, and how it is told: text, JSON, JUnit's XML, GitHub's annotations."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from procman.core.codes import Code
from procman.core.durations import format_duration
from procman.core.fleet import WEB
from procman.core.lines import tame

SHOWN_LINES = 15  # of a failed dyno's last lines
ENDED = "the app ended before the smoke test did"
SIGNALLED = "stopped by a signal"
UNREAD = "standard output was gone before the smoke test was done"


@dataclass(frozen=True, slots=True)
class DynoResult:
    """One dyno: seconds from its spawn to ready (None: it never was) and why it failed, if so."""

    dyno: str
    type: str
    state: str
    ready_after: float | None
    reason: str | None
    last_lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """One request: the status (None: no answer), seconds (0: it was not asked), and why it failed,
    if so.
    """

    path: str
    status: int | None
    seconds: float
    reason: str | None


@dataclass(slots=True)
class Report:
    """What was found so far. `reason` is what failed beside dynos and answers, `command_reason` why
    the command could not be run, which its status tells as a shell's would.
    """

    app: str
    dynos: list[DynoResult] = field(default_factory=list)
    answers: list[AnswerResult] = field(default_factory=list)
    command_status: int | None = None
    command_reason: str | None = None
    reason: str | None = None
    seconds: float = 0.0

    @property
    def status(self) -> int:
        """The exit status: 1 when anything failed, else the command's."""
        reasons = [d.reason for d in self.dynos] + [a.reason for a in self.answers] + [self.reason]
        if any(reason is not None for reason in reasons):
            return 1
        return self.command_status or 0

    @property
    def command_failure(self) -> str | None:
        """What there is to say of a command that failed."""
        if not self.command_status:
            return None
        return self.command_reason or f"the command ended with status {self.command_status}"

    def lines_of(self, dyno: DynoResult) -> Sequence[str]:
        """Its last lines, where they may tell why: it failed, or is who answers and that did."""
        answered_wrongly = any(a.reason is not None and a.seconds > 0 for a in self.answers)
        tells = dyno.reason is not None or (dyno.type == WEB and answered_wrongly)
        return dyno.last_lines[-SHOWN_LINES:] if tells else ()


def why_wrong(status: int, expect: Collection[int], *, code: str, location: str) -> str | None:
    """Why an answer is not the right one. The router's own, with a `code`, never is the app's."""
    if code in Code.__members__:
        return f"{code} {Code[code].description}"
    if status in expect:
        return None
    wanted = f"expected {' or '.join(map(str, sorted(expect)))}"
    return f"{wanted}, it redirects to {location}" if location else wanted


def as_text(report: Report) -> str:
    """A short report for people: each dyno, each answer, the reason of a failure.

    What the app or the caller put in wrecks no screen, and bytes that are no UTF-8 stay.
    """
    width = max((len(d.dyno) for d in report.dynos), default=0)
    lines = []
    for dyno in report.dynos:
        mark = "ok  " if dyno.reason is None else "FAIL"
        ready = "" if dyno.ready_after is None else f", ready after {_time(dyno.ready_after)}"
        why = "" if dyno.reason is None else f": {dyno.reason}"
        lines.append(f"{mark} {dyno.dyno.ljust(width)}  {dyno.state}{ready}{why}")
        last_lines = report.lines_of(dyno)
        if last_lines:
            lines.append("     its last lines:")
            lines += [f"     | {line}" for line in last_lines]
    for answer in report.answers:
        mark = "ok  " if answer.reason is None else "FAIL"
        why = "" if answer.reason is None else f": {answer.reason}"
        lines.append(f"{mark} GET {answer.path}  {_got(answer)} in {_time(answer.seconds)}{why}")
    if report.command_failure is not None:
        lines.append(f"FAIL {report.command_failure}")
    elif report.command_status is not None:
        lines.append("ok   the command ended with status 0")
    if report.reason is not None:
        lines.append(f"FAIL {report.reason}")
    verdict = "passed" if report.status == 0 else f"failed with status {report.status}"
    lines.append(f"smoke test {verdict} in {format_duration(report.seconds)}")
    text = "\n".join(lines) + "\n"
    return tame(text.encode(errors="surrogateescape"), b"").decode(errors="surrogateescape")


def as_json(report: Report) -> str:
    """The report as one object."""
    fields = {
        "app": report.app,
        "status": report.status,
        "reason": report.reason,
        "seconds": round(report.seconds, 3),
        "command_status": report.command_status,
        "command_reason": report.command_reason,
        "dynos": [
            {**asdict(d), "ready_after": None if d.ready_after is None else round(d.ready_after, 3)}
            for d in report.dynos
        ],
        "answers": [{**asdict(a), "seconds": round(a.seconds, 3)} for a in report.answers],
    }
    return json.dumps(fields, indent=2) + "\n"


def as_junit(report: Report) -> str:
    """JUnit's XML as CI servers read it: a test case for each dyno, answer and the command."""
    from xml.sax.saxutils import escape, quoteattr

    cases = [_case(d.dyno, d.ready_after or 0.0, d.reason, d.last_lines) for d in report.dynos]
    web = [line for d in report.dynos if d.type == WEB for line in report.lines_of(d)]
    for answer in report.answers:
        why = None if answer.reason is None else f"{_got(answer)}: {answer.reason}"
        cases.append(_case(f"GET {answer.path}", answer.seconds, why, web))
    if report.command_status is not None:
        cases.append(_case("command", 0.0, report.command_failure, ()))
    if report.reason is not None:
        cases.append(_case("smoke", 0.0, report.reason, ()))
    failures = sum(reason is not None for _, _, reason, _ in cases)
    name = quoteattr(f"procman smoke {_xml(report.app)}")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name={name} tests="{len(cases)}" failures="{failures}"'
        f' time="{report.seconds:.3f}">',
    ]
    for case, seconds, reason, output in cases:
        head = f'  <testcase classname="smoke" name={quoteattr(_xml(case))} time="{seconds:.3f}"'
        if reason is None:
            lines.append(f"{head}/>")
            continue
        text = escape(_xml("\n".join(output)))
        message = quoteattr(_xml(reason))
        lines.append(f"{head}><failure message={message}>{text}</failure></testcase>")
    return "\n".join([*lines, "</testsuite>"]) + "\n"


def as_annotations(report: Report, procfile: str, line_of: Mapping[str, int]) -> str:
    """GitHub's workflow commands: an error at the Procfile's line for each thing that failed."""
    return "".join(
        f"::error file={_property(procfile)},line={line}::{_data(text)}\n"
        for line, text in _failures(report, line_of)
    )


def _failures(report: Report, line_of: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """What failed, each with the line of the Procfile that it is about."""
    for dyno in report.dynos:
        if dyno.reason is not None:
            yield line_of.get(dyno.type, 1), f"{dyno.dyno}: {dyno.reason}"
    for answer in report.answers:
        if answer.reason is not None:
            what = f"GET {answer.path}: {_got(answer)}: {answer.reason}"
            yield line_of.get(WEB, 1), what
    for reason in (report.command_failure, report.reason):
        if reason is not None:
            yield 1, reason


def _case(
    name: str, seconds: float, reason: str | None, output: Sequence[str]
) -> tuple[str, float, str | None, Sequence[str]]:
    return name, seconds, reason, output


def _got(answer: AnswerResult) -> str:
    return "no answer" if answer.status is None else str(answer.status)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else format_duration(seconds)


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c not in "\ufffe\uffff" else "?"
        for c in text
    )


def _data(text: str) -> str:
    """Escaped as the runner reads it (actions/toolkit, command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
