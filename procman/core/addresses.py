"""Where a dyno can be reached, of all that its processes listen on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Address = tuple[str, int]  # a host to connect to, and a port

# A debugger's socket is no server's: node --inspect, debugpy, Java's. Such a dyno is likely to be
# slow to bind $PORT besides.
DEBUGGERS = frozenset({9229, 5678, 5005})


@dataclass(frozen=True, slots=True)
class Bound:
    """What a socket is bound to. `only_v6`: the wildcard `::` does not take IPv4 as well."""

    host: str
    port: int
    only_v6: bool = False

    @property
    def reached(self) -> Address:
        """Where to connect to. IPv4 where both do: a container often has no `::1`."""
        match self.host:
            case "0.0.0.0" | "::" | "::ffff:0.0.0.0" if not self.only_v6:
                return "127.0.0.1", self.port
            case "::":
                return "::1", self.port
            case _:
                return self.host.removeprefix("::ffff:"), self.port


def address_at(bound: Sequence[Bound], port: int) -> Address | None:
    """Where the port is served, on 127.0.0.1 rather than elsewhere; None when nowhere."""
    there = [one.reached for one in bound if one.port == port]
    return min(there, key=lambda address: address[0] != "127.0.0.1", default=None)


def address_elsewhere(bound: Sequence[Bound]) -> Address | None:
    """What a server listens on that does not heed $PORT: the first socket that may be one."""
    return next((one.reached for one in bound if one.port not in DEBUGGERS), None)
