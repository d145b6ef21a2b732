"""Where a dyno is reached, by tables."""

from __future__ import annotations

import pytest

from procman.core.addresses import Bound, address_at, address_elsewhere


@pytest.mark.parametrize(
    ("host", "only_v6", "reached"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("::", False, "127.0.0.1"),
        ("::", True, "::1"),
        ("::1", False, "::1"),
        ("::1", True, "::1"),
        ("::ffff:127.0.0.1", False, "127.0.0.1"),
        ("192.0.2.7", False, "192.0.2.7"),
    ],
)
def test_what_is_bound_is_reached(host: str, only_v6: bool, reached: str) -> None:
    """All addresses are reached by the nearest, the others by themselves."""
    assert Bound(host, 80, only_v6).reached == (reached, 80)


def test_the_port_is_served_by_ipv4_where_there_are_both() -> None:
    """A container often has no `::1`."""
    both = [Bound("::1", 5000), Bound("127.0.0.1", 5000)]
    assert address_at(both, 5000) == ("127.0.0.1", 5000)
    assert address_at(both, 5001) is None


def test_a_debugger_is_no_server() -> None:
    """`node --inspect` listens long before the app does."""
    inspector, metrics = Bound("127.0.0.1", 9229), Bound("0.0.0.0", 9090)
    assert address_elsewhere([inspector]) is None
    assert address_elsewhere([inspector, metrics]) == ("127.0.0.1", 9090)
