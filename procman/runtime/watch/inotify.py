"""Watches directories, each by itself, by one inotify descriptor and one thread that sleeps in the
kernel until something happens.

watchdog's `InotifyObserver` has a thread for every watch, and holds back what was moved away for
half a second. Beneath it lies `InotifyFD`, which is one descriptor, one thread and a `poll` without
a timeout; that is what is used here (watchdog 7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import termios
import threading
from array import array
from collections.abc import Callable

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from procman.runtime.watch.events import Event, WatchLimitError, What

# Not among them: IN_OPEN, IN_ACCESS, IN_CLOSE_NOWRITE, with which every read is an event, and
# IN_ATTRIB, which `chmod` and `touch -a` are.
_MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK  # a deleted file that is still written to is nobody's source
)
_DONE = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_GONE = InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM

# The overflow that it logs is handled here; without a handler it would reach the terminal.
logging.getLogger("watchdog").addHandler(logging.NullHandler())


class Inotify:
    """A set of watched directories. What it is made with is called in a thread of its own."""

    def __init__(
        self,
        report: Callable[[Event], None],
        lost: Callable[[], None],
        told: Callable[[], None],
    ) -> None:
        """Raises WatchLimitError when the user has as many inotify instances as allowed."""
        self._report = report
        self._lost = lost
        self._lock = threading.Lock()
        self._directories: dict[WatchDescriptor, tuple[str, CallbackId]] = {}
        self._watches: dict[str, WatchDescriptor] = {}
        self._ids = 0
        try:
            self._inotify = _Descriptor(told)
        except OSError as error:
            raise WatchLimitError("max_user_instances") from error
        self._inotify.start()

    def add(self, directory: str) -> None:
        """Watch a directory. WatchLimitError when there can be no more; one that is gone or may not
        be read is passed over: an event of its parent tells when that changes."""
        with self._lock:
            self._remove(directory)  # what was there may have been moved away
            self._ids += 1
            identity = CallbackId(self._ids)
            try:
                watch = self._inotify.add_callback(os.fsencode(directory), _MASK, self, identity)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise WatchLimitError("max_user_watches") from error
                return
            if watch < 0:
                return  # watchdog's answer where the directory may not be read
            earlier = self._directories.get(watch)
            if earlier is not None:  # the same directory under its former name
                self._watches.pop(earlier[0], None)
                self._inotify.remove_callbacks([(watch, earlier[1])])
            self._directories[watch] = (directory, identity)
            self._watches[directory] = watch

    def remove(self, directory: str) -> None:
        """Watch it no longer; unknown ones are passed over."""
        with self._lock:
            self._remove(directory)

    def has_news(self) -> bool:
        """Whether something happened that was not reported yet; `told` is called when it was."""
        return self._inotify.has_news()

    def close(self) -> None:
        """End the thread; nothing is reported after that."""
        self._inotify.stop()
        if self._inotify is not threading.current_thread():
            self._inotify.join()

    def _remove(self, directory: str) -> None:
        watch = self._watches.pop(directory, None)
        if watch is not None:
            _, identity = self._directories.pop(watch)
            self._inotify.remove_callbacks([(watch, identity)])

    # What watchdog calls, in its thread: its WatchCallback protocol.

    def on_event(self, event: InotifyEvent) -> None:
        """Something happened in a watched directory."""
        with self._lock:
            known = self._directories.get(event.wd)
        if known is None or not event.name:
            return  # watched no longer; or the directory itself, of which its parent tells
        if event.mask & _GONE:
            what = What.GONE
        elif event.mask & _DONE:
            what = What.DONE
        else:
            what = What.BEGUN
        is_directory = bool(event.mask & InotifyConstants.IN_ISDIR)
        self._report(Event(known[0], os.fsdecode(event.name), what, is_directory))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """The directory is gone."""
        with self._lock:
            known = self._directories.pop(wd, None)
            if known is not None and self._watches.get(known[0]) == wd:
                del self._watches[known[0]]

    def on_queue_overflow(self) -> None:
        """More happened than the kernel keeps (fs.inotify.max_queued_events)."""
        self._lost()


class _Descriptor(InotifyFD):
    """watchdog's own is inherited by every child, which then holds all watches while it lives; and
    it cannot be asked whether it is up to date.

    The kernel queues an event before the call returns that made it, so that whoever asks after a
    save finds it in the queue, or with the thread, or reported: the thread calls itself busy before
    it takes events out of the queue, and until they are reported.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told
        self._is_busy = False
        self._is_asked = False

    @classmethod
    def _create_inotify_fd(cls) -> int:
        descriptor: int = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return descriptor

    def has_news(self) -> bool:
        """See `Eyes`. Takes 1 µs."""
        if not self._is_behind():
            return False
        self._is_asked = True
        return self._is_behind()  # it may have caught up before it could see who asks

    def _is_behind(self) -> bool:
        waiting = array("i", [0])
        fcntl.ioctl(self._inotify_fd, termios.FIONREAD, waiting)
        return bool(waiting[0]) or self._is_busy

    def _check_inotify_fd(self) -> bool:
        """Called before each look into the queue: all that was in it before is reported."""
        self._is_busy = False
        if self._is_asked:
            self._is_asked = False
            self._told()
        is_readable = super()._check_inotify_fd()
        self._is_busy = True
        return is_readable
