"""What a classic buildpack says of itself, and what it may take.

Source: Heroku's "Buildpack API", 2014: `bin/detect BUILD`, `bin/compile BUILD CACHE ENV`,
`bin/release BUILD`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from procman.core.procfile import is_type_name
from procman.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPILE_LIMIT = 15 * 60.0  # seconds, Heroku's
DETECT_LIMIT = 60.0  # seconds; ours: it looks for a file

# What of procman's own environment a buildpack sees. Heroku wipes it; config vars are in ENV_DIR.
KEPT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "TERM", "SSH_AUTH_SOCK"}
    | {name for one in ("http_proxy", "https_proxy", "no_proxy") for name in (one, one.upper())}
)


@dataclass(frozen=True, slots=True)
class Said:
    """What `bin/release` printed."""

    process_types: Mapping[str, str] = field(default_factory=dict)


def environment(inherited: Mapping[str, str], *, stack: str, commit: str | None) -> dict[str, str]:
    """The environment of a buildpack's programs."""
    kept = {k: v for k, v in inherited.items() if k in KEPT or k.startswith("LC_")}
    kept["STACK"] = stack
    if commit is not None:
        kept["SOURCE_VERSION"] = commit
    return kept


def parse_release(text: str, *, path: str) -> Said:
    """Read what `bin/release` prints: YAML, of which `default_process_types` is used.

    The YAML of buildpacks is a flat mapping in another; a whole YAML library for it would be the
    largest dependency of all. Raises InputError, with the line, for what is no such mapping below
    `default_process_types`; everything else is passed over.
    """
    types: dict[str, str] = {}
    inside = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        if not line.strip() or line.lstrip().startswith("#") or line in ("---", "..."):
            continue
        if not line[0].isspace():
            key, _, rest = line.partition(":")
            inside = key == "default_process_types"
            if inside and rest.strip() not in ("", "{}"):
                raise InputError("expected one 'type: command' a line", path=path, line=number)
            continue
        if inside:
            name, colon, command = line.strip().partition(":")
            if not colon or not command.strip():
                raise InputError("expected 'type: command'", path=path, line=number)
            of_type = _scalar(name)
            if not is_type_name(of_type):
                problem = f"expected a name of letters, digits, - and _, got {of_type!r}"
                raise InputError(problem, path=path, line=number)
            types[of_type] = _scalar(command)
    return Said(types)


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return text
