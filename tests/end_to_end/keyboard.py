"""A program in front of a keyboard: it leads the session of a terminal that can be hung up."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.conftest import PATIENCE, PROCMAN, clean_environment, marked, new_mark

CTRL_C, CTRL_D = b"\x03", b"\x04"

# Makes the terminal the controlling one: only then do its keys and its size send signals.
_LOGIN = "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])"


class Keyboard:
    """The user's side of a terminal: keys, screen, window, and the plug."""

    def __init__(
        self,
        argv: Sequence[str],
        root: Path,
        *,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (24, 80),
        stderr: int | None = None,
    ) -> None:
        self._mark = new_mark()
        self._screen, inner = os.openpty()
        termios.tcsetwinsize(inner, size)
        self.modes = list(termios.tcgetattr(inner))
        self.output = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *argv],
            cwd=root,
            env=clean_environment(self._mark, env or {}, root),
            stdin=inner,
            stdout=inner,
            stderr=inner if stderr is None else stderr,
        )
        self._inner = inner  # kept, so that the modes can be read when all have left it

    @property
    def text(self) -> str:
        """All that the screen was sent so far."""
        return self.output.decode(errors="replace")

    def until(self, wanted: str, count: int = 1) -> str:
        """Read on until the text has come `count` times."""
        while self.text.count(wanted) < count:
            self._read()
        return self.text

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._screen, keys)

    def resize(self, rows: int, columns: int) -> None:
        """Pull at the window's corner."""
        termios.tcsetwinsize(self._screen, (rows, columns))

    def modes_now(self) -> list[object]:
        """The terminal's modes, as `stty -a` shows them."""
        return list(termios.tcgetattr(self._inner))

    def finish(self) -> int:
        """Read until the program has ended; its exit status, negative for a death by signal."""
        ended = os.pidfd_open(self.process.pid)
        try:
            while not select.select([ended], [], [], 0)[0]:
                ready, _, _ = select.select([self._screen, ended], [], [], PATIENCE)
                assert ready, f"silent for {PATIENCE} s:\n{self.text}"
                if self._screen in ready:
                    self._read()
        finally:
            os.close(ended)
        while select.select([self._screen], [], [], 0)[0]:
            self._read()
        return self.process.wait(PATIENCE)

    def hang_up(self) -> int:
        """Close the window; the program's exit status."""
        os.close(self._inner)
        os.close(self._screen)
        self._inner = self._screen = -1
        return self.process.wait(PATIENCE)

    def survivors(self) -> list[int]:
        """Processes that stem from this terminal and live."""
        return marked(self._mark)

    def clean_up(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for pid in self.survivors():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for descriptor in {self._screen, self._inner} - {-1}:
            os.close(descriptor)

    def _read(self) -> None:
        ready, _, _ = select.select([self._screen], [], [], PATIENCE)
        assert ready, f"silent for {PATIENCE} s:\n{self.text}"
        try:
            self.output += os.read(self._screen, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody is on the other side
                raise


@contextmanager
def at_keyboard(
    argv: Sequence[str],
    root: Path,
    *,
    env: Mapping[str, str] | None = None,
    size: tuple[int, int] = (24, 80),
    stderr: int | None = None,
) -> Iterator[Keyboard]:
    """Run argv in front of a keyboard, in this directory."""
    keyboard = Keyboard(argv, root, env=env, size=size, stderr=stderr)
    try:
        yield keyboard
    finally:
        keyboard.clean_up()


def procman(*arguments: str) -> list[str]:
    """The argv of a procman."""
    return [*PROCMAN, *arguments]
