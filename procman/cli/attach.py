"""`procman attach`: a dyno's terminal in this one."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections import deque
from contextlib import ExitStack
from typing import assert_never

import click

from procman.cli.completion import complete_dynos
from procman.cli.options import app_root, common_options
from procman.core.attach import (
    DETACH_WORDS,
    Began,
    Ended,
    Frame,
    FrameReader,
    Keys,
    Left,
    Missed,
    Output,
    end_of_input,
)
from procman.core.exits import describe_exit, shell_status
from procman.runtime.terminal import (
    noted_signals,
    raw_keys,
    read_signals,
    resize,
    signal_keys,
    window_of,
)
from procman.runtime.writing import write_all

STDIN, STDOUT = 0, 1
HELD = 64 * 1024  # bytes read ahead of a dyno that does not read
_ENDING = (signal.SIGTERM, signal.SIGHUP)


@click.command(short_help="A dyno's terminal in this one: answer its debugger.")
@click.argument("dyno", metavar="DYNO", shell_complete=complete_dynos)
@common_options
@click.pass_context
def attach(ctx: click.Context, /, dyno: str, **options: object) -> int:
    """Show what DYNO writes and type into it, as if it ran in this terminal.

    Ctrl-C reaches the dyno; Ctrl-P Ctrl-Q leaves it running. It goes on with the dyno's next boot;
    when there will be none it ends with the dyno's exit status. Input that is no terminal is typed
    in as it is, and its end as Ctrl-D.
    """
    from procman.runtime.client import connect, converse

    with connect(app_root(ctx, options)) as connection, ExitStack() as stack:
        answer = converse(connection, "attach", dyno=dyno)
        name = str(answer["dyno"])
        is_terminal = os.isatty(STDIN)
        leave = f"; {DETACH_WORDS} leaves it running" if is_terminal else ""
        click.echo(f"procman: attached to {name}{leave}", err=True)
        if answer.get("asleep") is True:
            click.echo(f"procman: {name} is suspended, a request wakes it", err=True)
        numbers = (signal.SIGWINCH, *_ENDING)
        signals = stack.enter_context(noted_signals(numbers))
        if is_terminal:
            stack.enter_context(raw_keys(STDIN))
        session = _Session(name, connection, signals)
        stack.callback(session.close)
        return session.run()


class _Session:
    """One attachment: bytes between this terminal, the socket and the dyno's pty."""

    def __init__(self, name: str, connection: socket.socket, signals: int) -> None:
        self._name = name
        self._connection = connection
        self._signals = signals
        self._frames = FrameReader()
        self._keys = Keys() if os.isatty(STDIN) else None
        self._descriptors: deque[int] = deque()  # of boots whose frame has not come yet
        self._pty: int | None = None
        self._typed = b""  # what the pty has not taken yet
        self._last = b""  # the last byte of the input
        self._input_open = True
        self._is_between = False  # after the end of a boot, before the next
        self._column_zero = True
        self._status: int | None = None

    def run(self) -> int:
        """Until the user leaves or the dyno rests; the exit status."""
        while self._status is None:
            reading = [self._connection.fileno(), self._signals]
            if self._input_open and len(self._typed) < HELD:
                reading.append(STDIN)
            writing = [self._pty] if self._typed and self._pty is not None else []
            readable, writable, _ = select.select(reading, writing, [])
            if self._signals in readable:
                self._act_on_signals()
            if self._connection.fileno() in readable:
                self._receive()
            if STDIN in readable and self._status is None:
                self._read_keys()
            if writable and self._typed:
                self._type()
        return self._status

    def close(self) -> None:
        """Let go of the pty, whose window the app gives back."""
        self._release()
        for descriptor in self._descriptors:
            os.close(descriptor)

    def _act_on_signals(self) -> None:
        for number in read_signals(self._signals):
            if number in _ENDING:
                self._status = 128 + number
            elif number == signal.SIGWINCH:
                self._follow_window()

    def _follow_window(self) -> None:
        window = window_of(STDIN, STDOUT)
        if window is not None and self._pty is not None and resize(self._pty, window):
            self._signal(signal.SIGWINCH)

    def _receive(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, 1 << 18, 8)
        except ConnectionResetError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self._say("the app has ended")
            self._status = 0
        for frame in self._frames.feed(data):
            if self._status is None:
                self._act_on(frame)

    def _act_on(self, frame: Frame) -> None:
        match frame:
            case Output(data):
                self._show(data)
            case Began():
                self._begin()
            case Left():
                self._follow_window()
            case Missed(count):
                self._say(f"{count} bytes were missed: this terminal was too slow")
            case Ended(status=status, again=again):
                self._end(status, again=again)
            case _:
                assert_never(frame)

    def _begin(self) -> None:
        self._release()
        self._is_between = False
        self._pty = self._descriptors.popleft()
        self._follow_window()

    def _end(self, status: int, *, again: bool) -> None:
        """The boot is over: what was typed for it is not for the next."""
        self._release()
        self._typed = b""
        if not again:
            self._status = shell_status(status)
        if self._is_between:  # another boot was expected
            self._say(f"{self._name} does not boot again")
        else:
            rest = "; waiting for its next boot" if again else ""
            self._say(f"{self._name} ended, {describe_exit(status)}{rest}")
        self._is_between = True

    def _release(self) -> None:
        if self._pty is not None:
            os.close(self._pty)
        self._pty = None

    def _read_keys(self) -> None:
        data = os.read(STDIN, 4096)
        if self._keys is not None:
            data, leaves = self._keys.feed(data)
            if leaves:
                self._say(f"detached, {self._name} runs on")
                self._status = 0
        elif data:
            self._last = data[-1:]
        else:
            self._input_open = False
            data = end_of_input(self._last)
        if self._keys is None or not self._is_between:
            self._typed += data
            keys = {} if self._pty is None else signal_keys(self._pty)
            for key in data:
                if key in keys:
                    self._signal(keys[key])

    def _signal(self, number: int) -> None:
        """To the dyno, from a terminal that controls nobody."""
        try:
            self._connection.send(bytes([number]))
        except OSError:
            pass  # the app has ended, which is told just now

    def _type(self) -> None:
        assert self._pty is not None
        try:
            self._typed = self._typed[os.write(self._pty, self._typed) :]
        except BlockingIOError:
            pass
        except OSError:
            self._typed = b""  # nobody reads there any more: the end is on its way

    def _show(self, data: bytes) -> None:
        self._column_zero = data.endswith(b"\n")
        try:
            write_all(STDOUT, data)
        except BrokenPipeError:
            self._status = 0  # who reads it has seen enough

    def _say(self, text: str) -> None:
        begin = "" if self._column_zero else "\n"
        click.echo(f"{begin}procman: {text}", err=True)
        self._column_zero = True
