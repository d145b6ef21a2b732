"""The guardian: what still kills the dynos when procman itself was killed.

A shell of 0.2 MB in a session of its own. It reads from a pipe that only procman holds: `+ PGID`
and `- PGID` keep its list of process groups, `bye` ends it. When the pipe closes without a `bye`,
procman is gone, and everything in those groups or with the app's cookie in its environment is
killed. A shell, and not a fork of procman: it is there in a millisecond, takes no memory, and does
not bear procman's name, so that `pkill -9 -f procman` spares it.

The cookie finds what left its group by setsid (Linux, where /proc tells environments); the groups
find what cleared its environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# $1 is the cookie. Twenty rounds of a tenth of a second: what is forked while we kill is seen in
# the next round, and a zombie that nobody reaps does not hold us for ever. Nobody is left when two
# rounds find nobody: a process that is being executed has no environment for a moment.
_SCRIPT = r"""
trap '' HUP INT QUIT TERM
groups=' '
while read -r verb id; do
  case $verb in
    +) groups="$groups$id " ;;
    -) case $groups in *" $id "*) groups="${groups%% $id *} ${groups#* $id }" ;; esac ;;
    bye) exit 0 ;;
  esac
done
round=0
last=1
while [ $round -lt 20 ]; do
  left=
  for id in $groups; do kill -s KILL -- "-$id" && left=1; done
  for file in $(grep -lF -- "$1" /proc/[0-9]*/environ); do
    id=${file#/proc/}
    kill -s KILL "${id%/environ}" && left=1
  done
  [ "$left$last" ] || exit 0
  last=$left
  round=$((round + 1))
  sleep 0.1
done
"""


class Guardian:
    """The guardian as procman holds it: a pid and the writing end of its pipe."""

    def __init__(self, cookie: str) -> None:
        """Start it. `cookie` is the text `NAME=VALUE` that every dyno's environment contains."""
        reading, self._pipe = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        self.pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _SCRIPT, "sh", cookie],
            {"PATH": "/usr/bin:/bin"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reading, 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
            ],
            setsid=True,
        )
        os.close(reading)
        os.close(null)
        self._held: list[bytes] | None = None

    @contextmanager
    def told_at_once(self) -> Iterator[None]:
        """Tell it at the end of the block what is said in it: each line wakes it, and takes a
        processor from the dynos that start. Until then the cookie alone finds them.
        """
        held: list[bytes] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
            self._tell(b"".join(held))

    def watch(self, group: int) -> None:
        """Kill this process group too when procman is gone."""
        self._tell(b"+ %d\n" % group)

    def forget(self, group: int) -> None:
        """The group is empty; its number may be somebody else's soon."""
        self._tell(b"- %d\n" % group)

    def dismiss(self) -> None:
        """Nothing is left to guard."""
        self._tell(b"bye\n")
        os.close(self._pipe)
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass  # somebody killed it, and it is reaped already

    def _tell(self, line: bytes) -> None:
        if self._held is not None:
            self._held.append(line)
            return
        try:
            os.write(self._pipe, line)
        except BrokenPipeError:
            pass  # somebody killed it: the app runs on, unguarded
