"""Makes another plan the running app's: boots are that plan's from then on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

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
    supervisor.boots.listen_for(types)
    blueprint.app = replace(app, types=types, port_of=port_of if leaving else app.port_of)


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
