"""A supervisord configuration: one program for each process, one group for the app.

Where honcho's is wrong (supervisor's own parser): ` ;` and ` #` begin a comment even in quotes, so
`a ; b` lost its end; a quote in a command or in a value broke the line, and bare commas the
environment; values lost quotes at their ends; programs of two apps had one name; SIGQUIT made
dumps of core, and only the shell got it.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from procman.errors import InputError
from procman.export.base import CONTROL, HonchoExport, Process, RenderedFile, carried_by_shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMMENT = re.compile(r"(?<=\s)([;#])")  # supervisor's ConfigParser: inline_comment_prefixes
BARE = re.compile(r"[A-Za-z0-9_/.+:-]+")  # supervisor's datatypes.py: lexer.wordchars

TEMPLATES = {
    "supervisord.conf": """\
{% for p in processes -%}
[program:{{ app }}-{{ p.name|dashrepl }}]
command={{ shell|percentescape }} -c {{ p.cmd|command|percentescape }}
autostart=true
autorestart={{ {'always': 'true', 'never': 'false'}.get(p.restart, 'unexpected') }}
stopsignal={{ p.stop_signal }}
stopwaitsecs={{ p.stop_timeout|round(0, 'ceil')|int }}
stopasgroup=true
killasgroup=true
stdout_logfile={{ log|percentescape }}/{{ p.name|dashrepl }}.log
stderr_logfile={{ log|percentescape }}/{{ p.name|dashrepl }}.error.log
user={{ user }}
directory={{ app_root|path|percentescape }}
environment=
    {%- for key,value in p.env.items() -%}
    {{ key }}={{ value|value|percentescape }}
    {%- if not loop.last %},{% endif %}
    {%- endfor %}

{% endfor -%}
[group:{{ app }}]
programs={% for p in processes -%}
    {{ app }}-{{ p.name|dashrepl }}{% if not loop.last %},{% endif %}
{%- endfor %}
""",
}


class Export:
    """honcho's interface of an exporter."""

    def __init__(self, template_dir: str | None = None) -> None:
        self._export = HonchoExport(
            "supervisord",
            TEMPLATES,
            template_dir=template_dir,
            filters={"command": command, "value": value, "path": path},
            adapt=lambda process: carried_by_shell(process, is_expressible),
        )

    def render(
        self, processes: Sequence[Process], context: dict[str, object]
    ) -> Iterable[RenderedFile]:
        """One file for all processes."""
        return self._export.render(processes, context)


def command(text: str) -> str:
    """A command as one word, in which nothing looks like a comment.

    The word is split as a shell would: `' ''; '` is the same word as `' ; '`, but a quote stands
    before the semicolon, not a blank.
    """
    return COMMENT.sub(r"''\1", shlex.quote(text))


def is_expressible(text: str) -> bool:
    """Whether `environment=` can say this value: it knows quotes, and nothing to escape them."""
    both = "'" in text and '"' in text
    at_an_end = text[:1] in ("'", '"') or text[-1:] in ("'", '"')
    return not (both or at_an_end or CONTROL.search(text) or COMMENT.search(text))


def value(text: str) -> str:
    """An expressible value: bare where both honcho and supervisor have it so, else in quotes."""
    if BARE.fullmatch(text):
        return text
    return f'"{text}"' if "'" in text else f"'{text}'"


def path(text: str) -> str:
    """A directory, which takes no quotes. Raises InputError where it would read as a comment."""
    if COMMENT.search(text):
        raise InputError(f"supervisord cannot express the directory {text!r}")
    return text
