"""Lets a shell become the command that it runs, where that is one command.

bash does so by itself, dash forks for its last command: twice the processes, twice the time to the
first instruction, and a pid that is not the server's (LISTEN_PID must be, and what `ps` shows
should).
"""

from __future__ import annotations

import re

# Nearly all commands are such: one look, where reading a shell's words takes an import.
_PLAIN = re.compile(r"([A-Za-z0-9_./][A-Za-z0-9_./-]*)(?: +[A-Za-z0-9_./:=,@%+${}-]+)*")

# What no shell would change: no variable, no quote, no pattern, no home directory.
_LITERAL = re.compile(r"exec(?! +-)((?: +[A-Za-z0-9_./:=,@%+-]+)+)")

_EXECUTED = re.compile(r"(?:^|[;&|\n])\s*(?:[A-Za-z_]\w*=\S*\s+)*exec\s+(.*)", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_EXPANDED = re.compile(r"[$~`]")
_NOT_FIRST = re.compile(r"-|\d*[<>]|&")  # `exec` would take an option; a redirection before words
_OPERATORS = frozenset(";&|()\n")
_HARMLESS = re.compile(r"\$\([^()\n]*\)|\d*>&\d+|&>")  # a substitution, a redirection

# What dash or bash does itself: `exec` would look for a program of that name.
_ITS_OWN = frozenset(
    (
        *("!", ".", ":", "[", "[[", "]]", "alias", "bg", "bind", "break", "builtin", "caller"),
        *("case", "cd", "chdir", "command", "compgen", "complete", "compopt", "continue"),
        *("coproc", "declare", "dirs", "disown", "do", "done", "echo", "elif", "else", "enable"),
        *("esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for", "function"),
        *("getopts", "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local"),
        *("logout", "mapfile", "popd", "printf", "pushd", "pwd", "read", "readarray", "readonly"),
        *("return", "select", "set", "shift", "shopt", "source", "suspend", "test", "then"),
        *("time", "times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias"),
        *("unset", "until", "wait", "while", "{", "}"),
    )
)


def as_exec(command: str) -> str:
    """`exec COMMAND` for a simple command; any other is left as it is, for its author to place the
    `exec`.
    """
    plain = _PLAIN.fullmatch(command)
    if plain is not None:
        return command if plain[1] in _ITS_OWN else f"exec {command}"
    if _NOT_FIRST.match(command.lstrip()):
        return command
    import shlex

    lexer = shlex.shlex(_HARMLESS.sub(" x ", command), posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace = " \t"
    lexer.commenters = ""
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return command  # a quotation without an end: the shell will say so
    if any(_OPERATORS.issuperset(word) for word in words if word):
        return command
    assigned = [word for word in words if _ASSIGNMENT.match(word)]
    first = next((word for word in words if not _ASSIGNMENT.match(word)), None)
    if not first or first in _ITS_OWN:
        return command
    if first[0] in "$`" and "/" not in first:
        return command  # it may hold a word of the shell's own: CMD='exit 3'
    if any(_EXPANDED.search(word) for word in assigned):
        return command  # the shell takes one after the other, and `~` for a home: `env` does not
    return f"exec env {command}" if assigned and words[0] == assigned[0] else f"exec {command}"


def shell_stays(command: str) -> bool:
    """Whether a shell goes on beside what the command runs: `cd app && server`, `a; b`. In doubt it
    does.
    """
    if as_exec(command) != command:
        return False
    executed = _EXECUTED.search(command)
    return executed is None or as_exec(executed[1]) == executed[1]


def literal_words(command: str) -> list[str]:
    """The words of what `as_exec` made, where a shell would only look for the first one on PATH and
    become it; none where it has more to do.
    """
    match = _LITERAL.fullmatch(command)
    return [] if match is None else match[1].split()
