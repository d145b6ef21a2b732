"""Who is compared, installed by public means into a cache directory, and how each is told what to
run.

procman itself is installed there as a user would have it: from a built package, compiled, with
nothing else in its virtual environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import OURS, Failed, note

SOURCE = Path(__file__).parent.parent
PYTHON_PEERS = ("honcho", "supervisor", "circus")
NODE_PEERS = ("foreman", "pm2")  # npm's foreman is the one whose command is nf


@dataclass(frozen=True, slots=True)
class Kind:
    """So many processes of one command, whose words hold no space and need no quotes."""

    name: str
    words: tuple[str, ...]
    quantity: int = 1

    @property
    def command(self) -> str:
        """As it is written in a file."""
        return " ".join(self.words)


Configure = Callable[[Path, Sequence[Kind]], list[str]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One tool. `configure` writes its files into a directory, and returns the argv to run there,
    in the foreground, the children's lines on its standard output.
    """

    name: str
    version: str
    configure: Configure
    stop: signal.Signals = signal.SIGTERM
    restarts: bool = True  # what crashes


def cache() -> Path:
    """Where everything is installed."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "procman-benchmarks"


def environment(runtime: Path) -> dict[str, str]:
    """The caller's, without what would change the ways of a contestant."""
    unwanted = ("PROCMAN_", "PYTHON", "HONCHO_", "PM2_", "OVERMIND_", "VIRTUAL_ENV")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(unwanted) and key not in ("PORT", "NO_COLOR", "PROCFILE")
    }
    return {**kept, "XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}


def find_all(only: Sequence[str] = ()) -> dict[str, Peer]:
    """Every contestant that can be had, procman first; says which cannot, and why."""
    makers: dict[str, Callable[[], Peer]] = {
        OURS: procman,
        "honcho": lambda: _python_peer("honcho"),
        "supervisor": lambda: _python_peer("supervisor"),
        "circus": lambda: _python_peer("circus"),
        "foreman": _foreman,
        "nf": lambda: _node_peer("foreman"),
        "pm2": lambda: _node_peer("pm2"),
        "overmind": _overmind,
    }
    found: dict[str, Peer] = {}
    for name, make in makers.items():
        if only and name not in only and name != OURS:
            continue
        try:
            found[name] = make()
        except Failed as problem:
            note(f"{name} is left out: {problem.message}")
    return found


def procman_venv() -> Path:
    """The virtual environment with procman as it is in the sources now."""
    place = cache() / "procman"
    stamp = place / "installed"
    digest = _digest_of_sources()
    if stamp.exists() and stamp.read_text() == digest:
        return place
    if not (place / "bin" / "python").exists():
        _run(sys.executable, "-m", "venv", str(place))
    copy = cache() / "source"  # a build in the sources would leave files there, and find old ones
    shutil.rmtree(copy, ignore_errors=True)
    for path in _sources():
        target = copy / path.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    _run(str(place / "bin" / "pip"), "install", "-q", "--force-reinstall", "--no-deps", str(copy))
    _run(str(place / "bin" / "pip"), "install", "-q", str(copy))
    stamp.write_text(digest)
    return place


def procman() -> Peer:
    """The tool of this repository."""
    place = procman_venv()
    version = _first_version(str(place / "bin" / "procman"), "--version")
    return Peer(OURS, version, by_procfile(str(place / "bin" / "procman"), "start", "-c"))


def _sources() -> Iterator[Path]:
    yield SOURCE / "pyproject.toml"
    yield SOURCE / "README.md"
    for path in sorted((SOURCE / "procman").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _digest_of_sources() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in _sources():
        digest.update(str(path.relative_to(SOURCE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _python_peer(name: str) -> Peer:
    place = cache() / "peers"
    command = place / "bin" / {"supervisor": "supervisord", "circus": "circusd"}.get(name, name)
    if not command.exists():
        if not (place / "bin" / "python").exists():
            _run(sys.executable, "-m", "venv", str(place))
        _run(str(place / "bin" / "pip"), "install", "-q", name)
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    version = _first_version(str(place / "bin" / "python"), "-c", code)
    match name:
        case "honcho":
            return Peer(name, version, by_procfile(str(command), "start", "-c"), restarts=False)
        case "supervisor":
            return Peer(name, version, _supervisor(str(command)))
        case _:
            return Peer(name, version, _circus(str(command)))


def _node_peer(package: str) -> Peer:
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise Failed("node and npm are not installed")
    place = cache() / "node"
    command = place / "node_modules" / ".bin" / {"foreman": "nf", "pm2": "pm2-runtime"}[package]
    if not command.exists():
        place.mkdir(parents=True, exist_ok=True)
        _run(
            "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), package
        )
    manifest = (place / "node_modules" / package / "package.json").read_text()
    found = re.search(r'"version": "([^"]+)"', manifest)
    version = found[1] if found else "?"
    if package == "pm2":
        return Peer("pm2", version, _pm2(str(command)), stop=signal.SIGINT)
    configure = by_procfile(str(command), "start", "")
    return Peer("nf", version, configure, stop=signal.SIGINT, restarts=False)


def _foreman() -> Peer:
    command = shutil.which("foreman")
    if command is None and shutil.which("gem") is not None:
        place = cache() / "gems"
        _run("gem", "install", "--silent", "--install-dir", str(place), "foreman")
        command = str(place / "bin" / "foreman")
    if command is None:
        raise Failed("neither foreman nor ruby's gem is installed")
    version = _first_version(command, "--version")
    return Peer("foreman", version, by_procfile(command, "start", "-m"), restarts=False)


def _overmind() -> Peer:
    command = shutil.which("overmind")
    if command is None:
        raise Failed("not on PATH")
    version = _first_version(command, "--version")

    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        argv = by_procfile(str(command), "start", "-m")(place, kinds)
        return [*argv, "-N", "-r", ",".join(kind.name for kind in kinds)]

    return Peer("overmind", version, configure)


def by_procfile(command: str, verb: str, formation: str) -> Configure:
    """The tools that read a Procfile, and take the quantities by an option (nf: as they are)."""

    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        lines = [f"{kind.name}: {kind.command}\n" for kind in kinds]
        (place / "Procfile").write_text("".join(lines))
        quantities = ",".join(f"{kind.name}={kind.quantity}" for kind in kinds)
        return [command, verb, *([formation] if formation else []), quantities]

    return configure


def _supervisor(command: str) -> Configure:
    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        text = (
            f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
            f"pidfile={place}/pid\n" + ("user=root\n" if os.getuid() == 0 else "")
        )
        for kind in kinds:
            text += (
                f"[program:{kind.name}]\ncommand={kind.command}\nnumprocs={kind.quantity}\n"
                "process_name=%(program_name)s_%(process_num)d\nautorestart=true\n"
                "redirect_stderr=true\nstdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n"
            )
        (place / "supervisord.conf").write_text(text)
        return [command, "-c", str(place / "supervisord.conf")]

    return configure


def _circus(command: str) -> Configure:
    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        text = (
            f"[circus]\nendpoint = ipc://{place}/c\npubsub_endpoint = ipc://{place}/p\n"
            "loglevel = error\n"
        )
        for kind in kinds:
            text += (
                f"[watcher:{kind.name}]\ncmd = {kind.command}\nnumprocesses = {kind.quantity}\n"
                "copy_env = True\nstdout_stream.class = StdoutStream\n"
            )
        (place / "circus.ini").write_text(text)
        return [command, str(place / "circus.ini")]

    return configure


def _pm2(command: str) -> Configure:
    def configure(place: Path, kinds: Sequence[Kind]) -> list[str]:
        apps = [
            f'{{name: "{kind.name}", script: "{kind.words[0]}", args: "{" ".join(kind.words[1:])}",'
            f' interpreter: "none", exec_mode: "fork", instances: {kind.quantity}}}'
            for kind in kinds
        ]
        file = place / "pm2.config.js"
        file.write_text(f"module.exports = {{apps: [{', '.join(apps)}]}}\n")
        return [command, "start", str(file)]

    return configure


def _first_version(*command: str) -> str:
    found = re.search(r"\d+(\.\d+)+", _run(*command))
    return found[0] if found else "?"


def _run(*command: str) -> str:
    """What a command says. Raises Failed with its last words when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"{Path(command[0]).name} {command[1]}: {words[-1] if words else 'failed'}")
    return done.stdout


def versions(peers: Mapping[str, Peer]) -> str:
    """One line: who was measured, where."""
    named = ", ".join(f"{peer.name} {peer.version}" for peer in peers.values())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{named}; Python {sys.version.split()[0]}; {cores} cores"
