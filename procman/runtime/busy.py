"""Tells before the start that a port is taken, and by whom."""

from __future__ import annotations

import errno
import socket

from procman.errors import InputError


def require_free_port(port: int, dyno: str) -> None:
    """InputError, naming the holder, when somebody listens on the port of a dyno."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no holder
        try:
            probe.bind(("127.0.0.1", port))
            return
        except OSError as error:
            if error.errno == errno.EACCES:
                raise InputError(
                    f"port {port} of {dyno} is reserved to root", hint="choose one with -p"
                ) from None
            if error.errno != errno.EADDRINUSE:
                raise
    raise InputError(
        f"port {port} of {dyno} is taken{_holder(port)}",
        hint="stop it, choose another base port with -p, or let `-p auto` find free ones",
    )


def _holder(port: int) -> str:
    from procman.runtime.listening import holder_of

    holder = holder_of(port)
    return "" if holder is None else f" by pid {holder.pid} ({holder.command})"
