"""The control socket's listening end, there before the event loop that serves it: whoever reads the
app's first line can already ask it something, and waits for the answer.
"""

from __future__ import annotations

import os
import socket

WAITING = 64  # connections that nobody has accepted yet


def open_door(path: str) -> socket.socket:
    """Listen at `path`. The caller holds the app's lock, so that a socket that lies there already
    is a dead procman's, and is replaced.
    """
    close_door(path)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.bind(path)
        os.chmod(path, 0o600)
        door.listen(WAITING)
        door.setblocking(False)
    except BaseException:
        door.close()
        raise
    return door


def close_door(path: str) -> None:
    """Take the socket's name away."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # a cleaner of the temporary directory was here
