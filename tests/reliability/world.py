"""The app that the faults hit, as its user sees it: started, asked, and started again."""

from __future__ import annotations

import os
import random
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from procman.errors import NotRunningError
from procman.runtime.client import ask
from tests.end_to_end.conftest import (
    PATIENCE,
    PROCMAN,
    clean_environment,
    marked,
    new_mark,
    wait_for_end,
)
from tests.end_to_end.web import free_port

HERE = Path(__file__).parent
DYNO = f"exec {sys.executable} -I -S dyno.py"
PROCFILE = f"web: {DYNO} web\nworker: {DYNO} worker\n"
LOOKS = 200  # at what is on its way; each look is a whole conversation with procman


@dataclass
class World:
    """One app in `root`, on a port of its own, with what was asked of it."""

    root: Path
    chance: random.Random
    is_released: bool
    has_disk: bool  # a small one of its own, which can be filled
    port: int = field(default_factory=free_port)
    formation: dict[str, int] = field(default_factory=lambda: {"web": 2, "worker": 2})
    mark: str = field(default_factory=new_mark)
    shift: int = 0
    text: str = ""
    starts: int = 0

    def __post_init__(self) -> None:
        guard = self.root.parent / "guard"
        guard.mkdir()
        self.clock = self.root.parent / "clock"
        self.clock.write_bytes(bytes(8))
        (self.root / "Procfile").write_text(PROCFILE)
        (self.root / "dyno.py").write_text((HERE / "dyno.py").read_text())
        path = os.pathsep.join(filter(None, [str(HERE / "clock"), os.environ.get("PYTHONPATH")]))
        ours = {"GUARD": str(guard), "TEST_CLOCK": str(self.clock), "PYTHONPATH": path}
        self.environ = clean_environment(self.mark, ours, self.root)

    # --- procman itself ---

    def start(self) -> None:
        """`procman start`; returns when the app can be asked."""
        self.starts += 1
        formation = ",".join(f"{name}={n}" for name, n in self.formation.items())
        release = ["--release"] if self.is_released else ["--watch"]
        more = ["-p", str(self.port), "-c", formation, "--stop-timeout", "2s"]
        self.procman = subprocess.Popen(
            [*PROCMAN, "start", *more, *release],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.procman.stdout is not None
        self.screen = Screen(self.procman.stdout.fileno())
        self.screen.until(b"web is at http://", self.procman)

    def finish(self) -> int:
        """Wait for its end, keep what it said, and give the exit status."""
        status = self.procman.wait(PATIENCE)
        self.text += self.screen.close()
        assert self.procman.stdout is not None
        self.procman.stdout.close()
        return status

    def kill(self) -> None:
        """Leave nothing behind, whatever has gone wrong."""
        if self.starts:
            if self.procman.poll() is None:
                self.procman.kill()
                print(self.screen.close())
            self.procman.wait(PATIENCE)
            if self.procman.stdout is not None:
                self.procman.stdout.close()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def run(self, *arguments: str) -> tuple[int, str]:
        """A command of another terminal: its status, and all that it said."""
        with self.command(*arguments) as process:
            said = process.communicate(timeout=PATIENCE)[0].decode()
        assert "Traceback" not in said, said
        return process.returncode, said

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command of another terminal that goes on."""
        return subprocess.Popen(
            [*PROCMAN, *arguments],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    # --- the app ---

    def ask(self, do: str, **fields: object) -> dict[str, object]:
        """Over the control socket."""
        return ask(str(self.root), do, **fields)

    def rows(self) -> list[Mapping[str, object]]:
        """The dynos, as `ps` has them."""
        rows = self.ask("ps")["dynos"]
        assert isinstance(rows, list)
        return rows

    def pid_of(self, dyno: str) -> int:
        """The leader's."""
        pid = next(row["pid"] for row in self.rows() if row["dyno"] == dyno)
        assert isinstance(pid, int)
        return pid

    def names(self) -> list[str]:
        """The dynos that were asked for."""
        return [f"{name}.{n + 1}" for name, count in self.formation.items() for n in range(count)]

    def any_dyno(self, of_type: str = "") -> str:
        """One of them."""
        return self.chance.choice([name for name in self.names() if name.startswith(of_type)])

    def settle(self) -> list[Mapping[str, object]]:
        """Until each dyno that was asked for is up and its process lives; the rows then.

        A dyno that has crashed again and again is not waited for: it is restarted by hand.
        """
        for _ in range(LOOKS):
            late = [row["dyno"] for row in self.rows() if _is_late(row)]
            if late:
                self.ask("restart", targets=late)
            self.ask("wait", targets=[], timeout=PATIENCE)
            rows = self.rows()
            if [row["dyno"] for row in rows] == self.names() and all(map(_is_up, rows)):
                return rows
        raise AssertionError(f"not as asked, {self.formation}: {rows}")

    def is_running(self) -> bool:
        """Whether somebody answers."""
        try:
            self.ask("ps")
        except NotRunningError:
            return False
        return True

    def set_clock(self, shift: int) -> None:
        """The wall clock, so many seconds from the real one."""
        self.shift = shift
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", shift))

    def processes(self) -> list[int]:
        """All that stems from this app and lives."""
        return marked(self.mark)

    def wait_for_all_to_end(self) -> None:
        """Until none is left; the test's own time limit ends a vain wait."""
        while pids := self.processes():
            for pid in pids:
                wait_for_end(pid)


class Screen:
    """Reads what procman says, in a thread, so that it never waits for us."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._said = bytearray()
        self._more = threading.Condition()
        self._stop, self._stopper = os.pipe()
        self._is_closed = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def until(self, wanted: bytes, process: subprocess.Popen[bytes]) -> None:
        """Until it was said."""
        with self._more:
            self._more.wait_for(lambda: wanted in self._said or self._is_closed, PATIENCE)
        assert wanted in self._said, (process.poll(), self._said.decode())

    def close(self) -> str:
        """After its end, or to read no more: all that was said. Twice does no harm."""
        if self._thread.is_alive():
            os.write(self._stopper, b".")
            self._thread.join()
        for descriptor in (self._stop, self._stopper):
            if descriptor >= 0:
                os.close(descriptor)
        self._stop = self._stopper = -1
        return self._said.decode(errors="replace")

    def _read(self) -> None:
        stop = self._stop
        while True:
            ready, _, _ = select.select([self._descriptor, stop], [], [])
            data = os.read(self._descriptor, 1 << 16) if self._descriptor in ready else b""
            with self._more:
                self._said += data
                self._is_closed = not data
                self._more.notify_all()
            if not data:
                return


def _is_up(row: Mapping[str, object]) -> bool:
    return row["state"] == "up" and isinstance(row["pid"], int) and lives(row["pid"])


def _is_late(row: Mapping[str, object]) -> bool:
    retry = row["retry_in"]
    return isinstance(retry, float) and retry > 1.0


def lives(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False
