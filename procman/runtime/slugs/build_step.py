"""Runs one program of a build to its end, or to its time limit, and passes on what it prints."""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from procman.core.environment import COOKIE
from procman.errors import ProcmanError
from procman.runtime import orphans
from procman.runtime.guardian import Guardian

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


def run(
    argv: Sequence[str],
    directory: Path,
    variables: Mapping[str, str],
    seconds: float,
    emit: Callable[[bytes], object],
) -> int | None:
    """Run a program in a session of its own and pass on what it prints; None when it takes longer.

    The exit is the leader's: what it leaves in the background is killed, whatever holds the pipe,
    and also what has left its session, which is found by the COOKIE in `variables`. If procman
    itself is killed, so is the program.
    """
    mark = f"{COOKIE}={variables[COOKIE].partition('.')[0]}."
    guardian = Guardian(mark)
    try:
        return _run(argv, directory, variables, seconds, emit, guardian)
    finally:
        orphans.kill_marked(mark)
        guardian.dismiss()


def _run(
    argv: Sequence[str],
    directory: Path,
    variables: Mapping[str, str],
    seconds: float,
    emit: Callable[[bytes], object],
    guardian: Guardian,
) -> int | None:
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as problem:
        raise ProcmanError(f"cannot run {argv[0]}: {problem.strerror}") from None
    assert process.stdout is not None
    guardian.watch(process.pid)
    waiting, exited = os.pipe()
    waiter = threading.Thread(target=_report_exit, args=(process, exited))
    waiter.start()
    try:
        in_time = _pump(process.stdout.fileno(), waiting, time.monotonic() + seconds, emit)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # none is left; macOS says EPERM for a zombie
        waiter.join()
        process.wait()
        process.stdout.close()
        os.close(waiting)
    return process.returncode if in_time else None


class Output:
    """What a program prints, as it comes: whole characters of whatever bytes it writes."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = "\n"

    def __call__(self, data: bytes) -> None:
        self._emit(self._decoder.decode(data))

    def end(self) -> None:
        """The program has ended; what is written next begins a line."""
        self._emit(self._decoder.decode(b"", final=True))
        if self._last != "\n":
            self._emit("\n")

    def _emit(self, text: str) -> None:
        if text:
            self._write(text)
            self._last = text[-1]


def ended(status: int | None) -> str:
    """How a program ended, in words: the end of a sentence that names it."""
    if status is None:
        return "took too long"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}"


def _report_exit(process: subprocess.Popen[bytes], exited: int) -> None:
    if hasattr(os, "waitid"):  # macOS: since Python 3.13
        # Not reaped yet: until its group is killed, nobody else may get its number.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()
    os.close(exited)


def _pump(output: int, waiting: int, deadline: float, emit: Callable[[bytes], object]) -> bool:
    """Pass `output` on until the process exits (`waiting` ends) and no more is to be read."""
    os.set_blocking(output, False)
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        selector.register(waiting, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
            if not ready:
                return False
            if output in ready and not _drain(output, emit):
                selector.unregister(output)
            if waiting in ready:
                _drain(output, emit)
                return True


def _drain(output: int, emit: Callable[[bytes], object]) -> bool:
    """Pass on what is there; False at the end."""
    while True:
        try:
            data = os.read(output, 65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        emit(data)
