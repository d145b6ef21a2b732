"""What stands before the web dynos while the app runs: the router, or who watches them asleep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from procman.core.fleet import WEB

if TYPE_CHECKING:
    import socket

    from procman.runtime.blueprint import Blueprint
    from procman.runtime.last_lines import LastLines
    from procman.runtime.loghub import LogHub
    from procman.runtime.supervisor import Supervisor
    from procman.runtime.web import Web


@asynccontextmanager
async def fronted(
    supervisor: Supervisor,
    blueprint: Blueprint,
    hub: LogHub,
    last_lines: LastLines,
    sockets: Sequence[socket.socket],
) -> AsyncIterator[Web | None]:
    """The router, where there is one; it accepts from `sockets`."""
    if blueprint.app.front is None:
        if WEB not in blueprint.app.types:
            yield None
            return
        from procman.runtime.direct import Direct

        direct = Direct(supervisor, supervisor.boots, hub, blueprint.socket)
        supervisor.meet(direct)
        try:
            yield None
        finally:
            direct.close()
        return
    from procman.runtime.web import Web

    web = Web(supervisor, hub, last_lines, blueprint.app.front, sockets)
    await web.router.start()
    hub.say(f"web is at {blueprint.describe(supervisor.fleet.formation)['url']}")
    supervisor.meet(web)
    try:
        yield web
    finally:
        await web.router.close()
