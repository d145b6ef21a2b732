"""From what an app was started as to what its files say now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from procman.core.fleet import ProcessType
from procman.core.replan import Difference, Planned, compare

OLD = Planned(
    types={name: ProcessType(name, f"run {name}") for name in ("web", "worker")},
    formation={"web": 1, "worker": 2},
    config_vars={"A": "1"},
    extra={"web": {"B": "1"}},
    ports={"web": 5000, "worker": 5100},
)
CLOCK = {"clock": ProcessType("clock", "tick")}
ALL = ("web", "worker")


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        (OLD, Difference((), {}, ())),
        (replace(OLD, config_vars={"A": "2"}), Difference(ALL, {}, ())),
        (replace(OLD, extra={}), Difference(("web",), {}, ())),
        (replace(OLD, ports={"web": 5000, "worker": 5200}), Difference(ALL, {}, ())),
        (replace(OLD, ports={"web": 5000}), Difference(ALL, {}, ())),
        (replace(OLD, formation={"web": 1, "worker": 0}), Difference((), {"worker": 0}, ())),
        (
            replace(OLD, types={**OLD.types, "web": ProcessType("web", "serve")}),
            Difference(("web",), {}, ()),
        ),
        (
            replace(
                OLD,
                types={**OLD.types, **CLOCK},
                formation={**OLD.formation, "clock": 1},
                ports={**OLD.ports, "clock": 5200},
            ),
            Difference((), {"clock": 1}, ()),
        ),
        (
            replace(OLD, types={"web": OLD.types["web"]}, formation={"web": 1}),
            Difference((), {"worker": 0}, ("worker",)),
        ),
    ],
)
def test_what_differs_is_restarted_scaled_or_let_go(new: Planned, wanted: Difference) -> None:
    """And nothing else: what was scaled by hand meanwhile stays as it is."""
    assert compare(OLD, new) == wanted


def test_rules_that_need_no_new_process_restart_nothing() -> None:
    """What a type comes after, say."""
    types = {**OLD.types, "web": replace(OLD.types["web"], after=("worker",))}
    assert compare(OLD, replace(OLD, types=types)) == Difference((), {}, ())
