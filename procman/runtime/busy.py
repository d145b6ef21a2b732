"""Tells before the start that a port is taken, and by whom."""

from __future__ import annotations

import errno
import socket

from procman.errors import InputError


def require_free_port(host: str, port: int, user: str) -> None:
    """InputError, naming the holder, when somebody listens on a port of ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no holder
        try:
            probe.bind((host, port))
            return
        except OSError as error:
            if error.errno == errno.EACCES:
                raise InputError(
                    f"port {port} of {user} is reserved to root", hint="choose one with -p"
                ) from None
            if error.errno != errno.EADDRINUSE:
                raise
    raise InputError(
        f"port {port} of {user} is taken{_holder(port)}",
        hint="stop it, choose another base port with -p, or let `-p auto` find free ones",
    )


def _holder(port: int) -> str:
    from procman.runtime.listening import holder_of

    holder = holder_of(port)
    return "" if holder is None else f" by pid {holder.pid} ({holder.command})"
