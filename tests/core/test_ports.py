"""Ports: foreman's rule, and no two dynos with the same one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.ports import HIGHEST, dyno_port, parse_base_port
from procman.errors import InputError

FORMATIONS = st.lists(st.integers(0, 1000), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("of_type", "number", "port"),
    [("web", 1, 5000), ("web", 2, 5001), ("worker", 1, 5100), ("clock", 3, 5202)],
)
def test_ports_follow_foremans_rule(of_type: str, number: int, port: int) -> None:
    """base + 100 x index + number - 1."""
    assert dyno_port(5000, ["web", "worker", "clock"], of_type, number) == port


@given(FORMATIONS, st.integers(1, 60_000))
def test_no_two_dynos_of_any_formation_share_a_port(quantities: list[int], base: int) -> None:
    """foreman's 101st dyno of a type has the port of the next type's first."""
    types = [f"t{index}" for index in range(len(quantities))]
    ports = []
    for of_type, quantity in zip(types, quantities, strict=True):
        for number in range(1, quantity + 1):
            try:
                ports.append(dyno_port(base, types, of_type, number))
            except InputError:
                break
    assert len(set(ports)) == len(ports)
    assert all(base <= port <= HIGHEST for port in ports)


def test_a_port_that_cannot_be_is_an_error_that_names_the_dyno() -> None:
    """And says what to do."""
    assert dyno_port(HIGHEST, ["web"], "web", 1) == HIGHEST
    with pytest.raises(InputError, match=r"web\.2 would get port 65536") as caught:
        dyno_port(HIGHEST, ["web"], "web", 2)
    assert "-p" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["1", "80", "5000", "65535", "00080"])
def test_a_base_port_is_read(text: str) -> None:
    """From 1 to 65535."""
    assert parse_base_port(text, "-p") == int(text)


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "-1", "5k", "5000.0", " 5", "\u0665\u0660", "9" * 9999]
)
def test_what_is_no_port_is_an_error_that_names_its_origin(text: str) -> None:
    """PORT in `.env` is found there."""
    with pytest.raises(InputError, match=r"^PORT in \.env: ") as caught:
        parse_base_port(text, "PORT in .env")
    assert len(str(caught.value)) < 100
