"""Where an app's lock and socket live: a private directory of the user's, one name for each app.

The app is named by the device and inode of its root, so that every path to it is the same app and
the name is short: a Unix socket's path is limited to 108 bytes. A lock tells whether the app runs,
never a file's existence: the kernel drops it with its holder.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from procman.errors import ProcmanError

LONGEST_PATH = 107 if sys.platform == "linux" else 103  # bytes of a socket's: sockaddr_un, less NUL
_ELSEWHERE = "remove it, or set XDG_RUNTIME_DIR to a directory that only you can enter"
_ASIDE = re.compile(r"[0-9a-f]+-[0-9a-f]+\.([0-9]{1,9})\.lock")  # of a run beside an app


class Home:
    """The runtime files of the app in `root`."""

    def __init__(self, root: str, suffix: str = "") -> None:
        """With a suffix, those of a run beside the app's own."""
        status = os.stat(root)
        key = f"{status.st_dev:x}-{status.st_ino:x}{suffix}"
        directory = runtime_directory(key)
        self.lock_path = os.path.join(directory, f"{key}.lock")
        self.socket_path = os.path.join(directory, f"{key}.sock")
        self._is_aside = bool(suffix)
        self._one_off_path = os.path.join(directory, f"{key}.run.")
        self._lock: int | None = None

    def acquire(self, note: str) -> str | None:
        """Take the app's lock and write `note` into it; the holder's note when it is taken."""
        if self._is_aside:
            _sweep(os.path.dirname(self.lock_path))
        lock = _open_lock(self.lock_path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 4096).decode()
            os.close(lock)
            return holder
        try:
            with usable(self.lock_path):  # the disk may be full
                os.ftruncate(lock, 0)
                os.write(lock, note.encode())
        except ProcmanError:
            os.close(lock)
            raise
        self._lock = lock
        return None

    def wait_until_free(self) -> None:
        """Until nobody runs the app: the kernel wakes us, also when its procman was killed."""
        lock = _open_lock(self.lock_path)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def release(self) -> None:
        """Give the lock back. Its file stays: removing it would let two hold it at once."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Give the lock back and leave no file: for a run whose name nobody else has."""
        os.unlink(self.lock_path)
        self.release()

    def take_one_off(self) -> tuple[int, int]:
        """The lowest free number of a one-off, and the descriptor that holds it while open."""
        number = 1
        while True:
            path = f"{self._one_off_path}{number}"
            lock = _open_lock(path)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number, lock
            except BlockingIOError:
                os.close(lock)
                number += 1


def _open_lock(path: str) -> int:
    with usable(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def usable(path: str) -> Iterator[None]:
    """Raises ProcmanError where the system does not let us have a runtime file."""
    try:
        yield
    except OSError as error:
        raise ProcmanError(f"{path}: {error.strerror}", hint=_ELSEWHERE) from None


def _sweep(directory: str) -> None:
    """Remove what runs beside apps have left that were killed: their process is gone, and so is
    who held their lock.
    """
    for name in os.listdir(directory):
        found = _ASIDE.fullmatch(name)
        if found is None or _lives(int(found[1])):
            continue
        path = os.path.join(directory, name)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else has swept it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
            os.unlink(path.removesuffix("lock") + "sock")
        except OSError:
            pass  # it is held, by a process that we cannot see; or it left no socket
        finally:
            os.close(lock)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def runtime_directory(key: str) -> str:
    """The user's own directory for the files of this app, made 0700.

    Where the app runs already, as the note in its lock says: a session's terminal has a directory
    that a cron job and a `su` are not told of. Else the first that can be had and in which the
    whole path is not too long for a socket. ProcmanError when it is not private, or there is none.
    """
    places = [p for p in _places() if len(os.fsencode(f"{p}/{key}.sock")) <= LONGEST_PATH]
    for place in places:
        if _has_note(f"{place}/{key}.lock") and _is_private(place):
            return place
    problem = ""
    for place in places:
        try:
            os.mkdir(place, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            problem = f": {place}: {error.strerror}"
            continue
        if _is_private(place):
            return place
        raise ProcmanError(
            f"{place} is not a private directory of yours",
            hint=_ELSEWHERE,
        )
    raise ProcmanError(
        f"there is no place for the app's lock and socket{problem}",
        hint="set XDG_RUNTIME_DIR to a directory that only you can enter",
    )


def _places() -> Iterator[str]:
    """Of the user's session, where there is one, and of all users; a relative path is nobody's."""
    user = os.getuid()
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}"):
        if os.path.isabs(base) and _is_ours(base):  # `su` hands on that of who called it
            yield os.path.join(base, "procman")
    for base in (os.environ.get("TMPDIR", ""), "/tmp"):
        if os.path.isabs(base):
            yield os.path.join(base, f"procman-{user}")


def _is_ours(base: str) -> bool:
    try:
        return os.stat(base).st_uid == os.getuid() and os.access(base, os.W_OK | os.X_OK)
    except OSError:
        return False


def _is_private(directory: str) -> bool:
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    ours = status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
    return stat.S_ISDIR(status.st_mode) and ours


def _has_note(lock: str) -> bool:
    try:
        return os.stat(lock).st_size > 0
    except OSError:
        return False
