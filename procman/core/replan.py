"""What is to be done when the app's own files say something else than it was started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from procman.core.fleet import ProcessType


@dataclass(frozen=True, slots=True)
class Planned:
    """What a process of each type is, as far as one that runs would have to be another.

    `ports` has the first dyno's of each type that may run, `extra` the variables that a type's
    settings give it.
    """

    types: Mapping[str, ProcessType]
    formation: Mapping[str, int]
    config_vars: Mapping[str, str]
    extra: Mapping[str, Mapping[str, str]]
    ports: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """Which types to restart; which to scale, to what; which of those are no more."""

    restart: tuple[str, ...]
    scale: Mapping[str, int]
    gone: tuple[str, ...]


def compare(old: Planned, new: Planned) -> Difference:
    """From one plan to the next. A quantity that was changed while the app ran stays, unless the
    plan itself has another one than before.
    """
    both = [name for name in new.types if name in old.types]
    gone = tuple(name for name in old.types if name not in new.types)
    scale = {
        name: new.formation.get(name, 0)
        for name in new.types
        if name not in old.types or new.formation.get(name, 0) != old.formation.get(name, 0)
    }
    # Each process is told the config vars, and the ports of all types; of a new type's port those
    # that run may stay ignorant.
    of_all = old.config_vars != new.config_vars or any(
        old.ports.get(n) != new.ports.get(n) for n in both
    )
    restart = tuple(name for name in both if of_all or _is_another(name, old, new))
    return Difference(restart, {**scale, **dict.fromkeys(gone, 0)}, gone)


def _is_another(name: str, old: Planned, new: Planned) -> bool:
    """Rules of restarting, stopping and readiness hold from now on without a new process."""
    commands = old.types[name].command, new.types[name].command
    return commands[0] != commands[1] or old.extra.get(name) != new.extra.get(name)
