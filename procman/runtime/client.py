"""The other terminal's end of the control socket: blocking, without asyncio, quick to import."""

from __future__ import annotations

import socket

from procman.core.wire import encode, parse_answer, request
from procman.errors import NotRunningError, ProtocolError
from procman.runtime.home import Home

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
    """Send one request and return its answer. Raises what the app answers, NotRunningError."""
    with connect(root) as connection:
        return converse(connection, do, **fields)


def converse(connection: socket.socket, do: str, **fields: object) -> dict[str, object]:
    """Send one request over an open connection, which stays open for what streams after it."""
    try:
        try:
            connection.sendall(request(do, **fields))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before its end, as too long: the answer is there already
        return parse_answer(read_line(connection))
    except (BrokenPipeError, ConnectionResetError):
        raise NotRunningError("the app ended before it answered") from None


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


__all__ = ["ask", "connect", "converse", "encode", "read_line"]
