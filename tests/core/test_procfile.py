"""A Procfile is read as honcho reads it, and nothing in it is dropped in silence."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from procman.core.procfile import LONGEST_NAME, Problem, parse_procfile
from procman.errors import InputError

HONCHO = re.compile(r"^([A-Za-z0-9_-]+):\s*(.+)$")  # honcho/environ.py


def commands(data: bytes) -> dict[str, str]:
    """The commands of a file in which nothing is wrong."""
    procfile = parse_procfile(data, "Procfile")
    assert procfile.problems == ()
    return procfile.commands


def only_problem(data: bytes) -> Problem:
    (problem,) = parse_procfile(data, "Procfile").problems
    return problem


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"web: python app.py", {"web": "python app.py"}),
        (b"web:python app.py\n", {"web": "python app.py"}),
        (b"web:\t  x  \t\n", {"web": "x"}),
        (b"worker: b\nweb: a\n", {"worker": "b", "web": "a"}),
        (b"a-b_1: x: y # z\n", {"a-b_1": "x: y # z"}),
        (b"# c\n\n  # indented\n\t\nweb: a\n", {"web": "a"}),
        (b"web: a\r\nworker: b\r\n", {"web": "a", "worker": "b"}),
        (b"web: a\rworker: b\r", {"web": "a", "worker": "b"}),
        (b"\xef\xbb\xbfweb: a\n", {"web": "a"}),
        ("web: echo grüße\n".encode(), {"web": "echo grüße"}),
        (b"# caf\xe9 \0\nweb: a\n", {"web": "a"}),
        (b"n" * LONGEST_NAME + b": a", {"n" * LONGEST_NAME: "a"}),
    ],
)
def test_entries_are_read_in_the_order_of_the_file(data: bytes, expected: dict[str, str]) -> None:
    assert list(commands(data).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"web: a \\\n  --b\n", "a   --b"),
        (b"web: a \\\r\n--b \\\r\n--c\r\n", "a --b --c"),
        (b"web: ab\\\ncd\n", "abcd"),
        (b"web: \\\n  a\n", "a"),
        (b"web: a \\\n\n", "a"),
        (b"web: a \\\n# b\n", "a # b"),
        (b"web: a \\\\\nworker: b", "a \\\\"),
        (b"# no \\\nweb: a\n", "a"),
    ],
)
def test_a_backslash_joins_lines_as_a_shell_does(data: bytes, expected: str) -> None:
    assert commands(data)["web"] == expected


def test_a_continued_entry_counts_by_its_first_line() -> None:
    procfile = parse_procfile(b"\n# c\nweb: a \\\n b \\\n c\nworker: d\n", "Procfile")
    assert procfile.lines == {"web": 3, "worker": 6}


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (b"  web: a", "begins with its name, not with blanks", "write `web: a`"),
        (b"  --port 5", "expected 'type: command'", "line above"),
        (b"web a b", "no colon", "write `web: a b`"),
        (b"web : a", "blank before the colon", "write `web: a`"),
        (b"web:", "'web' has no command", "write `web: COMMAND`"),
        (b"web:  \t", "'web' has no command", "write `web: COMMAND`"),
        (b"web=a b", "'=' where a colon belongs", "write `web: a b`"),
        (b"my worker: a", "'my worker' is no name", "write `my-worker: a`"),
        (b"a.b: c", "'a.b' is no name", "write `a-b: c`"),
        (b'"web": "x"', "is no name", 'write `web: "x"`'),
        ("wörker: a".encode(), "'wörker' is no name", "write `w-rker: a`"),
        (b"// c", "expected 'type: command'", "a comment begins with #"),
        (b"[section]", "expected 'type: command'", "write `web: python app.py`"),
        (b": a", "expected 'type: command'", "write `web: python app.py`"),
        (b"n" * 129 + b": a", "129 characters", "at most 128"),
    ],
)
def test_a_line_that_is_no_entry_is_a_warning_with_its_line_and_what_was_meant(
    line: bytes, message: str, hint: str
) -> None:
    problem = only_problem(b"first: x\n\n" + line + b"\n")
    assert (problem.line, problem.fatal) == (3, False)
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_a_variable_is_sent_to_dotenv_and_its_value_is_not_repeated() -> None:
    problem = only_problem(b"web: a\nSECRET=hunter2\n")
    assert problem.hint == "config vars go in .env"
    assert "hunter2" not in problem.message


def test_a_warning_puts_no_control_sequence_on_the_terminal() -> None:
    problem = only_problem(b"web: a\n\x1b[2J\n")
    assert problem.message.isprintable()


def test_a_backslash_with_nothing_after_it_is_a_warning_and_the_entry_stays() -> None:
    procfile = parse_procfile(b"web: a \\", "Procfile")
    assert procfile.commands == {"web": "a"}
    assert [(p.line, p.fatal) for p in procfile.problems] == [(1, False)]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"web: a\n\nweb: b\n", 3, "'web' is defined twice, first in line 1"),
        (b"", None, "there is no process type"),
        (b"# only a comment\n", None, "there is no process type"),
        (b"web: a\nworker: \xff\n", 2, "not UTF-8, from byte 9"),
        (b"web: a \\\n \\\n\xff\n", 3, "not UTF-8, from byte 1"),
        (b"web: a\0b\n", 1, "NUL"),
        ("web: a\n".encode("utf-16"), 1, "UTF-16"),
    ],
)
def test_what_cannot_be_run_is_fatal(data: bytes, line: int | None, message: str) -> None:
    procfile = parse_procfile(data, "sub/Procfile")
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        procfile.require_valid()
    assert (caught.value.path, caught.value.line) == ("sub/Procfile", line)
    assert caught.value.hint
    assert caught.value.exit_code == 1


def test_of_two_definitions_the_first_is_kept() -> None:
    assert parse_procfile(b"web: a\nweb: b\n", "Procfile").commands == {"web": "a"}


def test_warnings_alone_stop_nothing_but_a_file_of_warnings_is_no_procfile() -> None:
    parse_procfile(b"web: a\nnonsense\n", "Procfile").require_valid()
    with pytest.raises(InputError, match="no process type"):
        parse_procfile(b"nonsense\n", "Procfile").require_valid()


LINES = st.sampled_from(
    [
        b"web: a",
        b"worker: b \\",
        b"  c",
        b"\xff",
        b"\0",
        b"# d",
        b"",
        b":",
        b"web",
        b"a b: c",
        b"\\",
    ]
)
FILES = st.one_of(st.binary(), st.lists(LINES).map(b"\n".join), st.lists(LINES).map(b"\r\n".join))


@given(FILES)
@example(b"\\")
def test_any_bytes_give_a_value_whose_problems_have_a_place_and_a_hint(data: bytes) -> None:
    procfile = parse_procfile(data, "Procfile")
    assert procfile.commands.keys() == procfile.lines.keys()
    last = len(re.split(rb"\r\n|\n|\r", data))
    for problem in procfile.problems:
        assert problem.hint
        assert problem.message.isprintable()
        assert problem.line is None or 1 <= problem.line <= last
    if not any(problem.fatal for problem in procfile.problems):
        assert procfile.commands
        procfile.require_valid()


@given(FILES)
def test_a_line_is_an_entry_a_comment_blank_or_a_problem(data: bytes) -> None:
    """Without continuations there is one line for each, and none is lost."""
    data = data.replace(b"\\", b"/").replace(b"\xef\xbb\xbf", b"")
    procfile = parse_procfile(data, "Procfile")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    told = {*procfile.lines.values(), *(p.line for p in procfile.problems if p.line)}
    for number, line in enumerate(re.split(rb"\r\n|\n|\r", data), 1):
        text = line.decode(errors="replace").strip()
        assert (number in told) == (text != "" and not text.startswith("#"))


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)
COMMANDS = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1)


@given(st.dictionaries(NAMES, COMMANDS.map(str.strip).filter(lambda c: c and c[-1] != "\\")))
def test_what_honcho_reads_is_read_alike(entries: dict[str, str]) -> None:
    text = "".join(f"{name}: {command}\n" for name, command in entries.items())
    honcho = {m[1]: m[2] for line in text.splitlines() if (m := HONCHO.match(line))}
    assert parse_procfile(text.encode(), "Procfile").commands == honcho == entries
