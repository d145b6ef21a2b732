"""From process types to the processes that an exporter writes down, each with its variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from procman.core.environment import COOKIE, dyno_environment
from procman.core.ports import dyno_port
from procman.errors import InputError
from procman.export.base import STOP_TIMEOUT, VARIABLE_NAME, Process

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ExportType:
    """A process type with what its settings say; the defaults are honcho's."""

    command: str
    env: Mapping[str, str] = field(default_factory=dict)
    restart: str = "always"
    stop_signal: str = "TERM"
    stop_timeout: float = STOP_TIMEOUT


def expand(
    types: Mapping[str, ExportType],
    formation: Mapping[str, int],
    config_vars: Mapping[str, str],
    base_port: int,
) -> list[Process]:
    """All processes of a formation. Ports go by the index over the whole Procfile: foreman's rule.

    Raises InputError for a config var that no shell could name, and for a port past 65535.
    """
    names = list(types)
    running = [name for name in names if formation[name]]
    first_ports = {name: dyno_port(base_port, names, name, 1) for name in running}
    processes = []
    for name in running:
        of_type = types[name]
        for number in range(1, formation[name] + 1):
            dyno = f"{name}.{number}"
            env = dyno_environment(
                config_vars,
                dyno=dyno,
                cookie="",
                port=dyno_port(base_port, names, name, number),
                type_ports=first_ports,
                extra=of_type.env,
            )
            del env[COOKIE]  # says whose a process is while procman runs it, and only then
            _require_names(env)
            processes.append(
                Process(
                    dyno,
                    of_type.command,
                    env,
                    restart=of_type.restart,
                    stop_signal=of_type.stop_signal,
                    stop_timeout=of_type.stop_timeout,
                )
            )
    return processes


def _require_names(env: Mapping[str, str]) -> None:
    for name in env:
        if not VARIABLE_NAME.fullmatch(name):
            raise InputError(
                f"the config var {name!r} cannot be exported",
                hint="letters, digits and '_', with no digit first",
            )
