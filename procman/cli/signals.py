"""Signals as users name them."""

from __future__ import annotations

import signal

from procman.errors import InputError


def parse_signal(name: str) -> signal.Signals:
    """SIGTERM for `TERM`, `SIGTERM`, `term` or `15`; InputError for one that there is not."""
    try:
        if name.isdigit():
            return signal.Signals(int(name))
        upper = name.upper()
        return signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"]
    except (KeyError, ValueError):
        hint = "for example TERM, INT, QUIT, HUP, USR1"
        raise InputError(f"unknown signal {name!r}", hint=hint) from None
