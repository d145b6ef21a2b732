"""Tells before the start that a port is taken, and by whom."""

from __future__ import annotations

import errno
import os
import socket

from procman.errors import InputError


def require_free_port(host: str, port: int, user: str) -> None:
    """InputError, naming the holder, when somebody listens on a port of ours, or nobody can."""
    try:
        # As bytes: for a str the codec for international names would be imported.
        places = socket.getaddrinfo(os.fsencode(host), port, type=socket.SOCK_STREAM)
        for family, kind, _, _, address in places:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT holds none
                probe.bind(address)
        return
    except OSError as error:
        if error.errno == errno.EACCES:
            raise InputError(
                f"port {port} of {user} is reserved to root", hint="choose one with -p"
            ) from None
        if error.errno != errno.EADDRINUSE:
            raise InputError(
                f"{user} cannot listen on {host}: {error.strerror or error}",
                hint="--host takes an address of this machine: 127.0.0.1, 0.0.0.0, ::1 or ::",
            ) from None
    raise InputError(
        f"port {port} of {user} is taken{_holder(port)}",
        hint="stop it, choose another base port with -p, or let `-p auto` find free ones",
    )


def _holder(port: int) -> str:
    from procman.runtime.listening import holder_of

    holder = holder_of(port)
    return "" if holder is None else f" by pid {holder.pid} ({holder.command})"
