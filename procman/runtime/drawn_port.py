"""A port that is free, and that nobody else is given or draws while this one has it.

Until a dyno listens on it, seconds later or after a sleep, two may come before it. Whoever asks the
kernel for any port may get this one, as may a connection for its near end: so it is drawn below the
kernel's range. And another procman may draw it: so each is noted as a name of the abstract
namespace (unix(7)), which is one for all who share ports, and goes with its holder, also after
kill -9. To hold the port itself would refuse it to a dyno that does not set SO_REUSEADDR.
"""

from __future__ import annotations

import socket
import sys
import weakref
from collections.abc import Sequence
from random import sample

from procman.runtime.reserve import read_file

TRIES = 100  # ports may be in use, and names squatted; then a port is as good as it was without
LOWEST = 10081  # above all that browsers refuse: https://fetch.spec.whatwg.org/#port-blocking
_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"  # ip(7)
_DYNAMIC = 49152  # the first of IANA's dynamic ports (RFC 6335), macOS's range


class DrawnPort:
    """A port that is ours until this is collected."""

    def __init__(self, number: int, note: socket.socket | None) -> None:
        """`note` holds the name; None where there are no such names."""
        self.number = number
        if note is not None:
            weakref.finalize(self, note.close)


def draw_port() -> DrawnPort:
    """A free port of 127.0.0.1. Raises OSError when there is none at all."""
    below = _below_the_kernels()
    for wanted in (*sample(below, min(TRIES, len(below))), *[0] * TRIES):
        try:
            return _take(wanted)
        except OSError:
            pass  # it is in use, or drawn
    with _bound(0) as probe:
        return DrawnPort(probe.getsockname()[1], None)


def _below_the_kernels() -> Sequence[int]:
    try:
        first = int(read_file(_RANGE).split()[0])
    except (OSError, ValueError, IndexError):
        first = _DYNAMIC  # macOS, or a sandbox without /proc/sys
    return range(LOWEST, max(LOWEST, first))


def _take(wanted: int) -> DrawnPort:
    """Raises OSError when it is not to be had; 0 is any of the kernel's."""
    with _bound(wanted) as probe:
        number: int = probe.getsockname()[1]
        return DrawnPort(number, _note(number))  # before it is given to anybody else


def _bound(port: int) -> socket.socket:
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        probe.close()
        raise
    return probe


def _note(port: int) -> socket.socket | None:
    """Raises OSError when another procman has it, or another user."""
    if sys.platform != "linux":
        return None
    note = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        note.bind(f"\0procman-port-{port}")
    except OSError:
        note.close()
        raise
    return note
