"""systemd units: a target for the app, one for each type, a unit for each process.

Where honcho's are wrong (read back by `systemd-analyze verify`): `%` and `\\` in a value or a
command were specifiers and escapes; a quote in a command ended it, and `${A:-b}` was systemd's to
expand, not the shell's; `KillMode=process` left the children of a shell behind; and five crashes
within ten seconds, half a second at systemd's pace, were the end of the app.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from procman.export.base import CONTROL, HonchoExport, Process, RenderedFile, shell_export

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Sequence

TEMPLATES = {
    "master.target": """\
[Unit]
Description={{ app }}
Wants={{ master_wants }}

[Install]
WantedBy=multi-user.target
""",
    "process_master.target": """\
[Unit]
Description={{ process_master_name }}
PartOf={{ app }}.target
Wants={{ process_master_wants }}
""",
    "process.service": """\
[Unit]
Description={{ app }} {{ process.name }}
PartOf={{ process_master_name }}.target
After=network.target
# Tried again for ever, once a second: a crash is no reason to give the app up.
StartLimitIntervalSec=0

[Service]
User={{ user }}
WorkingDirectory={{ app_root | percentescape }}
{% for k, v in process.env.items() -%}
Environment={{ k }}={{ v | value }}
{% endfor -%}
ExecStart={{ shell | percentescape }} -lc {{ process.cmd | argument }}
Restart={{ {'never': 'no'}.get(process.restart, process.restart) }}
RestartSec=1
StandardInput=null
StandardOutput=journal
StandardError=journal
SyslogIdentifier=%n
KillMode=control-group
KillSignal=SIG{{ process.stop_signal }}
TimeoutStopSec={{ '%g' | format(process.stop_timeout) }}

[Install]
WantedBy={{ process_master_name }}.target
""",
}


class Export:
    """honcho's interface of an exporter."""

    def __init__(self, template_dir: str | None = None) -> None:
        self._export = HonchoExport(
            "systemd",
            TEMPLATES,
            template_dir=template_dir,
            filters={"value": value, "argument": argument},
            adapt=with_path,
        )

    def render(
        self, processes: Sequence[Process], context: dict[str, object]
    ) -> Iterable[RenderedFile]:
        """The units of all processes."""
        return self._export.render(processes, context)


def with_path(process: Process) -> Process:
    """The same, its PATH set in the command as well: the profile of a login shell sets PATH anew,
    on Debian at least. `Environment=` keeps it, for a profile that only adds to it.
    """
    path = process.env.get("PATH")
    if path is None:
        return process
    return replace(process, cmd=f"{shell_export('PATH', path)} {process.cmd}")


def value(text: str) -> str:
    """A value of `Environment=`, in a shell's quotes as honcho has it."""
    return shlex.quote(_escaped(text))


def argument(text: str) -> str:
    """One word of `ExecStart=`, which must not expand `$`: that is the shell's business."""
    return "'" + _escaped(text).replace("'", "\\'").replace("$", "$$") + "'"


def _escaped(text: str) -> str:
    """systemd.syntax(7): C escapes in quotes of both kinds, and `%` begins a specifier."""
    text = text.replace("\\", "\\\\").replace("%", "%%")
    return CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return {"\n": "\\n", "\t": "\\t"}.get(match[0], f"\\x{ord(match[0]):02x}")
