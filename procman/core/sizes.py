"""Amounts of memory as people read them."""

from __future__ import annotations


def format_bytes(count: int) -> str:
    """`34M`: binary megabytes, gigabytes from 1024 of them on."""
    megabytes = count / (1 << 20)
    return f"{megabytes:.0f}M" if megabytes < 1024 else f"{megabytes / 1024:.1f}G"
