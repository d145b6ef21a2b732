"""Finds who listens where, among a dyno's processes or on the whole machine.

That a process bound a port cannot be waited for: the kernel reports sockets that are destroyed
(SKNLGRP_INET_TCP_DESTROY) but not those that begin to listen; seccomp's user notification would
tell, and would take sudo from every dyno; a connect to a port that nobody has bound is refused at
once. So a dyno that is starting, and only then, is looked at, at the growing distances of `pauses`
(readiness.py): first at all listening sockets by netlink (50 µs; 0.2 ms after a nap of 4 ms, as has
a connect), and through its tree's descriptors only when there is one that was not there before.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from procman.core.addresses import Bound
from procman.runtime.descriptors import open_descriptors
from procman.runtime.reserve import list_directory, read_file
from procman.runtime.sock_diag import (
    CLOSE_WAIT,
    ESTABLISHED,
    LISTEN,
    SockDiag,
    TcpSocket,
)
from procman.runtime.tree import IS_LINUX

_PIDFD_GETFD = 438  # one number on all architectures: asm-generic/unistd.h
_TABLES = (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6))


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening TCP socket that a process holds at `fd`; `host` as bound, `::` or `127.0.0.1`."""

    pid: int
    fd: int
    family: int
    host: str
    port: int
    inode: int
    only_v6: bool = False

    @property
    def bound(self) -> Bound:
        """What it is bound to."""
        return Bound(self.host, self.port, self.only_v6)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a port; `command` is its command line, cut to what fits a message."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class CannotDuplicate:
    """Why another process's socket cannot be had here, in words for the user."""

    reason: str


def listening_sockets(pids: Iterable[int]) -> list[Listening]:
    """The listening TCP sockets of these processes, in the order of the pids.

    A socket that several processes share comes once for each.
    """
    if not IS_LINUX:
        return _by_psutil(pids)
    rows = {row.inode: row for row in _rows(LISTEN)}
    return [
        Listening(pid, fd, row.family, row.host, row.port, inode, row.only_v6)
        for pid in pids
        for fd, inode in _socket_inodes(pid)
        if (row := rows.get(inode))
    ]


def holder_of(port: int) -> Holder | None:
    """Who listens on the port, as far as we may see; None when nobody, or another user's."""
    if not IS_LINUX:
        return _holder_by_psutil(port)
    inodes = {row.inode for row in _rows(LISTEN, port=port)}
    if not inodes:
        return None
    pids = sorted(int(name) for name in list_directory("/proc") if name.isdigit())
    for pid in pids:
        if any(inode in inodes for _, inode in _socket_inodes(pid)):
            return Holder(pid, _command(pid))
    return None


def established_count(port: int) -> int:
    """How many connections the local port has, those included that nobody has accepted yet, and
    those whose client has finished speaking and still waits for the answer.

    The kernel goes through its whole table, half a millisecond to one with 262,144 buckets.
    """
    if not IS_LINUX:
        return _count_by_psutil(port)
    return len(_rows(ESTABLISHED, CLOSE_WAIT, port=port))


def waiting_count(port: int) -> int:
    """How many connections stand in the backlog of the port, not accepted by anybody (Linux).

    Not zero some time after leaves were thawed: it is their parent that accepts.
    """
    return sum(row.waiting for row in _rows(LISTEN, port=port)) if IS_LINUX else 0


def duplicate_socket(pid: int, fd: int) -> socket.socket | CannotDuplicate:
    """A copy of another process's socket, which keeps the port bound until it is closed."""
    if sys.platform != "linux":
        return CannotDuplicate("only Linux lets a process copy another's socket")
    import ctypes  # 5 ms, for the direct mode only

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        return CannotDuplicate(f"pidfd_open: {error.strerror}")
    try:
        copy: int = syscall(_PIDFD_GETFD, process, fd, 0)
        number = ctypes.get_errno()
    finally:
        os.close(process)
    if copy >= 0:
        return socket.socket(fileno=copy)
    return CannotDuplicate(f"pidfd_getfd: {_reason(number)}")


def _reason(number: int) -> str:
    import errno

    match number:
        case errno.ENOSYS:
            return "this kernel is older than 5.6"
        case errno.EPERM:
            return (
                "refused; a container's seccomp profile, kernel.yama.ptrace_scope, or a set-id dyno"
            )
        case _:
            return os.strerror(number)


def _rows(*states: int, port: int = 0) -> list[TcpSocket]:
    try:
        with SockDiag() as diag:
            return diag.sockets(*states, port=port)
    except OSError:
        return list(_by_table(states, port))  # no netlink in this sandbox (gVisor, seccomp)


def _by_table(states: tuple[int, ...], port: int) -> Iterator[TcpSocket]:
    """The same from /proc/net/tcp, proc(5): addresses in hexadecimal words of the machine's own
    byte order."""
    for name, family in _TABLES:
        try:
            lines = read_file(name).decode().splitlines()[1:]
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for line in lines:
            fields = line.split()
            host, _, number = fields[1].partition(":")
            if int(fields[3], 16) in states and port in (0, int(number, 16)):
                waiting = int(fields[4].partition(":")[2], 16)
                yield TcpSocket(
                    family,
                    _host(family, host),
                    int(number, 16),
                    int(fields[9]),
                    int(fields[7]),
                    waiting,
                )


def _host(family: int, text: str) -> str:
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return socket.inet_ntop(family, b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _socket_inodes(pid: int) -> Iterator[tuple[int, int]]:
    """The descriptors of a process that are sockets, with their inodes, where we may see them."""
    for place, target in open_descriptors(pid):
        if target.startswith("socket:["):
            yield int(place.rpartition("/")[2]), int(target[8:-1])


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read(4096)
    except OSError:
        return "ended just now"
    return _shown(os.fsdecode(line.rstrip(b"\0").replace(b"\0", b" ")))


def _shown(command: str) -> str:
    """The start of a command line, without what could trouble a terminal."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in command)
    return clean if len(clean) <= 80 else clean[:79] + "…"


def _by_psutil(pids: Iterable[int]) -> list[Listening]:
    import psutil  # 25 ms of imports, where there is no /proc

    found = []
    for pid in pids:
        try:
            rows = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:
            continue  # ended just now, or another user's
        for row in rows:
            if row.status == psutil.CONN_LISTEN:
                found.append(Listening(pid, row.fd, row.family, row.laddr.ip, row.laddr.port, 0))
    return found


def _holder_by_psutil(port: int) -> Holder | None:
    import psutil

    for process in psutil.process_iter():
        if any(row.port == port for row in _by_psutil([process.pid])):
            try:
                return Holder(process.pid, _shown(" ".join(process.cmdline())))
            except psutil.Error:
                return Holder(process.pid, "ended just now")
    return None


def _count_by_psutil(port: int) -> int:
    import psutil

    count = 0
    for process in psutil.process_iter():
        try:
            rows = process.net_connections("tcp")
        except psutil.Error:
            continue
        alive = (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)
        count += sum(row.laddr.port == port and row.status in alive for row in rows)
    return count
