"""Spawning what cannot be spawned."""

from __future__ import annotations

from procman.runtime.boots import Boots
from procman.runtime.guardian import Guardian
from procman.runtime.loghub import LogHub, Source
from procman.runtime.process import Command


class Lines:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, source: Source, lines: bytes, now: float) -> None:
        self.text += lines

    def close(self) -> None:
        """Nothing is held back."""


def test_a_command_that_no_exec_takes_is_told_and_harms_nobody() -> None:
    """A NUL is a ValueError, and not the system's own."""
    hub, lines, guardian = LogHub(lambda: 0.0), Lines(), Guardian("PROCMAN_COOKIE=test-boots.")
    hub.add(lines)
    command = Command(["/bin/sh", "-c", "sleep \0 1"], {}, pty=False)
    boots = Boots(
        lambda dyno, boot: command, Source, lambda dyno: None, hub, guardian, "test-boots"
    )
    try:
        assert boots.spawn("web.1", 1) is None
    finally:
        guardian.dismiss()
    assert lines.text == b"web.1 cannot be started: embedded null byte\n"
