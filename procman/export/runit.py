"""runit directories: for each process a `run`, a `log/run` and an envdir.

Where honcho's are wrong (chpst and sh): `$PORT` in a command was expanded before the envdir was
read, so it was empty; of `a && b` or `FOO=1 cmd` only the first word ran as the user; blanks in a
path were not quoted; an empty value unset its variable, and one of several lines lost all but the
first. runsv restarts whatever ends and stops with SIGTERM: a type's settings have no place here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from procman.export.base import File, HonchoExport, Process, RenderedFile, carried_by_shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TEMPLATES = {
    "run": """\
#!{{ shell }}
exec 2>&1
ENVDIR=$PWD/env
cd {{ app_root|shellquote }} || exit 1
exec chpst -u {{ user }} -e "$ENVDIR" \\
  {{ shell }} -c {{ process.cmd|shellquote }}
""",
    "log/run": """\
#!/bin/sh
set -e

LOG={{ (log ~ '/' ~ process.name|dashrepl)|shellquote }}

if [ ! -d "$LOG" ]; then
    mkdir -p -m 2750 "$LOG"
    chown {{ user }} "$LOG"
fi

exec chpst -u {{ user }} svlogd "$LOG"
""",
}


class Export:
    """honcho's interface of an exporter."""

    def __init__(self, template_dir: str | None = None) -> None:
        self._export = HonchoExport("runit", TEMPLATES, template_dir=template_dir, adapt=adapt)

    def render(
        self, processes: Sequence[Process], context: dict[str, object]
    ) -> Iterable[RenderedFile]:
        """The directories of all processes."""
        return self._export.render(processes, context)

    def whole_directories(self, files: Iterable[File]) -> set[str]:
        """The envdirs: to chpst any file there is a config var, also one of an earlier export."""
        parents = {PurePosixPath(file.name).parent for file in files}
        return {str(parent) for parent in parents if parent.name == "env"}


def adapt(process: Process) -> Process:
    """Values as chpst reads them (chpst(8), -e); one that ends in blanks would lose them."""
    process = carried_by_shell(process, lambda value: not value.endswith((" ", "\t", "\n")))
    # A null stands for a line break, and a file of no bytes for "unset".
    env = {name: value.replace("\n", "\0") or "\n" for name, value in process.env.items()}
    return replace(process, env=env)
