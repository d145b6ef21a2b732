"""Makes another plan the running app's: boots are that plan's from then on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from procman.core.fleet import WEB
from procman.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from procman.runtime.blueprint import App, Blueprint
    from procman.runtime.supervisor import Supervisor


def take_over(supervisor: Supervisor, blueprint: Blueprint, app: App) -> None:
    """From now on. Types that the app has no more stay known until `forget`."""
    old = blueprint.app
    leaving = [name for name in old.types if name not in app.types]
    types = {**app.types, **{name: old.types[name] for name in leaving}}

    def port_of(of_type: str, number: int) -> int:
        return (old if of_type in leaving else app).port_of(of_type, number)

    supervisor.fleet.types = types
    supervisor.fleet.behind = _behind(supervisor, old, app)
    supervisor.boots.listen_for(types)
    blueprint.app = replace(app, types=types, port_of=port_of if leaving else app.port_of)


def _behind(supervisor: Supervisor, old: App, app: App) -> dict[str, tuple[str, int]]:
    """The dynos whose port is another's until that one's boot has ended: types that come, go or
    change places have other ports. Who takes over restarts all when a port is another.
    """
    first = {name: _port(app, name, 1) for name in app.types if name in old.types}
    has_moved = any(_port(old, name, 1) != port for name, port in first.items())
    holders = {
        process.port: (process.dyno, process.boot)
        for process in supervisor.boots.by_pid.values()
        if process.port is not None
        and (has_moved or process.dyno.rpartition(".")[0] not in app.types)
    }
    found = {}
    for name in app.types:
        if name == WEB and (app.front is not None or app.shared is not None):
            continue  # each boot has a port of its own, or all have one
        most = max(app.formation.get(name, 0), supervisor.fleet.formation.get(name, 0))
        for number in range(1, most + 1):
            port = _port(app, name, number)
            holder = None if port is None else holders.get(port)
            if holder is not None and holder[0] != f"{name}.{number}":
                found[f"{name}.{number}"] = holder
    return found


def _port(app: App, of_type: str, number: int) -> int | None:
    """None past the last port: it does not run."""
    try:
        return app.port_of(of_type, number)
    except InputError:
        return None


async def forget(supervisor: Supervisor, blueprint: Blueprint, gone: Collection[str]) -> None:
    """Wait for the last dyno of types that are no more, then know them no longer. One that came
    back meanwhile is kept.
    """
    fleet = supervisor.fleet

    def have_ended() -> bool:
        known = [*fleet.dynos.values(), *fleet.beside]
        living = {dyno.type for dyno in known if not fleet.formation.get(dyno.type)}
        return living.isdisjoint(gone)

    await supervisor.until(lambda: have_ended() or fleet.is_ending)
    if not fleet.is_ending:
        over = [name for name in gone if not fleet.formation.get(name)]
        fleet.types = {name: kept for name, kept in fleet.types.items() if name not in over}
        fleet.formation = {name: n for name, n in fleet.formation.items() if name not in over}
        blueprint.app = replace(blueprint.app, types=fleet.types)
