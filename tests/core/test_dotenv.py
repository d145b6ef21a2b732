"""Config vars are what the file says: nothing dropped, nothing expanded by surprise, no leaks."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from procman.core.dotenv import LONGEST, _read, _read_plain, merge_config_vars, parse_dotenv
from procman.errors import InputError

ENVIRON = {"HOME": "/home/u", "EMPTY": "", "A": "caller"}


def parse(text: str) -> dict[str, str]:
    return parse_dotenv(text.encode(), ".env", ENVIRON)


def refuse(data: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_dotenv(data, "sub/.env", ENVIRON)
    assert caught.value.path == "sub/.env"
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("export K=v", {"K": "v"}),
        ("EMPTY=\nB=", {"EMPTY": "", "B": ""}),
        (" K = v ", {"K": "v"}),
        ("# c\n\n  # d\nK=v # e\n", {"K": "v"}),
        ("HASH=val#x", {"HASH": "val#x"}),
        ("URL=http://h/#top?a=b", {"URL": "http://h/#top?a=b"}),
        ("Q=\"a # b\" # c\nR='a # b'", {"Q": "a # b", "R": "a # b"}),
        ('M="one\ntwo\n"\nN=3', {"M": "one\ntwo\n", "N": "3"}),
        (r'E="a\nb \"q\" \\"', {"E": 'a\nb "q" \\'}),
        (r"S='a\nb \'q\''", {"S": r"a\nb 'q'"}),
        ("U=a b  c  ", {"U": "a b  c"}),
        ("K=1\nK=2", {"K": "2"}),
        ("a.b-c=1\n2=3", {"a.b-c": "1", "2": "3"}),
        ("Ü='1'".replace("Ü", "U"), {"U": "1"}),
        ("V=grüße", {"V": "grüße"}),
        ("", {}),
        ("\n# only this\n", {}),
    ],
)
def test_the_syntax_is_that_of_python_dotenv(text: str, expected: dict[str, str]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B=${HOME}/x", "/home/u/x"),
        ("A=file\nB=${A}", "file"),
        ("B=${A}\nA=file", "caller"),
        ("A=${A}:x\nB=${A}", "caller:x"),
        ("B=[${NONE}]", "[]"),
        ("B=${NONE:-d e}", "d e"),
        ("B=${HOME:-d}", "/home/u"),
        ("B=${EMPTY:-d}", "d"),
        ("B=${NONE:-}", ""),
        ("B=${NONE:-http://${HOST:-localhost}/${A}}", "http://localhost/caller"),
        ("B=${HOME:-${A}}", "/home/u"),
        ('B="${A} ${HOME}"', "caller /home/u"),
        ("B='${A}'", "${A}"),
        ("export B = '${A}'", "${A}"),
        ("'B'='${A}'", "${A}"),
        ("B=cost$5 $A $(id) `id` %A%", "cost$5 $A $(id) `id` %A%"),
        ("B=${5} ${} ${A-x} ${A:+x} ${A", "${5} ${} ${A-x} ${A:+x} ${A"),
        ("B=}{ ${NONE:-{}}", "}{ {}"),
        ("B=${NONE:-a ${A} ${X:-b", "${NONE:-a caller ${X:-b"),
        ("A='${HOME}'\nB=${A}", "${HOME}"),
    ],
)
def test_references_are_replaced_once_from_the_file_and_then_from_the_environment(
    text: str, expected: str
) -> None:
    assert parse(text)["B"] == expected


def test_crlf_and_a_byte_order_mark_are_read_over() -> None:
    data = b'\xef\xbb\xbfA=1\r\nB="x\r\ny"\r\nC=\r\n'
    assert parse_dotenv(data, ".env", {}) == {"A": "1", "B": "x\ny", "C": ""}


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"A=1\nKEY\n", 2, "there is no '='"),
        (b"export KEY", 1, "there is no '='"),
        (b"A=1\n\n\n# c\n\nKEY VALUE\n", 6, "no 'NAME=value'"),
        (b"A B=c", 1, "blanks"),
        (b"KEY: value", 1, "no 'NAME=value'"),
        (b"\n=1", 2, "no name before '='"),
        (b"A=1\nB='x\nC=2\n", 2, "quotes"),
        (b'A="x\ny"z\n', 1, "quotes"),
        (b"'a=b'=c", 1, "not a variable's name"),
        (b'"A"=c', 1, "not a variable's name"),
        ("grüße=1".encode(), 1, "not a variable's name"),
        (b"A=1\nB=\xff", 2, "not UTF-8"),
        (b"A=1\r\nB=2\r\nC=\0", 3, "NUL"),
        ("A=1".encode("utf-16"), 1, "UTF-16"),
        (b"A=1\nB=" + b"x" * (LONGEST + 1), 2, "longer than 128 KiB"),
    ],
)
def test_a_broken_line_is_an_error_with_its_place(data: bytes, line: int, message: str) -> None:
    error = refuse(data)
    assert error.line == line
    assert message in error.message
    assert error.exit_code == 1


@pytest.mark.parametrize(
    "data",
    [
        b"KEY hunter2",
        b"A=1\nhunter2",
        b"A B=hunter2",
        b"A='hunter2",
        b'A="hunter2"x',
        b"hunter2/+=",
        b"-----BEGIN KEY-----\nhunter2\n",
        b"A=hunter2\xff",
        b"A=hunter2\0",
        b"A=" + b"hunter2" * 20_000,
    ],
)
def test_no_error_repeats_what_the_file_holds(data: bytes) -> None:
    error = refuse(data)
    assert "hunter2" not in f"{error.message} {error.hint} {error!r}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_references_that_grow_without_end_are_refused_at_once() -> None:
    """Forty doublings would be a tebibyte."""
    lines = ["A0=0123456789", *(f"A{n}=${{A{n - 1}}}${{A{n - 1}}}" for n in range(1, 40))]
    error = refuse("\n".join(lines).encode())
    assert error.line == 15
    assert "longer than 128 KiB" in error.message


def test_bytes_of_the_callers_environment_that_are_no_utf8_pass_through() -> None:
    assert parse_dotenv(b"B=${A}", ".env", {"A": "\udcff"}) == {"B": "\udcff"}


def test_later_files_win_and_the_caller_beats_them_all_unless_overridden() -> None:
    files = [{"A": "1", "B": "1", "C": "1"}, {"B": "2", "C": "2"}]
    environ = {"C": "caller", "D": "caller"}
    merged = merge_config_vars(files, environ, override=False)
    assert merged == {"A": "1", "B": "2", "C": "caller", "D": "caller"}
    merged = merge_config_vars(files, environ, override=True)
    assert merged == {"A": "1", "B": "2", "C": "2", "D": "caller"}
    assert files == [{"A": "1", "B": "1", "C": "1"}, {"B": "2", "C": "2"}]


PIECES = st.sampled_from(
    ["A", "=", "'", '"', "\\", "#", " ", "\n", "\r", "${A}", "${B:-", "}", "export ", "\ufeff", "é"]
)


@given(st.binary() | st.lists(PIECES).map("".join).map(str.encode))
@example(b"\xff\xfe")
@example(b"\n\r\x0b\xc2\x85A")
def test_any_bytes_give_config_vars_or_an_error_with_place_and_hint(data: bytes) -> None:
    try:
        config_vars = parse_dotenv(data, ".env", ENVIRON)
    except InputError as error:
        refused = error
    else:
        for name, value in config_vars.items():
            assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
            assert "\0" not in value
        return
    assert refused.hint
    assert refused.path == ".env"
    assert refused.line is not None
    assert 1 <= refused.line <= len(re.split(rb"\r\n|\n|\r", data))


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@given(st.dictionaries(NAMES, VALUES))
def test_single_quotes_keep_any_value(bindings: dict[str, str]) -> None:
    quoted = {n: v.replace("\\", "\\\\").replace("'", "\\'") for n, v in bindings.items()}
    text = "".join(f"{name}='{value}'\n" for name, value in quoted.items())
    assert parse(text) == bindings


@given(NAMES, VALUES)
def test_a_variables_value_is_never_expanded_again(name: str, value: str) -> None:
    got = parse_dotenv(f"B=${{{name}}}".encode(), ".env", {name: value})
    assert got == {"B": value}


PLAIN = st.sampled_from(
    [
        "A",
        "B_1",
        "=",
        "=",
        "export ",
        "x",
        "1",
        "#",
        " ",
        "\t",
        "\n",
        "\n",
        "'",
        '"',
        "\\",
        "é",
        "\r",
    ]
)


@given(st.lists(PLAIN).map("".join))
@example("A=#x")
@example("A= # c")
@example("A=x'y' \n #c\rB=2")
@example("export=1\nexport export=2")
def test_files_that_need_no_python_dotenv_are_read_as_it_reads_them(text: str) -> None:
    plain = _read_plain(text)
    if plain is not None:
        assert plain == list(_read(text, ".env"))


def test_an_ordinary_file_needs_no_python_dotenv() -> None:
    text = "# db\nexport A=1\nURL=postgres://u:p@h/db?x=y#z\n\nEMPTY=\n"
    assert _read_plain(text) is not None
