"""Runs procman on a terminal of its own, types into it, and reads its screen."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass

from tests.end_to_end.conftest import PATIENCE, PROCMAN, Sandbox, clean_environment

# Makes the terminal the controlling one: only then do its keys and its size send signals.
_LOGIN = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass
class Terminal:
    """A procman on a terminal. We hold both ends: its settings can be read when it has ended."""

    process: subprocess.Popen[bytes]
    main: int
    inner: int
    output: bytes = b""

    @property
    def text(self) -> str:
        """All that was read so far."""
        return self.output.decode(errors="replace")

    @property
    def settings(self) -> list[object]:
        """What tcgetattr says."""
        return list(termios.tcgetattr(self.inner))

    def until(self, wanted: str, count: int = 1) -> str:
        """Read on until the text has come `count` times."""
        while self.text.count(wanted) < count:
            ready, _, _ = select.select([self.main], [], [], PATIENCE)
            assert ready, f"silent for {PATIENCE} s:\n{self.text}"
            self.output += os.read(self.main, 1 << 16)
        return self.text

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.main, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Pull at the window's corner."""
        termios.tcsetwinsize(self.main, (rows, columns))

    def finish(self) -> int:
        """Its exit status, when it ends by itself. What it says until then fits the terminal."""
        status = self.process.wait(PATIENCE)
        while select.select([self.main], [], [], 0)[0]:
            self.output += os.read(self.main, 1 << 16)
        return status

    def close(self) -> None:
        """Kill it if it runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
        os.close(self.main)
        os.close(self.inner)


OpenTerminal = Callable[..., Terminal]


def open_terminal(
    sandbox: Sandbox, *arguments: str, window: tuple[int, int] = (24, 100)
) -> Terminal:
    """`procman ARGUMENTS…` in the sandbox, on a terminal of this size."""
    main, inner = os.openpty()
    termios.tcsetwinsize(main, window)
    process = subprocess.Popen(
        [sys.executable, "-c", _LOGIN, *PROCMAN, *arguments],
        cwd=sandbox.root,
        env=clean_environment("TEST_TERMINAL=1", {"TERM": "xterm"}, sandbox.root),
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    return Terminal(process, main, inner)
