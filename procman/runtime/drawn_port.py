"""A port that is free, and that no other procman of this machine draws while this one has it.

The kernel gives a free port to whoever asks, and forgets that at once; until a dyno listens on it,
seconds later or after a sleep, it may be given to somebody else. So each one that is drawn is noted
as a name of the abstract namespace (unix(7)), which is one for all who share ports, and goes with
its holder, also after kill -9. To hold the port itself would refuse it to a dyno that does not set
SO_REUSEADDR.
"""

from __future__ import annotations

import socket
import sys
import weakref

TRIES = 100  # names may be squatted; then a port is as good as it was without


class DrawnPort:
    """A port that is ours until this is collected."""

    def __init__(self, number: int, note: socket.socket | None) -> None:
        """`note` holds the name; None where there are no such names."""
        self.number = number
        if note is not None:
            weakref.finalize(self, note.close)


def draw_port() -> DrawnPort:
    """A free port of 127.0.0.1. Raises OSError."""
    for _ in range(TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number: int = probe.getsockname()[1]
            note = _note(number)  # before the port is given to anybody else
        if note is not None:
            break
    return DrawnPort(number, note)


def _note(port: int) -> socket.socket | None:
    if sys.platform != "linux":
        return None
    note = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        note.bind(f"\0procman-port-{port}")  # taken: by another procman, or another user
    except OSError:
        note.close()
        return None
    return note
