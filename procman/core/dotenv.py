"""Config vars from `.env` files: python-dotenv's syntax, strict, and `${VAR}` without surprises."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from procman.errors import InputError

if TYPE_CHECKING:
    from dotenv.parser import Binding

# Line, name, value, and whether the value is literal.
Assignment = tuple[int, str, str, bool]

# What Linux lets one variable, `NAME=value` and a NUL, have (MAX_ARG_STRLEN): with a longer one no
# process starts. It also bounds what lines such as `B=${A}${A}` can grow to.
LONGEST = 128 * 1024 - 2

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# A reference, the begin of one with a default, or the end of a default. `$5` and `$VAR` are text:
# passwords and prices look like that.
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)(\}|:-)|\}")
# A comment, a blank line, or a value of one word: what python-dotenv is not needed for.
_PLAIN = re.compile(
    r"[ \t]*(?:#[^\r]*|(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=((?:[^\s\"'#]\S*)?)[ \t]*)?"
)
_LINE_END = re.compile(r"\r\n|\n|\r")

_ASSIGN = "write NAME=value; NAME= is an empty value"
_QUOTE = (
    "close the quotes and write nothing but a comment after them; inside, escape as \\\" or \\'"
)


def parse_dotenv(data: bytes, path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The bindings of one file, in file order; of two for one name the later counts.

    `export K=v`, `EMPTY=`, quotes, values of several lines in quotes and `#` inside values are
    python-dotenv's. `${VAR}` and `${VAR:-default}` are replaced, once, by the file's earlier
    bindings, else by `environ`; the default counts when the variable is unset or empty, as in a
    shell, and without one it is empty. Single-quoted values are literal. CRLF and a byte order
    mark are read over.

    Raises InputError with path, line and hint. No error quotes what stands in the file: a line
    that is broken may well be the second line of a private key.
    """
    text = _decode(data, path)
    config_vars: dict[str, str] = {}
    for line, name, raw, is_literal in _assignments(text, path):
        value = raw if is_literal else _expand(raw, config_vars, environ)
        if value is None or len(name) + len(value.encode(errors="replace")) > LONGEST:
            message = "the variable is longer than 128 KiB, and no process could start with it"
            raise InputError(message, path=path, line=line, hint="keep it in a file, and name that")
        config_vars[name] = value
    return config_vars


def merge_config_vars(
    files: Sequence[Mapping[str, str]], environ: Mapping[str, str], *, override: bool
) -> dict[str, str]:
    """One environment of the files' bindings and the caller's: later files win over earlier ones.

    The caller's environment wins over all files, so that `DEBUG=1 procman start` does what it
    says; with `override` the files win, foreman's rule.
    """
    merged: dict[str, str] = {}
    for bindings in files:
        merged.update(bindings)
    return {**environ, **merged} if override else {**merged, **environ}


def _decode(data: bytes, path: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "save it as UTF-8; in PowerShell: Set-Content -Encoding utf8"
        raise InputError("this is UTF-16, not UTF-8", path=path, line=1, hint=hint)
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = 1 + _count_lines(data[: error.start].decode())
        raise InputError(
            "this is not UTF-8", path=path, line=line, hint="save it as UTF-8"
        ) from None
    if "\0" in text:
        line = 1 + _count_lines(text.partition("\0")[0])
        hint = "remove it; no variable can hold one"
        raise InputError("there is a NUL byte", path=path, line=line, hint=hint)
    return text.replace("\r\n", "\n")


def _assignments(text: str, path: str) -> Iterable[Assignment]:
    plain = _read_plain(text)
    return _read(text, path) if plain is None else plain


def _read_plain(text: str) -> list[Assignment] | None:
    """What python-dotenv would read, when no line needs it: most files are spared its import."""
    found: list[Assignment] = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _PLAIN.fullmatch(line)
        if match is None:
            return None
        if match[1]:
            found.append((number, match[1], match[2], False))
    return found


def _read(text: str, path: str) -> Iterator[Assignment]:
    from io import StringIO

    from dotenv.parser import parse_stream  # 11 ms

    for binding in parse_stream(StringIO(text, newline="")):
        line = _line_of(binding)
        if binding.error:
            raise _broken(binding, path, line)
        if binding.key is None:
            continue  # a comment or a blank line
        if not _NAME.fullmatch(binding.key):
            hint = "a name has letters, digits, _, . and - only"
            raise InputError("not a variable's name", path=path, line=line, hint=hint)
        if binding.value is None:
            raise InputError("there is no '='", path=path, line=line, hint=_ASSIGN)
        yield line, binding.key, binding.value, _is_single_quoted(binding)


def _line_of(binding: Binding) -> int:
    """Where the binding begins; python-dotenv counts the blank lines before it as its own."""
    text = binding.original.string
    blank = text[: len(text) - len(text.lstrip())]
    return binding.original.line + _count_lines(blank)


def _count_lines(text: str) -> int:
    return len(_LINE_END.findall(text))


def _is_single_quoted(binding: Binding) -> bool:
    """No name holds `=`, so the first one begins the value."""
    return binding.original.string.partition("=")[2].lstrip().startswith("'")


def _expand(value: str, earlier: Mapping[str, str], environ: Mapping[str, str]) -> str | None:
    """The value with its references replaced, once: what stands in a variable's value is text.

    Defaults nest, as in `${URL:-http://${HOST:-localhost}}`. None when it outgrows LONGEST.
    """
    unclosed: list[tuple[str, str]] = []  # text before a reference, and its name
    done, end, grown = "", 0, 0
    for match in _REFERENCE.finditer(value):
        done += value[end : match.start()]
        grown += match.start() - end
        end = match.end()
        name, closing = match[1], match[2]
        if closing == ":-":
            unclosed.append((done, name))
            done = ""
        elif closing or unclosed:
            before, name = (done, name) if closing else unclosed.pop()
            found = earlier.get(name) if name in earlier else environ.get(name)
            grown += len(found or "")
            done = before + (found or ("" if closing else done))
        else:
            done += "}"
        if grown > LONGEST:
            return None
    literal = [f"{before}${{{name}:-" for before, name in unclosed]
    return "".join([*literal, done, value[end:]])


def _broken(binding: Binding, path: str, line: int) -> InputError:
    """What python-dotenv could not read, told apart by its shape."""
    text = binding.original.string.strip()
    name, equals, value = text.partition("=")
    if not equals:
        hint = _ASSIGN + "; a value of several lines stands in double quotes"
        return InputError("there is no 'NAME=value'", path=path, line=line, hint=hint)
    if not name.strip():
        return InputError("there is no name before '='", path=path, line=line, hint=_ASSIGN)
    if value.lstrip().startswith(("'", '"')):
        message = "the quotes are not closed, or text follows them"
        return InputError(message, path=path, line=line, hint=_QUOTE)
    hint = "a name is one word: write NAME=value"
    return InputError("the name has blanks in it", path=path, line=line, hint=hint)
