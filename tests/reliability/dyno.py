"""A dyno of the app that the faults hit: says what it was asked, and shouts when it is doubled.

`python -I -S dyno.py web|worker`, in an environment with `GUARD`, a directory of locks.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import sys
import threading
import zlib
from typing import BinaryIO


def answer_to(method: str, path: str, body: bytes) -> bytes:
    """What the web answers: who asks knows it beforehand."""
    return f"{method} {path} {len(body)} {zlib.crc32(body)}\n".encode()


def hold_lock() -> None:
    """By the dyno's name, until the last process that inherits it has gone.

    Web dynos of two releases are beside each other while the app moves; two of one never are.
    """
    name = os.environ["DYNO"]
    if name.startswith("web."):
        name += f".{os.environ.get('PROCMAN_RELEASE', '')}"
    lock = os.open(os.path.join(os.environ["GUARD"], name), os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"TWO LIVE in {name}", flush=True)
        os.mkdir(os.path.join(os.environ["GUARD"], f"doubled {name} {os.getpid()}"))


def take_all_that_is_allowed() -> None:
    """It may have been started while procman was short of something."""
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
        most = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (most, most))


def serve() -> None:
    """HTTP/1.1 with keep-alive, a thread for each connection, each answer in one piece."""
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(connection,), daemon=True).start()


def _converse(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as reader:
        try:
            while line := reader.readline():
                method, path, _ = line.decode().split()
                said = answer_to(method, path, _body(reader))
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\n\r\n".encode()
                connection.sendall(head + said)
        except (OSError, ValueError):
            pass  # the router has gone, or what it tunnels is not HTTP/1.1


def _body(reader: BinaryIO) -> bytes:
    length = 0
    while header := reader.readline().strip():
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return reader.read(length)


def work() -> None:
    """A child in the group, and one that has left it; then nothing."""
    for leaves in (False, True):
        if not os.fork():
            if leaves:
                os.setsid()
            signal.pause()
    signal.pause()


if __name__ == "__main__":
    take_all_that_is_allowed()
    hold_lock()
    print("begins", flush=True)
    {"web": serve, "worker": work}[sys.argv[1]]()
