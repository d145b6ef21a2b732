"""Starts a dyno's command as the leader of its own session, and reaches all that stems from it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from procman.core.exec_command import as_exec, literal_words
from procman.runtime.loghub import Source

SHELL = "/bin/sh"
HANDED_ON = 3  # where a child finds a socket that it is handed: SD_LISTEN_FDS_START

FileAction = tuple[int, int, int] | tuple[int, int, str, int, int]  # of posix_spawn

# Ignored signals survive exec, and Python ignores these two: children get the defaults back.
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


class Belonging(Protocol):
    """What a boot has of its own, and takes with it."""

    def close(self) -> None:
        """The boot is gone."""


@dataclass(slots=True)
class Process:
    """A running boot: its leader's pid is also its process group; `output` is where we read.

    `status` is the leader's, once it has ended; `asked` is the signal that asked the group to stop,
    while the others in it have their grace; `killed`, who was outside of it when it was over, which
    is None before; `is_followed`, whether its orphans become ours;
    `address` is where it was found to listen; `release` what it runs, `copy` its own copy of it.
    """

    dyno: str
    boot: int
    pid: int
    output: int
    is_pty: bool
    port: int | None = None
    source: Source = field(default_factory=lambda: Source(""))
    address: tuple[str, int] | None = None
    status: int | None = None
    asked: int | None = None
    killed: set[int] | None = None
    is_followed: bool = False
    release: str | None = None
    copy: Belonging | None = None

    @property
    def reached_at(self) -> tuple[str, int] | None:
        """Where it listens as far as is known: on its port, unless it was found elsewhere."""
        if self.address is None and self.port is not None:
            return "127.0.0.1", self.port
        return self.address


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: argv (absolute program), environment, and whether on a pty of what size.

    On a pty that is not `controlling` nobody has a /dev/tty, and nobody is hung up: where a shell
    stays the leader it dies of a SIGTERM at once, and with the leader of a session the kernel takes
    the terminal, by a SIGHUP, from the server that is still finishing its requests.
    `socket` is a descriptor of ours that it is handed as its descriptor 3. Of a release, `release`
    is the name and `copy` what the command begins in, to be closed when the boot is gone.
    """

    argv: list[str]
    environment: Mapping[str, str]
    pty: bool
    window: tuple[int, int] | None = None  # rows, columns
    port: int | None = None
    socket: int | None = None
    release: str | None = None
    copy: Belonging | None = None
    controlling: bool = True


class Watch(Protocol):
    """Who must know the groups that exist: the guardian."""

    def watch(self, group: int) -> None:
        """A group exists."""

    def forget(self, group: int) -> None:
        """A group is empty."""


def shell_argv(command: str) -> list[str]:
    """The argv that runs a Procfile command: a shell, or what it becomes."""
    return [SHELL, "-c", as_exec(command)]


