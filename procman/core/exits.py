"""Exit statuses as people and shells read them."""

from __future__ import annotations

import signal

# `signal` is imported for its table of names only; nothing is sent or handled here.


def shell_status(status: int) -> int:
    """The status a shell would report: `status` itself, or 128 + n for -n, a death by signal n."""
    return status if status >= 0 else 128 - status


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; `signal 64` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def describe_exit(status: int) -> str:
    """`status 3`; `killed by SIGSEGV` for -11; a shell says of that `status 139 (SIGSEGV)`."""
    if status < 0:
        return f"killed by {signal_name(-status)}"
    by_shell = f" ({signal_name(status - 128)})" if 128 < status < 128 + 32 else ""
    return f"status {status}{by_shell}"
