"""`procman top`: the dynos as they are, second by second."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click

from procman.cli.options import app_root, common_options
from procman.cli.ps import with_usage
from procman.core.top import Top
from procman.errors import NotRunningError, UsageError
from procman.runtime.client import ask, ask_within
from procman.runtime.terminal import noted_signals, raw_keys, read_signals, window_of
from procman.runtime.writing import write_all

STDIN, STDOUT = 0, 1
EVERY = 1.0  # seconds between two looks, as in `docker stats`
PATIENCE = 5.0  # seconds without an answer, in which no key is heard
UNKNOWN_WINDOW = 24, 80  # a terminal that does not know its size

# xterm's: the other screen, no cursor, no wrapping of what is too wide; and back.
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_QUIT = (b"q", b"Q", b"\x03")
_DOWN = (b"j", b"\x1b[B", b"\x1bOB")
_UP = (b"k", b"\x1b[A", b"\x1bOA")


@click.command(short_help="A live table: state, CPU and memory of each dyno, until q.")
@common_options
@click.pass_context
def top(ctx: click.Context, /, **options: object) -> int:
    """Show the dynos, refreshed each second, until q or Ctrl-C; j and k scroll.

    CPU is the share of one processor, MEMORY the resident memory, both of all processes of a dyno;
    the bars are the last seconds.
    """
    root = app_root(ctx, options)
    answer = ask(root, "ps")
    if not (os.isatty(STDIN) and os.isatty(STDOUT)):
        raise UsageError("top needs a terminal", hint="`procman ps` prints the table once")
    try:
        with ExitStack() as stack:
            numbers = (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP)
            signals = stack.enter_context(noted_signals(numbers))
            stack.enter_context(raw_keys(STDIN))
            stack.enter_context(_other_screen())
            return _Screen(root, signals).run(answer)
    except NotRunningError:
        click.echo("procman: the app has ended", err=True)
        return 0


@contextmanager
def _other_screen() -> Iterator[None]:
    os.write(STDOUT, _ENTER)
    try:
        yield
    finally:
        try:
            os.write(STDOUT, _LEAVE)
        except OSError:
            pass  # the terminal is gone


class _Screen:
    """The table on the terminal, and the keys that move it."""

    def __init__(self, root: str, signals: int) -> None:
        self._root = root
        self._signals = signals
        self._top = Top()
        self._first = 0

    def run(self, answer: dict[str, object]) -> int:
        """Until q; the exit status. Raises NotRunningError when the app ends."""
        while True:
            self._top.look(with_usage(answer["dynos"]), time.monotonic())
            words = [answer["app"], answer["url"], f"pid {answer['pid']}"]
            title = "   ".join(str(word) for word in words if word is not None)
            status = self._wait(title, time.monotonic() + EVERY)
            if status is not None:
                return status
            answer = ask_within(PATIENCE, self._root, "ps")

    def _wait(self, title: str, until: float) -> int | None:
        """Draw, and again for what the user does; None when it is time for a new look."""
        while True:
            self._draw(title)
            left = max(0.0, until - time.monotonic())
            readable, _, _ = select.select([STDIN, self._signals], [], [], left)
            if not readable:
                return None
            if self._signals in readable:
                for number in read_signals(self._signals):
                    if number != signal.SIGWINCH:
                        return 128 + number
            if STDIN in readable:
                keys = os.read(STDIN, 64)  # several, when one is held down
                if not keys or any(key in keys for key in _QUIT):
                    return 0
                self._first += sum(map(keys.count, _DOWN)) - sum(map(keys.count, _UP))

    def _draw(self, title: str) -> None:
        window = window_of(STDOUT, STDIN) or UNKNOWN_WINDOW
        lines, self._first = self._top.lines(title, time.time(), window, max(0, self._first))
        text = "".join(f"{line}\x1b[K\r\n" for line in lines[:-1]) + f"{lines[-1]}\x1b[K\x1b[J"
        write_all(STDOUT, b"\x1b[H" + text.encode(sys.stdout.encoding or "utf-8", "replace"))
