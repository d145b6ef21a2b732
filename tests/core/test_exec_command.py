"""Which commands a shell may become."""

from __future__ import annotations

import pytest

from procman.core.exec_command import as_exec, literal_words, shell_stays


@pytest.mark.parametrize(
    "command",
    [
        "gunicorn app:app",
        "bundle exec puma -p $PORT",
        "./bin/server --port=${PORT} a@b,c",
        "server --name='a; b' \"c & d\"",
        "server -w $(nproc) > log 2>&1",
        "server # with a comment",
        "env A=1 server",
        "$HOME/bin/server -x",
    ],
)
def test_a_simple_command_takes_the_shells_place(command: str) -> None:
    """And has its pid."""
    assert as_exec(command) == f"exec {command}"


def test_its_variables_go_with_it() -> None:
    """`exec A=1 server` would look for a program named A=1."""
    assert as_exec("A=1 B='x y' server --c=d") == "exec env A=1 B='x y' server --c=d"


@pytest.mark.parametrize(
    "command",
    [
        "cd src && server",
        "one; two",
        "one | two",
        "server &",
        "(server)",
        "exec server",
        "echo $PORT",
        "true",
        "$SERVER; x",
        "if true; then server; fi",
        "one\ntwo",
        "server 'without end",
        "A=1",
        "A=1 B=$A server",
        "DATA=~/data server",
        "$COMMAND",
        "${COMMAND} -x",
        "chdir src",
        "'' x",
        "",
        "-x 1",  # `exec` would take it for an option of its own
        "-x '1 2'",
        "exec -a name server",
        "2>&1 server --now",  # `exec` is not the first word then, and need not be
        ">log server",
        "&>log server",
    ],
)
def test_any_other_is_left_as_it_is(command: str) -> None:
    """Its author places the `exec`."""
    assert as_exec(command) == command


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("server", ["server"]),
        ("./bin/server  --port=80 a@b,c:d 50%", ["./bin/server", "--port=80", "a@b,c:d", "50%"]),
        ("server -p $PORT", []),
        ("server 'a b'", []),
        ("server ~/x", []),
        ("server *.py", []),
        ("server >log", []),
        ("server # comment", []),
        ("A=1 server", ["env", "A=1", "server"]),
        ("exec server", ["server"]),
        ("exec -a name server", []),
        ("-x 1", []),
        ("echo x", []),
        ("one; two", []),
    ],
)
def test_words_are_literal_where_no_shell_would_change_them(command: str, words: list[str]) -> None:
    """A shell would only look for the first one, and become it."""
    assert literal_words(as_exec(command)) == words


@pytest.mark.parametrize(
    ("command", "stays"),
    [
        ("server", False),
        ("A=1 server --name='a; b'", False),
        ("exec server 2>&1", False),
        ("cd app && exec server", False),
        ("cd app && A=1 B=x exec server", False),
        ("date; exec server 'a; b' > log 2>&1", False),
        ("cd app && server", True),
        ("one; two", True),
        ("server & wait", True),
        ("exec server & wait", True),
        ("exec one | two", True),
        ("(exec server) & wait", True),
        ("executable && exec-server", True),
        ("echo hello", True),
    ],
)
def test_a_shell_stays_where_it_has_more_to_do(command: str, stays: bool) -> None:
    """Then it is the shell that gets the leader's signals."""
    assert shell_stays(command) is stays
