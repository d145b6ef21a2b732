"""Takes the app's ports before anything starts, or tells who has them."""

from __future__ import annotations

import errno
import os
import socket

from procman.errors import InputError

BACKLOG = 1024
EVERYWHERE = ("::", "0.0.0.0")  # each by a socket of its own: a peer's address is as it is


def listen(host: str, port: int, user: str) -> list[socket.socket]:
    """Sockets that listen on all addresses of a host, for `user`. Whoever connects waits.

    InputError, naming the holder, when somebody else listens there, or nobody can.
    """
    sockets = _bind(host, port, user)
    try:
        for bound in sockets:
            bound.listen(BACKLOG)
    except OSError as error:  # somebody was quicker: two may have bound it, and only one listens
        close_all(sockets)
        raise _refusal(error, host, port, user) from None
    return sockets


def require_free_port(host: str, port: int, user: str) -> None:
    """InputError, naming the holder, when somebody listens on a port of ours, or nobody can."""
    close_all(_bind(host, port, user))


def close_all(sockets: list[socket.socket]) -> None:
    """Give the ports back; those that are closed already stay so."""
    for bound in sockets:
        bound.close()


def _bind(host: str, port: int, user: str) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for name in EVERYWHERE if host == "::" else (host,):
            # As bytes: for a str the codec for international names would be imported.
            places = socket.getaddrinfo(os.fsencode(name), port, type=socket.SOCK_STREAM)
            for family, kind, _, _, address in places:
                bound = socket.socket(family, kind)
                sockets.append(bound)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT holds none
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind(address)
    except OSError as error:
        close_all(sockets)
        raise _refusal(error, host, port, user) from None
    return sockets


def _refusal(error: OSError, host: str, port: int, user: str) -> InputError:
    if error.errno == errno.EACCES:
        return InputError(f"port {port} of {user} is reserved to root", hint="choose one with -p")
    if error.errno != errno.EADDRINUSE:
        return InputError(
            f"{user} cannot listen on {host}: {error.strerror or error}",
            hint="--host takes an address of this machine: 127.0.0.1, 0.0.0.0, ::1 or ::",
        )
    return InputError(
        f"port {port} of {user} is taken{_holder(port)}",
        hint="stop it, choose another base port with -p, or let `-p auto` find free ones",
    )


def _holder(port: int) -> str:
    from procman.runtime.listening import holder_of

    holder = holder_of(port)
    return "" if holder is None else f" by pid {holder.pid} ({holder.command})"
