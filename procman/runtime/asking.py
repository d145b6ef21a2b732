"""Asks the app for a path, as a client of its router does: the smoke test's requests."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from procman.core.http_answer import LONGEST_HEAD, AnswerHead, BadAnswer, judge_answer
from procman.core.http_body import BadBody
from procman.core.http_head import Framing, body_of
from procman.core.http_request import PLAIN

_MARK = re.compile(rb"\r\nx-procman-error:[ \t]*([^\r]*)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation:[ \t]*([^\r]*)", re.IGNORECASE)


class NoAnswer(Exception):
    """The connection or the answer broke off, or it is no HTTP."""


@dataclass(slots=True)
class Heard:
    """What came so far: `code` is the router's, when it answered in the app's place."""

    status: int | None = None
    code: str = ""
    location: str = ""


async def ask(url: str, path: str, heard: Heard) -> None:
    """GET a path and read the answer to its end; a stream of events has none, and its head is
    enough. Raises NoAnswer; `heard` tells how far it came, also when this is cancelled.
    """
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(
            host.strip("[]"), int(port), limit=LONGEST_HEAD
        )
        try:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: procman-smoke\r\n"
            writer.write(f"{head}Accept: */*\r\nConnection: close\r\n\r\n".encode())
            answer = await _head(reader)
            heard.status = answer.status
            heard.code = _find(_MARK, answer.lines)
            heard.location = _find(_LOCATION, answer.lines)
            await _read_body(reader, answer)
        finally:
            writer.close()
    except EOFError:
        raise NoAnswer("it broke off" if heard.status else "the connection was closed") from None
    except asyncio.LimitOverrunError:
        raise NoAnswer("the head of the answer is too long") from None
    except (OSError, BadAnswer, BadBody) as error:
        raise NoAnswer(str(error)) from None


async def _head(reader: asyncio.StreamReader) -> AnswerHead:
    """The head of the answer itself, after the interim ones (1xx)."""
    while True:
        answer = judge_answer(await reader.readuntil(b"\r\n\r\n"), PLAIN)
        if answer.status >= 200:
            return answer


async def _read_body(reader: asyncio.StreamReader, answer: AnswerHead) -> None:
    """To its end; EOFError when it breaks off before."""
    body = None if answer.endless else body_of(answer.framing, answer.size)
    if body is None:
        return
    while data := await reader.read(65536):
        body.take(data)
        if body.done:
            return
    if answer.framing is not Framing.UNTIL_CLOSE:
        raise EOFError


def _find(pattern: re.Pattern[bytes], lines: bytes) -> str:
    found = pattern.search(lines)
    text = found[1].decode("latin-1").strip() if found else ""
    return "".join(character for character in text if character.isprintable())
