"""Asks the kernel for its TCP sockets over netlink: for who listens on a port 25 µs, where reading
/proc/net/tcp takes milliseconds. Linux; linux/inet_diag.h, sock_diag(7).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType

ESTABLISHED, CLOSE_WAIT, LISTEN = 1, 8, 10  # TCP states: include/net/tcp_states.h

_NETLINK_SOCK_DIAG = 4
_TCP_DESTROYED, _TCP6_DESTROYED = 1, 3  # sknetlink_groups: linux/sock_diag.h
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x1 | 0x100 | 0x200  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_ERROR, _DONE = 2, 3

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_QUERY = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states
_IDENTITY = struct.Struct("=2s2s16s16sI8s")  # inet_diag_sockid; ports and addresses as on the wire
_ANSWER = struct.Struct("=BBxx2s2s16s16sI8sIIIII")  # inet_diag_msg
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_ONLY_V6 = 11  # INET_DIAG_SKV6ONLY
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One row of the kernel's table. `waiting` is, of a listening socket, how many connections it
    has not accepted yet, and `only_v6` whether it takes no IPv4. An inode of 0 is a connection that
    nobody has accepted."""

    family: int
    host: str
    port: int
    inode: int
    uid: int
    waiting: int
    only_v6: bool = False


class SockDiag:
    """A netlink socket kept open, for who asks often; raises OSError where the kernel refuses."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)

    def __enter__(self) -> SockDiag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def sockets(self, *states: int, port: int = 0) -> list[TcpSocket]:
        """All TCP sockets, IPv4 and IPv6, in one of `states`; `port` is the local one, 0 for any.

        The kernel filters, so that a port is found among many connections without copying them.
        """
        mask = sum(1 << state for state in states)
        found: list[TcpSocket] = []
        for family in _FAMILIES:
            self._socket.send(_request(family, mask, port))
            while not self._read(found):
                pass
        return found

    def _read(self, found: list[TcpSocket]) -> bool:
        """Take one datagram; whether it was the last of the answer."""
        data = self._socket.recv(65536)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return True
            if kind == _ERROR:
                number = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                raise OSError(number, "the kernel does not list its TCP sockets")
            found.append(_row(data, at + _HEADER.size, at + length))
            at += (length + 3) & ~3
        return False


def _request(family: int, mask: int, port: int) -> bytes:
    nothing = b""
    identity = _IDENTITY.pack(port.to_bytes(2, "big"), nothing, nothing, nothing, 0, b"\xff" * 8)
    body = _QUERY.pack(family, socket.IPPROTO_TCP, 0, mask) + identity
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body


def _row(data: bytes, at: int, end: int) -> TcpSocket:
    family, _state, port, _, source, _, _, _, _, waiting, _, uid, inode = _ANSWER.unpack_from(
        data, at
    )
    size = 4 if family == socket.AF_INET else 16
    host = socket.inet_ntop(family, source[:size])
    only_v6 = family == socket.AF_INET6 and _has_only_v6(data, at + _ANSWER.size, end)
    return TcpSocket(family, host, int.from_bytes(port, "big"), inode, uid, waiting, only_v6)


def _has_only_v6(data: bytes, at: int, end: int) -> bool:
    """Whether the attributes of a row say so; older kernels than 4.3 do not tell."""
    while at + _ATTRIBUTE.size < end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if kind == _ONLY_V6:
            return bool(data[at + _ATTRIBUTE.size])
        at += max(_ATTRIBUTE.size, (length + 3) & ~3)
    return False


class Endings:
    """Counts nothing, but knows whether a connection to a local port has ended since last asked.

    The kernel tells of every TCP socket it destroys; a filter of ours throws all away but those of
    the port, and nobody is woken by the rest: it lies there until somebody asks. Raises OSError
    where the kernel or a sandbox refuses.
    """

    def __init__(self, port: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            _attach(self._socket, _only_port(port))
            self._socket.bind((0, 1 << (_TCP_DESTROYED - 1) | 1 << (_TCP6_DESTROYED - 1)))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def fileno(self) -> int:
        """To wait for one, where somebody does."""
        return self._socket.fileno()

    def seen(self) -> bool:
        """Whether there was one; it is forgotten."""
        found = False
        while True:
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return found
            except OSError:
                pass  # ENOBUFS: more than there was room for
            found = True


def _only_port(port: int) -> list[tuple[int, int, int, int]]:
    """A program of the classic packet filter: linux/filter.h; code, jump if true, if false, k."""
    at = _HEADER.size + 4  # idiag_sport, in an inet_diag_msg
    return [(0x28, 0, 0, at), (0x15, 0, 1, port), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]


def _attach(to: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    import ctypes  # 5 ms, for the direct mode only

    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    room = ctypes.create_string_buffer(code, len(code))
    to.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(program), ctypes.addressof(room)),
    )
