"""Clients that ask the app while something happens to it, and know the right answers."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto

from tests.end_to_end.conftest import PATIENCE
from tests.reliability.dyno import answer_to

CLIENTS = 3
PACE = 0.01  # seconds between two requests of a client: what happens needs the processor as well
AFTER = 4  # requests of each client after it is over


class Outcome(Enum):
    """What became of a request."""

    RIGHT = auto()  # 200, with the body that belongs to it
    WRONG = auto()  # any other body, or a status that nobody may have answered
    REFUSED = auto()  # the router's own error, with a code
    BROKEN = auto()  # no connection, or one that ended too early


@dataclass(frozen=True, slots=True)
class Answer:
    """To one request."""

    method: str
    outcome: Outcome
    said: str


class Harm(Enum):
    """What a fault may do to a request, at most; what it may not is a bug."""

    NONE = auto()
    POSTS = auto()  # those that nobody may try twice are refused, with a code
    REFUSED = auto()  # any may be refused, with a code
    BROKEN = auto()  # connections end

    def allows(self, answer: Answer) -> bool:
        """Whether this may be the fault's doing."""
        match answer.outcome:
            case Outcome.RIGHT:
                return True
            case Outcome.WRONG:
                return False
            case Outcome.REFUSED if self is Harm.POSTS:
                return answer.method == "POST"
            case Outcome.REFUSED:
                return self in (Harm.REFUSED, Harm.BROKEN)
            case Outcome.BROKEN:
                return self is Harm.BROKEN


class Load:
    """Some clients of the app on `port`."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self._port = port
        self._seeds = [chance.randrange(1 << 30) for _ in range(CLIENTS)]
        self._over = threading.Event()

    def during(self, act: Callable[[], str]) -> tuple[str, list[Answer]]:
        """Ask while it acts and a little longer: what it says of itself, and all answers."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._ask, random.Random(seed)) for seed in self._seeds]
            try:
                said = act()
            finally:
                self._over.set()
            return said, [answer for client in clients for answer in client.result()]

    def _ask(self, chance: random.Random) -> list[Answer]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        answers, after = [], 0
        while after < AFTER:
            after += self._over.is_set()
            answers.append(_request(connection, chance))
            self._over.wait(PACE)
        connection.close()
        return answers


def _request(connection: http.client.HTTPConnection, chance: random.Random) -> Answer:
    method = chance.choice(["GET", "GET", "POST"])
    path = f"/{chance.randrange(1 << 30):x}"
    body = chance.randbytes(chance.choice([0, 10, 100_000])) if method == "POST" else b""
    kept = {} if chance.random() < 0.5 else {"Connection": "close"}
    try:
        connection.request(method, path, body or None, kept)
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return Answer(method, Outcome.BROKEN, repr(error))
    code = answer.headers.get("X-Procman-Error")
    if answer.status == 200 and code is None and said == answer_to(method, path, body):
        return Answer(method, Outcome.RIGHT, "")
    outcome = Outcome.REFUSED if code in CODES and answer.status == 503 else Outcome.WRONG
    return Answer(method, outcome, f"{answer.status} {code} {said[:300]!r}")


# What a request may be refused with because of what happens to a dyno, and never its own fault.
CODES = ("H10", "H11", "H13", "H14", "H18", "H19", "H20", "H21", "H24")
