"""The listening socket that procman holds for all web dynos, handed on by systemd's protocol.

sd_listen_fds(3): the descriptor is 3, LISTEN_FDS counts, LISTEN_PID names the process that it is
meant for. Requests wait in it while a dyno restarts or sleeps, and are refused when there is none.
"""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Mapping

from procman.core.exec_command import as_exec
from procman.runtime.bind import BACKLOG
from procman.runtime.process import HANDED_ON, SHELL


class SharedSocket:
    """Listens once somebody needs it; raises OSError when the port is not to be had."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether connections wait rather than being refused."""
        return self._socket is not None

    def open(self) -> socket.socket:
        """The socket, which listens from the first call on."""
        if self._socket is None:
            address = self._host, self._port
            if self._host == "::":
                bound = socket.create_server(
                    address, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
                )
            else:
                family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
                bound = socket.create_server(address, family=family, backlog=BACKLOG)
            with bound:
                self._socket = _copy(bound)
        return self._socket

    def copy(self) -> socket.socket:
        """Another descriptor of it, to watch."""
        return _copy(self.open())

    def close(self) -> None:
        """Hold the port no longer; it is free when no dyno has it either."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _copy(original: socket.socket) -> socket.socket:
    """Above the number that it has in a child.

    `socket.dup` would make it block, and with it the dynos, which share its flags: an accept that
    another one was quicker at would never return.
    """
    return socket.socket(fileno=fcntl.fcntl(original, fcntl.F_DUPFD_CLOEXEC, HANDED_ON + 1))


def with_socket(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is handed one socket, but for its pid."""
    return {**environment, "LISTEN_FDS": "1"}


def handed_argv(command: str) -> list[str]:
    """As `shell_argv`, with LISTEN_PID the pid of the shell and of what the shell becomes."""
    return [SHELL, "-c", f'export LISTEN_PID=$$; exec {SHELL} -c "$0"', as_exec(command)]
