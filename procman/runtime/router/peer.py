"""Tells a client that has closed from one that only sends no more, which TCP itself cannot.

Both look the same at our end, end of file. A browser's tab that was closed should free the dyno it
waits for; `printf … | nc -N` shuts down its sending half and waits for the answer. But a client on
this machine is in this kernel: its own socket, the other way round, is still held open by a process
(it has an inode), or it is an orphan.
"""

from __future__ import annotations

import asyncio
import socket
import struct

_SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h
_NLM_F_REQUEST = 1
_REQUEST = struct.Struct("=IHHII BBBxI")  # nlmsghdr, then the first fields of inet_diag_req_v2
_ANY_COOKIE = b"\xff" * 8
_INODE = 16 + 4 + 48 + 4 * 4  # nlmsghdr, four bytes, inet_diag_sockid, four numbers before it


def is_there(transport: asyncio.Transport) -> bool:
    """Does the other end of a connection still wait for what we send?"""
    here = transport.get_extra_info("sockname")
    there = transport.get_extra_info("peername")
    family: int = transport.get_extra_info("socket").family
    return still_listens(here[:2], there[:2], family)


def still_listens(here: tuple[str, int], there: tuple[str, int], family: int) -> bool:
    """Does a process of this machine hold the socket at `there` that is connected to `here`?

    False as well where it cannot be known (another machine, no netlink): end of file then means
    that the client is gone, as for nginx and for Go's server.
    """
    if not hasattr(socket, "AF_NETLINK"):
        return False
    source = socket.inet_pton(family, there[0].partition("%")[0])
    target = socket.inet_pton(family, here[0].partition("%")[0])
    ends = struct.pack("!HH", there[1], here[1])
    ends += source.ljust(16, b"\0") + target.ljust(16, b"\0") + b"\0" * 4 + _ANY_COOKIE
    length = _REQUEST.size + len(ends)
    request = _REQUEST.pack(
        length,
        _SOCK_DIAG_BY_FAMILY,
        _NLM_F_REQUEST,
        0,
        0,
        family,
        socket.IPPROTO_TCP,
        0,
        0xFFFFFFFF,
    )
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as diag:  # NETLINK_SOCK_DIAG
            diag.send(request + ends)
            answer = diag.recv(4096)
    except OSError:
        return False
    kind: int = struct.unpack_from("=H", answer, 4)[0]
    if kind != _SOCK_DIAG_BY_FAMILY or len(answer) < _INODE + 4:
        return False
    inode: int = struct.unpack_from("=I", answer, _INODE)[0]
    return inode != 0
