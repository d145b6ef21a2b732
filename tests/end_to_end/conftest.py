"""Runs the real procman in a directory of its own, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROCMAN = [sys.executable, "-m", "procman"]
PATIENCE = 60.0  # seconds until a test gives up waiting; never what a test measures
SHOWN = 20_000  # characters of what a procman wrote, when its test has failed


@dataclass
class Running:
    """A procman that runs: its output so far, its exit status, and what it left behind."""

    process: subprocess.Popen[bytes]
    mark: str
    root: Path
    environ: Mapping[str, str]
    output: bytearray = field(default_factory=bytearray)
    _closed: bool = False

    @property
    def text(self) -> str:
        """All that was read so far."""
        return self.output.decode(errors="replace")

    def until(self, wanted: str, count: int = 1) -> str:
        """Read on until the text has come `count` times."""
        while self.text.count(wanted) < count:
            assert self._read(), f"ended without {wanted!r} x {count}:\n{self.text}"
        return self.text

    def send(self, number: int) -> None:
        """Signal procman itself."""
        self.process.send_signal(number)

    def finish(self) -> int:
        """Read to the end; the exit status, negative for a death by signal."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def lines(self, dyno: str) -> list[str]:
        """What one dyno wrote, without the prefix."""
        return self.lines_of_all().get(dyno, [])

    def lines_of_all(self) -> dict[str, list[str]]:
        """What each dyno wrote, without the prefix."""
        found: dict[str, list[str]] = {}
        for line in self.text.splitlines():
            head, bar, rest = line.partition("| ")
            if bar and (words := head.split()):
                found.setdefault(words[-1], []).append(rest)
        return found

    def survivors(self) -> list[int]:
        """Processes that stem from this procman and live."""
        return marked(self.mark)

    def wait_for_survivors_to_end(self) -> None:
        """Until none is left; the test's own time limit ends a vain wait."""
        while pids := self.survivors():
            for pid in pids:
                wait_for_end(pid)

    def show(self) -> None:
        """Print the end of what it wrote: pytest shows it when the test has failed."""
        stdout = self.process.stdout
        if stdout is not None and not stdout.closed:
            os.set_blocking(stdout.fileno(), False)
            self.output += stdout.read() or b""
        print(f"{self.process.args!r}\n{self.text[-SHOWN:]}")

    def _read(self) -> bool:
        if self._closed or self.process.stdout is None:
            return False
        descriptor = self.process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], PATIENCE)
        assert ready, f"silent for {PATIENCE} s:\n{self.text}"
        data = os.read(descriptor, 1 << 16)
        self.output += data
        self._closed = not data
        return bool(data)


@dataclass
class Sandbox:
    """A directory with a Procfile, and the procmans that were started in it."""

    root: Path
    running: list[Running] = field(default_factory=list)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the app."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def save(self, name: str, text: str) -> None:
        """Replace a file in one step. Where saves are counted: who writes a file in place, and is
        held up half-way, has saved twice.
        """
        new = self.root.parent / "new"
        new.write_text(text)
        new.replace(self.root / name)

    def procman(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        stderr: int = subprocess.STDOUT,
    ) -> Running:
        """Start `procman ARGUMENTS…` here, its output in a pipe."""
        mark = new_mark()
        environ = clean_environment(mark, env or {}, self.root)
        process = subprocess.Popen(
            [*PROCMAN, *arguments],
            cwd=self.root,
            env=environ,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        running = Running(process, mark, self.root, environ)
        self.running.append(running)
        return running

    def start(
        self, procfile: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> Running:
        """Write the Procfile and `procman start` it."""
        self.write("Procfile", procfile)
        return self.procman("start", *arguments, env=env)


def clean_environment(mark: str, extra: Mapping[str, str], root: Path) -> dict[str, str]:
    """The caller's environment without what would change procman's ways."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PROCMAN_", "PYTEST_")) and key not in ("PORT", "NO_COLOR", "DYNO")
    }
    name, _, value = mark.partition("=")
    runtime = root.parent / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {**kept, "XDG_RUNTIME_DIR": str(runtime), name: value, **extra}


def new_mark() -> str:
    """A variable that only the processes of one test have: others run beside it."""
    return f"TEST_MARK={uuid.uuid4().hex}"


def marked(mark: str) -> list[int]:
    """Living processes with this text in their environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if mark.encode() in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
            except OSError:
                pass  # ended just now
    return found


def wait_for_end(pid: int) -> None:
    """Until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], PATIENCE)
    finally:
        os.close(descriptor)


def unmount_below(place: Path) -> None:
    """What a procman that was killed has left: the next one of its app would sweep it, and here
    comes none. Mounted still, it would break every test run after this one.
    """
    if not Path("/proc/self/mounts").exists():
        return
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        where = line.split(" ")[1].encode().decode("unicode_escape")  # a blank is \040 there
        if where.startswith(f"{place}/"):
            subprocess.run(["umount", "--lazy", where], check=True)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """An empty app; whatever was started in it is killed afterwards."""
    root = tmp_path / "app"
    root.mkdir()
    box = Sandbox(root)
    yield box
    for running in box.running:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait(PATIENCE)
        for pid in running.survivors():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        running.show()
        for stream in (running.process.stdout, running.process.stderr):
            if stream is not None:
                stream.close()
    unmount_below(root)


Start = Callable[..., Running]
