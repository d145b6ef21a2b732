"""The messages of the control socket: one JSON object a line, versioned, bounded, checked.

A client sends one request and reads one answer. `follow` and `attach` then go on as streams. Any
bytes give a request or a ProtocolError; nothing that a client sends can hurt the app.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from procman.errors import InputError, NotRunningError, ProcmanError, ProtocolError

VERSION = 1
LONGEST = 64 * 1024  # bytes of one request: hundreds of targets, and no way to fill our memory
LARGEST = 10**9  # of numbers: seconds of thirty years; no system call chokes on it

# What each request may hold beside `v` and `do`, with the type of each.
REQUESTS: Mapping[str, Mapping[str, type]] = {
    "ps": {"targets": list},
    "scale": {"changes": list, "wait": bool},
    "restart": {"targets": list, "now": bool, "wait": bool, "preboot": bool},
    "stop": {"targets": list, "now": bool, "wait": bool},
    "signal": {"targets": list, "number": int},
    "idle": {"targets": list, "wait": bool},
    "wake": {"targets": list, "wait": bool},
    "wait": {"targets": list, "timeout": float},
    "release": {"name": str},
    "follow": {},
    "attach": {"dyno": str},
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants. `fields` are checked against REQUESTS; what was not given is absent."""

    do: str
    fields: Mapping[str, object]

    def words(self, name: str) -> list[str]:
        """A list of strings; empty when it was not given."""
        value = self.fields.get(name, [])
        return [str(item) for item in value] if isinstance(value, list) else []

    def flag(self, name: str) -> bool:
        """A truth value; false when it was not given."""
        return self.fields.get(name) is True

    def number(self, name: str) -> float | None:
        """A number, or None when it was not given."""
        value = self.fields.get(name)
        return value if isinstance(value, (int, float)) else None

    def text(self, name: str) -> str:
        """A string; empty when it was not given."""
        return str(self.fields.get(name, ""))


def encode(message: Mapping[str, object]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def request(do: str, **fields: object) -> bytes:
    """A request as it is sent; a field that is None is left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return encode({"v": VERSION, "do": do, **given})


def parse_request(line: bytes) -> Request:
    """A checked request. Raises ProtocolError, which says what was wrong."""
    if len(line) > LONGEST:
        raise ProtocolError(f"a message of more than {LONGEST} bytes")
    message = _parse_object(line)
    version = message.pop("v", None)
    if version != VERSION:
        raise ProtocolError(
            f"this procman speaks version {VERSION} of the control protocol, not {_cut(version)}",
            hint="restart the app with the procman that is installed now",
        )
    do = message.pop("do", None)
    if not isinstance(do, str) or do not in REQUESTS:
        raise ProtocolError(f"unknown request {_cut(do)}")
    for name, value in message.items():
        wanted = REQUESTS[do].get(name)
        if wanted is None:
            raise ProtocolError(f"{do}: unknown field {_cut(name)}")
        if not _fits(value, wanted):
            raise ProtocolError(f"{do}: {name} is not a {wanted.__name__}")
    return Request(do, message)


def parse_answer(line: bytes) -> dict[str, object]:
    """The answer of a request that went well. Raises what went wrong, as the app would."""
    answer = _parse_object(line)
    if answer.get("ok") is True:
        return answer
    message, hint, code = answer.get("error"), answer.get("hint"), answer.get("code")
    if not isinstance(message, str):
        raise ProtocolError("the app's answer makes no sense")
    error = next((kind for kind in _RAISED if kind.exit_code == code), ProcmanError)
    raise error(message, hint=hint if isinstance(hint, str) else None)


def error_answer(error: ProcmanError) -> bytes:
    """The answer of a request that went wrong."""
    return encode(
        {"ok": False, "error": error.message, "hint": error.hint, "code": error.exit_code}
    )


_RAISED: Sequence[type[ProcmanError]] = (InputError, NotRunningError)


def _parse_object(line: bytes) -> dict[str, object]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("a message that is no JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("a message that is no object")
    return message


def _fits(value: object, wanted: type) -> bool:
    if wanted is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if wanted is bool:
        return isinstance(value, bool)
    if isinstance(value, (int, float)):  # NaN and infinity are within no bounds
        whole = wanted is float or isinstance(value, int)
        return wanted in (int, float) and whole and not isinstance(value, bool) and _bears(value)
    return isinstance(value, wanted)


def _bears(number: float) -> bool:
    return -LARGEST <= number <= LARGEST


def _cut(value: object) -> str:
    """A value in an error; not its insides, which may be nested deeper than Python can show."""
    return repr(value)[:100] if isinstance(value, (str, int, float)) else type(value).__name__
