"""upstart configurations: one for the app, one for each type, one for each process.

Where honcho's are wrong: `su - USER -m` is a login, which ignores `-m` and clears the environment
that the file has just set; `exec` before a command of more than one word of shell ran its first
part only; a quote ended the command; and the app stopped when any network interface did.
upstart can be had nowhere any more, so these are held to init(5) of 1.13 and to the shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procman.export.base import CONTROL, HonchoExport, Process, RenderedFile, carried_by_shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TEMPLATES = {
    "master.conf": """\
start on runlevel [2345]
stop on runlevel [!2345]
""",
    "process_master.conf": """\
start on starting {{ app }}
stop on stopping {{ app }}
""",
    "process.conf": """\
start on starting {{ group_name }}
stop on stopping {{ group_name }}
{% if process.restart != 'never' -%}
respawn
{% endif -%}
{% if process.restart == 'on-failure' -%}
normal exit 0
{% endif -%}
kill signal {{ process.stop_signal }}
kill timeout {{ process.stop_timeout|round(0, 'ceil')|int }}

setuid {{ user }}
chdir {{ app_root|shellquote }}

{% for k, v in process.env.items() -%}
env {{ k }}={{ v | shellquote }}
{% endfor %}
exec {{ shell }} -c {{ process.cmd|shellquote }}
""",
}


class Export:
    """honcho's interface of an exporter."""

    def __init__(self, template_dir: str | None = None) -> None:
        self._export = HonchoExport(
            "upstart",
            TEMPLATES,
            template_dir=template_dir,
            adapt=lambda process: carried_by_shell(process, is_expressible),
        )

    def render(
        self, processes: Sequence[Process], context: dict[str, object]
    ) -> Iterable[RenderedFile]:
        """The files of all processes."""
        return self._export.render(processes, context)


def is_expressible(value: str) -> bool:
    """Whether `env` can say this value: it takes backslashes and quotes away by its own rules."""
    return not (CONTROL.search(value) or "\\" in value or "'" in value)
