"""Runs a one-off in this terminal: its streams are ours, its exit status becomes ours."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from procman.core.environment import COOKIE, dyno_environment
from procman.core.exits import shell_status
from procman.runtime import orphans
from procman.runtime.boots import CANNOT_EXECUTE, cookie_of
from procman.runtime.guardian import Guardian
from procman.runtime.home import Home
from procman.runtime.process import pwd_here
from procman.runtime.program import NOT_FOUND, find_program, spawn_program

if TYPE_CHECKING:
    from procman.runtime.releases.released import Released

_FORWARDED = {
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
_FROM_KERNEL = 0x80  # si_code SI_KERNEL: the terminal sent it, and to the one-off as well


def run_one_off(
    argv: list[str],
    root: str,
    config_vars: Mapping[str, str],
    released: Released | None = None,
) -> int:
    """Run argv in `root` as `run.N`, or in a copy of what was released; its exit status, 128 + n
    for a death by signal n.
    """
    os.chdir(root)
    number, lock = Home(root).take_one_off()
    dyno = f"run.{number}"
    cookie = os.urandom(16).hex()
    environment = dyno_environment(
        config_vars,
        dyno=dyno,
        cookie=cookie_of(cookie, dyno, 1),
        port=None,
        type_ports={},
        release=None if released is None else released.name,
    )
    if released is None:
        environment["PWD"] = pwd_here(environment)
        return _run(argv, environment, lock, cookie)
    from procman.core.profile import in_slug
    from procman.runtime.slugs.overlay import Copies
    from procman.runtime.slugs.store import SlugStore

    copies = Copies(SlugStore(root))
    try:
        copy = copies.copy_for(released.slug, dyno, number)
        try:
            argv = [*copy.argv_prefix, *in_slug(argv, has_profile=released.has_profile)]
            return _run(argv, environment, lock, cookie)
        finally:
            copy.close()
    finally:
        copies.sweep()


def _run(argv: list[str], environment: Mapping[str, str], lock: int, cookie: str) -> int:
    program = find_program(argv[0], environment.get("PATH", os.defpath))
    if isinstance(program, int):
        what = "not found" if program == NOT_FOUND else "cannot be executed"
        print(f"procman: {argv[0]}: {what}", file=sys.stderr)
        return program
    guardian = Guardian(f"{COOKIE}={cookie}.")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED | {signal.SIGCHLD})
    orphans.become_subreaper()
    try:
        pid = _spawn(program, argv, environment, before)
    except OSError as error:  # a script whose interpreter is gone, a binary of another machine
        print(f"procman: {argv[0]}: {error.strerror}", file=sys.stderr)
        guardian.dismiss()
        return CANNOT_EXECUTE
    try:
        return shell_status(_wait(pid))
    finally:
        if orphans.adopted({guardian.pid}) or not orphans.can_adopt():
            orphans.kill_marked(f"{COOKIE}={cookie}.")
            orphans.kill_adopted({guardian.pid})
        guardian.dismiss()
        os.close(lock)


def _spawn(
    program: str,
    argv: list[str],
    environment: Mapping[str, str],
    mask: Collection[int | signal.Signals],
) -> int:
    """The one-off's pid."""

    def spawned(path: str, words: list[str]) -> int:
        return os.posix_spawn(
            path,
            words,
            environment,
            setsigmask=mask,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )

    return spawn_program(spawned, program, argv)


def _wait(pid: int) -> int:
    """Forward what we are sent until the one-off has ended; its status as in `Exited`.

    Signals are waited for, not handled, because only so it is known who sent them: Ctrl-C reaches
    the one-off by the terminal, and must not reach it twice.
    """
    by_keys = {signal.SIGINT, signal.SIGQUIT}
    if (
        os.getsid(0) != os.getpid()
    ):  # of a terminal that is gone, its session's leader alone is told
        by_keys.add(signal.SIGHUP)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if sys.platform == "darwin":  # has no sigwaitinfo
            number, kernel = signal.sigwait(_FORWARDED | {signal.SIGCHLD}), os.isatty(0)
        else:
            info = signal.sigwaitinfo(_FORWARDED | {signal.SIGCHLD})
            number, kernel = signal.Signals(info.si_signo), info.si_code == _FROM_KERNEL
        by_terminal = kernel and number in by_keys
        if number is not signal.SIGCHLD and not by_terminal:
            os.kill(pid, number)
