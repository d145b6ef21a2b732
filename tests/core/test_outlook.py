"""What visitors are told while no web dyno is up."""

from __future__ import annotations

from procman.core.codes import Code
from procman.core.dyno import Policy
from procman.core.fleet import Fleet, ProcessType
from procman.core.outlook import outlook
from procman.core.routing import Outage


def told(fleet: Fleet) -> Outage:
    """What there is to tell; fails when somebody will serve soon."""
    outage = outlook(fleet, 0.0, lambda dyno: ())
    assert isinstance(outage, Outage)
    return outage


def test_what_would_start_a_dyno_is_told_where_it_would() -> None:
    """Not while the app is being stopped: nothing boots any more then."""
    fleet = Fleet({"web": ProcessType("web", "web", Policy())})
    assert told(fleet) == Outage(
        Code.H14, status_line="web is scaled to 0", remedy="procman scale web=1"
    )
    fleet.scale({"web": 1}, 0.0)
    fleet.stop(["web.1"], 0.0)
    assert told(fleet).remedy == "procman scale web=1"
    fleet.end(143, 0.0)
    assert told(fleet) == Outage(Code.H14, status_line="the app is being stopped")
