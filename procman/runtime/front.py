"""What stands between the web dynos and who asks for them, as the supervisor sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # its classes cost the start-up 2 ms, where there is no router
    from procman.core.routing import Stats
    from procman.runtime.process import Process


class Front(Protocol):
    """The router, or who watches web dynos that need none."""

    def up(self, process: Process) -> None:
        """A boot is ready to be leased."""

    def drain(self, dyno: str, boot: int) -> None:
        """Lease it to nobody any more, and report Drained."""

    def gone(self, dyno: str, boot: int) -> None:
        """A boot has ended."""

    def changed(self) -> None:
        """Something about the fleet has changed."""

    def keeps_awake(self, process: Process, *, lately: bool) -> str | None:
        """Why a boot may not sleep now, as far as the fleet does not know; with `lately`, also for
        what was since this was asked last. None: it may.
        """

    def asleep(self, process: Process) -> None:
        """A boot has been frozen: who asks for it from now on must wake it."""

    def awake(self, process: Process) -> None:
        """A boot that was frozen runs, or is to end."""

    def stats(self) -> Mapping[str, Stats]:
        """Requests by dyno, where they are counted."""
