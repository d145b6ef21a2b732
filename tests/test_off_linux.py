"""Whatever Linux alone has is asked for when it is used, never when a module is imported."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import fcntl, importlib, os, pkgutil, select, selectors, signal, socket, sys, time
import psutil, watchdog.observers  # they choose by the platform themselves

selectors.DefaultSelector = selectors.PollSelector
LINUX_ALONE = {
    os: "O_PATH O_TMPFILE copy_file_range eventfd getxattr memfd_create pidfd_open pipe2 splice",
    signal: "SIGPWR SIGRTMAX SIGRTMIN pidfd_send_signal sigtimedwait sigwaitinfo",
    socket: "AF_NETLINK SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED TCP_QUICKACK",
    fcntl: "F_GETPIPE_SZ F_SETPIPE_SZ",
    select: "epoll",
    time: "CLOCK_BOOTTIME",
}
for module, names in LINUX_ALONE.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "darwin"

import procman

for module in pkgutil.walk_packages(procman.__path__, "procman."):
    if not module.name.endswith(".inotify"):  # imported by the watcher on Linux alone
        importlib.import_module(module.name)
print("procman.runtime.sock_diag" in sys.modules)
"""


def test_every_module_can_be_imported_where_it_is_not_linux() -> None:
    """As on macOS: no epoll, no netlink, no pidfd."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
