"""The other terminal's end of the control socket: blocking, without asyncio, quick to import."""

from __future__ import annotations

import math
import select
import socket
import struct
import sys
from collections.abc import Mapping

from procman.core.wire import encode, parse_answer, request
from procman.errors import NotRunningError, ProcmanError, ProtocolError
from procman.runtime.home import Home
from procman.runtime.tree import state_of

LOOK = 1.0  # seconds between looks at who does not answer
LONGEST_ANSWER = 1 << 24  # `ps` of a thousand dynos is 0.5 MB


def connect(root: str) -> socket.socket:
    """A connection to the app in `root`. Raises NotRunningError when it does not run."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(Home(root).socket_path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        raise NotRunningError(
            f"the app in {root} is not running", hint="start it with `procman start`"
        ) from None
    return connection


def ask(root: str, do: str, **fields: object) -> dict[str, object]:
    """Send one request and return its answer. Raises what the app answers, NotRunningError, and
    ProcmanError when it is suspended.
    """
    with connect(root) as connection:
        return converse(connection, do, **fields)


def ask_within(patience: float, root: str, do: str) -> dict[str, object]:
    """The same; raises ProcmanError as well when there is no answer for so many seconds."""
    with connect(root) as connection:
        return _converse(connection, patience, do, {})


def converse(connection: socket.socket, do: str, **fields: object) -> dict[str, object]:
    """Send one request over an open connection, which stays open for what streams after it."""
    return _converse(connection, math.inf, do, fields)


def _converse(
    connection: socket.socket, patience: float, do: str, fields: Mapping[str, object]
) -> dict[str, object]:
    _require_awake(connection)  # or it would do what is asked when nobody expects it any more
    try:
        try:
            connection.sendall(request(do, **fields))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before its end, as too long: the answer is there already
        _await_answer(connection, patience)
        return parse_answer(read_line(connection))
    except (BrokenPipeError, ConnectionResetError):
        raise NotRunningError("the app ended before it answered") from None


def _await_answer(connection: socket.socket, patience: float) -> None:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    waited = 0.0
    while not poll.poll((look := min(LOOK, patience - waited)) * 1000):
        _require_awake(connection)
        waited += look
        if waited >= patience:
            raise ProcmanError(f"the app's procman has not answered for {patience:g} s")


def _require_awake(connection: socket.socket) -> None:
    """By a Ctrl-Z in its terminal, say, it would never answer. Only Linux tells who is there."""
    if sys.platform != "linux":
        return
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid = struct.unpack("3i", credentials)[0]
    if state_of(pid) == "T":
        raise ProcmanError(
            f"the app's procman, pid {pid}, is suspended",
            hint=f"continue it: `fg` in its terminal, or `kill -CONT {pid}`",
        )


def read_line(connection: socket.socket) -> bytes:
    """One line; what comes after it stays in the socket. Raises NotRunningError at the end."""
    line = bytearray()
    while not line.endswith(b"\n"):
        peeked = connection.recv(65536, socket.MSG_PEEK)
        if not peeked:
            raise NotRunningError("the app ended before it answered")
        end = peeked.find(b"\n") + 1
        line += connection.recv(end or len(peeked))
        if len(line) > LONGEST_ANSWER:
            raise ProtocolError("the app's answer does not end")
    return bytes(line)


__all__ = ["ask", "ask_within", "connect", "converse", "encode", "read_line"]