def keep_descriptors() -> None:
    """Hand on to no dyno what our caller left open, a lock of a script or another's pipe."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                pass  # the one that the listing itself had open


def spawn(dyno: str, boot: int, command: Command, watch: Watch) -> Process:
    """Start one boot in a session of its own. Raises OSError when the system refuses.

    posix_spawn costs 0.5 ms where subprocess costs 1.5 and its import 8 more. Off Linux a session
    leader does not get the terminal it opens as its controlling one, so a pty goes by fork there.
    """
    if command.pty:
        process = _spawn_on_pty(dyno, boot, command)
    else:
        process = _spawn_on_pipe(dyno, boot, command)
    watch.watch(process.pid)
    return process


def _spawn_on_pipe(dyno: str, boot: int, command: Command) -> Process:
    reading, writing = os.pipe()
    try:
        pid = _launch(
            command,
            [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_DUP2, writing, 2),
                *_handed_on(command),
            ],
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    os.set_blocking(reading, False)
    return Process(dyno, boot, pid, reading, is_pty=False, port=command.port)


def _spawn_on_pty(dyno: str, boot: int, command: Command) -> Process:
    main, terminal = os.openpty()
    try:
        _set_up_terminal(terminal, command.window)
        if sys.platform == "linux":
            flags = os.O_RDWR if command.controlling else os.O_RDWR | os.O_NOCTTY
            pid = _launch(
                command,
                [
                    (os.POSIX_SPAWN_OPEN, 0, os.ttyname(terminal), flags, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, 0, 2),
                    *_handed_on(command),
                ],
            )
        else:
            pid = _fork_on_terminal(terminal, command)
    except BaseException:
        os.close(main)
        raise
    finally:
        os.close(terminal)
    os.set_blocking(main, False)
    return Process(dyno, boot, pid, main, is_pty=True, port=command.port)


def _launch(command: Command, actions: list[FileAction]) -> int:
    """The pid of the command's process, which leads a session of its own."""

    def spawned(program: str, argv: list[str], environment: Mapping[str, str]) -> int:
        return os.posix_spawn(
            program,
            argv,
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_RESTORED,
        )

    words = literal_words(command.argv[2]) if command.argv[:2] == [SHELL, "-c"] else []
    program = _find(words[0], command.environment) if words else None
    if program is not None:  # half the time to its first instruction: no shell to load before it
        try:
            return spawned(
                program, words, {**command.environment, "PWD": pwd_here(command.environment)}
            )
        except OSError:
            pass  # a script without its interpreter's name, say: the shell knows, or says why not
    return spawned(command.argv[0], command.argv, command.environment)


def pwd_here(environment: Mapping[str, str]) -> str:
    """PWD as a shell makes it (POSIX): what it was told, by a symlink perhaps, if it leads here."""
    told = environment.get("PWD", "")
    try:
        leads_here = told.startswith("/") and os.path.samefile(told, ".")
    except (OSError, ValueError):
        leads_here = False
    return told if leads_here else os.getcwd()


def _find(word: str, environment: Mapping[str, str]) -> str | None:
    """The program that a shell would become; None where it would say that there is none."""
    if "/" in word:
        places = [word]
    else:
        paths = environment["PATH"].split(":") if environment.get("PATH") else []
        places = [os.path.join(path or ".", word) for path in paths]  # POSIX: none is this one
    return next((p for p in places if os.access(p, os.X_OK) and os.path.isfile(p)), None)


def _handed_on(command: Command) -> list[FileAction]:
    return [] if command.socket is None else [(os.POSIX_SPAWN_DUP2, command.socket, HANDED_ON)]


def _fork_on_terminal(terminal: int, command: Command) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        if command.controlling:
            os.login_tty(terminal)
        else:
            os.setsid()
            for number in range(3):
                os.dup2(terminal, number)
        if command.socket is not None:
            os.dup2(command.socket, HANDED_ON, inheritable=True)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        os.execve(command.argv[0], command.argv, dict(command.environment))
    finally:
        os._exit(126)


def _set_up_terminal(terminal: int, window: tuple[int, int] | None) -> None:
    """No CR before LF: the log is made of lines, and has no carriage."""
    import termios

    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    if window is not None:
        termios.tcsetwinsize(terminal, window)


def send(process: Process, number: int) -> None:
    """Signal the whole group, and let it run: a stopped process keeps a SIGTERM pending."""
    try:
        os.killpg(process.pid, number)
        if number not in (signal.SIGSTOP, signal.SIGTSTP):
            os.killpg(process.pid, signal.SIGCONT)
    except ProcessLookupError:
        pass  # it ended just now: its exit is on the way
    except PermissionError:
        pass  # macOS says so of a group of zombies; elsewhere: a set-uid child, which stays


def notify(process: Process, number: int) -> None:
    """Signal the whole group, as a terminal does: who is stopped sees it later."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def kill_group(process: Process) -> None:
    """SIGKILL to all that is left in the group."""
    notify(process, signal.SIGKILL)


def group_lives(process: Process) -> bool:
    """Whether anybody is in the group, a zombie included."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
