"""Lets a shell become the command that it runs, where that is one command.

A socket is handed on to a process by its pid (LISTEN_PID), and dash forks for its last command.
"""

from __future__ import annotations

import re
import shlex

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_OPERATORS = frozenset(";&|()\n")
_HARMLESS = re.compile(r"\$\([^()\n]*\)|\d*>&\d+|&>")  # a substitution, a redirection

# What a shell does itself: `exec` would look for a program of that name.
_ITS_OWN = frozenset(
    (
        *("!", ".", ":", "[[", "alias", "bg", "break", "builtin", "case", "cd", "command"),
        *("continue", "declare", "do", "done", "elif", "else", "esac", "eval", "exec", "exit"),
        *("export", "false", "fg", "fi", "for", "function", "hash", "if", "in", "jobs", "kill"),
        *("local", "read", "readonly", "return", "set", "shift", "source", "then", "time", "times"),
        *("trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "until"),
        *("wait", "while", "{", "}"),
    )
)


def as_exec(command: str) -> str:
    """`exec COMMAND` for a simple command; any other is left as it is, for its author to place the
    `exec`.
    """
    lexer = shlex.shlex(_HARMLESS.sub(" x ", command), posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace = " \t"
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return command  # a quotation without an end: the shell will say so
    if any(_OPERATORS.issuperset(word) for word in words if word):
        return command
    assigned = [word for word in words if _ASSIGNMENT.match(word)]
    first = next((word for word in words if not _ASSIGNMENT.match(word)), None)
    if first is None or first in _ITS_OWN:
        return command
    return f"exec env {command}" if assigned and words[0] == assigned[0] else f"exec {command}"
