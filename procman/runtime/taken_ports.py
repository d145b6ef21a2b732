"""The ports that an app needs, before anything of it is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from procman.core.fleet import WEB

if TYPE_CHECKING:
    import socket

    from procman.runtime.blueprint import App


@contextmanager
def taken_ports(app: App) -> Iterator[Sequence[socket.socket]]:
    """What the router listens on, before a dyno can: one that does not heed $PORT may want it.

    Only the router and web dynos are sure to listen; a worker's taken port may not matter.
    """
    if not app.formation.get(WEB) and app.front is None:
        yield ()
        return
    from procman.runtime.bind import close_all, listen, require_free_port

    if app.front is not None:
        sockets = listen(app.front.host, app.front.port, "the router")
        try:
            yield sockets
        finally:
            close_all(sockets)
        return
    if app.shared is not None:
        require_free_port(app.shared.host, app.shared.port, "the web dynos")
    else:
        for number in range(1, app.formation[WEB] + 1):
            require_free_port("127.0.0.1", app.port_of(WEB, number), f"{WEB}.{number}")
    yield ()
