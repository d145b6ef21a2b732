"""One run of a tool, from its exec to the end of everything that it started."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.measure import Failed
from benchmarks.peers import Kind, Peer, cache, environment
from procman.runtime.client import converse
from procman.runtime.tree import tree

PATIENCE = 60.0  # seconds after which a contestant has failed
STOP_PATIENCE = 25.0  # longer than the grace of any of them
READ_SIZE = 1 << 20


def child() -> str:
    """The path of the compiled child."""
    return compiled("child.c")


def compiled(name: str) -> str:
    """The path of a program of this directory, compiled when it is newer."""
    source = Path(__file__).with_name(name)
    binary = cache() / source.stem
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["cc", "-O2", "-o", str(binary), str(source)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failed(f"a C compiler is needed, cc: {error}") from None
    return str(binary)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A child's first instruction: its pid, and when, in seconds of CLOCK_MONOTONIC."""

    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Used:
    """What a tool's own processes have used up to now, and hold."""

    cpu: float  # seconds, user and system
    switches: int  # times that one of its threads went to sleep, to be woken again
    pss: int  # bytes


class Run:
    """A tool running children, inside `with`; nothing of it is left after the block.

    `kinds(fifo)` says what is to run; the children tell their stamps through the fifo. The tool's
    standard output is a pipe, which is read whenever anything is waited for.
    """

    def __init__(self, peer: Peer, kinds: Callable[[str], Sequence[Kind]]) -> None:
        self._peer = peer
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-")
        self.place = Path(self._temporary.name)
        runtime = self.place / "run"
        runtime.mkdir(mode=0o700)
        app = self.place / "app"
        app.mkdir()
        self.root = app
        fifo = str(self.place / "fifo")
        os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.environ: Mapping[str, str] = environment(runtime)
        self._argv = peer.configure(app, kinds(fifo))
        self._rest = b""
        self.stamps: list[Stamp] = []
        self.output: list[bytes] = []
        self.read_at = 0.0  # when output was last read
        self.began = 0.0

    def __enter__(self) -> Run:
        with open(self.place / "errors", "wb") as errors:
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                self._argv,
                cwd=self.root,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        self._pipe = self.process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        self._poll.register(self._fifo, select.POLLIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        everything = [*tree(self.process.pid), *(stamp.pid for stamp in self.stamps)]
        for pid in everything:
            if pid == self.process.pid or _stems_from(pid, str(self.place)):
                _kill(pid)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._fifo)
        self._temporary.cleanup()

    def wait_for(self, holds: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Read until something holds. Raises Failed when it does not come, or the tool ends."""
        deadline = time.monotonic() + patience
        while not holds():
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failed(f"nothing more after {patience:g} s{self._last_words()}")
            if not self._read(left):
                raise Failed(f"it ended{self._last_words()}")

    def wait_for_stamps(self, count: int) -> float:
        """When the last of so many children began."""
        self.wait_for(lambda: len(self.stamps) >= count)
        return max(stamp.at for stamp in self.stamps[:count])

    def wait_for_silence(self, seconds: float, patience: float = PATIENCE) -> None:
        """Read until nothing is written for so long."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            before = self.read_at, len(self.stamps)
            if not self._read(seconds) or (self.read_at, len(self.stamps)) == before:
                return

    def has_said(self, text: bytes) -> bool:
        """Whether it is in what was written lately, which may be many pieces."""
        return any(text in piece for piece in self.output)

    def ask(self, do: str, **fields: object) -> dict[str, object]:
        """One request over procman's control socket, and its answer."""
        (path,) = (self.place / "run" / "procman").glob("*.sock")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            return converse(connection, do, **fields)

    def stop(self) -> float:
        """Ask it to stop; how long until it and all of its children were gone."""
        watched = [descriptor for pid in self._all() if (descriptor := _pidfd(pid)) is not None]
        waiting = set(watched)
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        begin = time.monotonic()
        os.kill(self.process.pid, self._peer.stop)
        end = begin
        try:
            while waiting:
                ready = poll.poll(1000 * max(0.0, begin + STOP_PATIENCE - time.monotonic()))
                end = time.monotonic()
                if not ready:
                    raise Failed(f"{len(waiting)} processes are left after the stop")
                for descriptor, _ in ready:
                    if descriptor in waiting:
                        waiting.discard(descriptor)
                        poll.unregister(descriptor)
                    elif not self._take_output():
                        poll.unregister(descriptor)
        finally:
            for descriptor in watched:
                os.close(descriptor)
        return end - begin

    def used(self) -> Used:
        """What the tool itself used: all that stems from it, but for the children and the shells
        that were told to run them.
        """
        cpu, switches, pss = 0.0, 0, 0
        for pid in self.own():
            try:
                cpu += _cpu(pid)
                switches += _switches(pid)
                pss += _pss(pid)
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended just now
        return Used(cpu, switches, pss)

    def own(self) -> list[int]:
        """The pids of the tool's own processes."""
        binary = os.fsencode(child())
        return [pid for pid in tree(self.process.pid) if binary not in _command_line(pid)]

    def _all(self) -> list[int]:
        return list(dict.fromkeys([*tree(self.process.pid), *(s.pid for s in self.stamps)]))

    def _read(self, timeout: float) -> bool:
        """Wait for something, at most so long. False when the tool's output has ended."""
        going_on = True
        for descriptor, _ in self._poll.poll(timeout * 1000):
            if descriptor == self._fifo:
                self._take_stamps()
            else:
                going_on = self._take_output()
        return going_on

    def _take_output(self) -> bool:
        try:
            data = os.read(self._pipe, READ_SIZE)
        except BlockingIOError:
            return True
        self.read_at = time.monotonic()
        if data:
            self.output.append(data)
        return bool(data)

    def _take_stamps(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._fifo, 1 << 16)).split(b"\n")
        for line in lines:
            pid, at = line.split()
            self.stamps.append(Stamp(int(pid), int(at) / 1e9))

    def _last_words(self) -> str:
        words = (self.place / "errors").read_bytes() or b"".join(self.output[-1:])
        lines = words.decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _stems_from(pid: int, place: str) -> bool:
    """Whether it is still the process that we knew: its environment names the run's directory."""
    try:
        return os.fsencode(place) in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _cpu(pid: int) -> float:
    """To the nanosecond for the threads that live; those that ended are in the ticks alone."""
    exact = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        exact += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_bytes().split()[0])
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return max(exact / 1e9, ticks)


def _switches(pid: int) -> int:
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        for line in Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "voluntary_ctxt_switches":
                total += int(value)
    return total


def _pss(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except PermissionError:
        return 0
    for line in rollup.splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0
