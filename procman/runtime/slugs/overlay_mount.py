"""Mounts an overlay: for root where it is called, for anyone else on the way to a dyno's command.

Run as a program it enters a user and a mount namespace of its own, mounts, and becomes the command:

    python -I -S overlay_mount.py LOWER UPPER WORK TARGET COMMAND [ARGUMENT]...

In there the user keeps his own number, so the command runs as whom it would have run anyway, and
the mount is gone with the last process that is in it, also after kill -9. Set-user-id programs,
such as sudo, do not work in there. It imports nothing of procman, for it stands between a dyno's
spawn and its first instruction. Measured: 13 ms, of which Python's start is 9 and `ctypes` 3;
`signal`, for its enums, would be 4 more.
"""

from __future__ import annotations

import ctypes
import os
import sys

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # linux/sched.h: CLONE_NEWNS, CLONE_NEWUSER
DETACH, NO_FOLLOW = 2, 8  # sys/mount.h: MNT_DETACH, UMOUNT_NOFOLLOW
INTERRUPT, BROKEN_PIPE, FILE_SIZE = 2, 13, 25  # asm-generic/signal.h
DEFAULT, IGNORE = 0, 1  # SIG_DFL, SIG_IGN
CANNOT_START = 125  # as env and nohup: the command has not been run


def mount_overlay(lower: str, upper: str, work: str, target: str, *, user: bool = False) -> None:
    """Mount `lower` with `upper` on it at `target`; raises OSError when the kernel refuses.

    A copy is thrown away, so nothing of it is forced to the disk at the unmount (`volatile`, since
    Linux 5.10). `user` keeps overlay's own marks in user.* attributes, all that a user namespace
    may write; there alone, renaming a directory of the slug fails with EXDEV, as it does between
    file systems (mv then copies).
    """
    places = (("lowerdir", lower), ("upperdir", upper), ("workdir", work))
    options = ",".join(f"{name}={_escaped(path)}" for name, path in places)
    wishes = (",userxattr,volatile", ",userxattr") if user else (",redirect_dir=on,volatile", "")
    for wish in wishes:
        try:
            _mount(target, options + wish)
            return
        except OSError:
            if wish is wishes[-1]:
                raise


def unmount(target: str) -> None:
    """Take away whatever is mounted at `target`, also while it is in use; nothing there is fine."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "umount2"):
        return  # no Linux, no overlay
    while libc.umount2(os.fsencode(target), DETACH | NO_FOLLOW) == 0:
        pass


def enter_namespaces() -> None:
    """Leave the namespaces of the caller, as the same user; raises OSError when that is barred."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_USER | NEW_MOUNTS) != 0:
        raise _error()
    for name, text in (
        ("uid_map", f"{user} {user} 1"),
        ("setgroups", "deny"),  # the condition for the next line
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def main(arguments: list[str]) -> None:
    """Enter, mount, become the command."""
    lower, upper, work, target, *command = arguments
    try:
        environment = _environment()
        enter_namespaces()
        mount_overlay(lower, upper, work, target, user=True)
        os.chdir(target)
    except OSError as problem:
        print(f"procman: cannot make the dyno's copy: {problem}", file=sys.stderr)
        os._exit(CANNOT_START)
    for number in (BROKEN_PIPE, FILE_SIZE):
        ctypes.CDLL(None).signal(number, DEFAULT)  # Python ignores them, a command must not
    if b"PWD" in environment:
        environment[b"PWD"] = os.fsencode(target)
    try:
        os.execvpe(command[0], command, environment)
    except OSError as problem:
        print(f"procman: {command[0]}: {problem.strerror}", file=sys.stderr)
        os._exit(127 if isinstance(problem, FileNotFoundError) else 126)


def _environment() -> dict[bytes, bytes]:
    """The environment we were given: Python adds LC_CTYPE to its own in a C locale."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (item.partition(b"=") for item in file.read().split(b"\0") if item)
        return {name: text for name, _, text in pairs}


def _mount(target: str, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mount"):
        raise OSError("no overlay mounts on this system")
    kind = b"overlay"
    if libc.mount(kind, os.fsencode(target), kind, 0, os.fsencode(options)) != 0:
        raise _error()


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _escaped(path: str) -> str:
    """A path in overlay's options: `:` separates lower directories, `,` options."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


if __name__ == "__main__":
    if ctypes.CDLL(None).signal(INTERRUPT, DEFAULT) == IGNORE:  # no traceback this early
        ctypes.CDLL(None).signal(INTERRUPT, IGNORE)
    main(sys.argv[1:])
