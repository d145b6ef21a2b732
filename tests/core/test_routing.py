"""Who is leased, who is passed over, and who waits, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.routing import (
    LONGEST_QUARANTINE,
    MOST_PARKED,
    PATIENCE,
    Backend,
    Entry,
    Parking,
    Stats,
    Table,
)


def table(number: int) -> tuple[Table, list[Entry]]:
    made = Table()
    return made, [
        made.add(Backend(f"web.{n}", 1, "127.0.0.1", 5000 + n)) for n in range(1, number + 1)
    ]


def leased(made: Table, now: float = 0.0) -> Entry:
    entry = made.lease(now)
    assert entry is not None
    return entry


def test_the_dyno_with_the_fewest_leases_is_next_and_equals_take_turns() -> None:
    made, (one, two, three) = table(3)
    assert [leased(made) for _ in range(6)] == [one, two, three, one, two, three]
    made.end(two, None)
    made.end(two, None)
    assert [leased(made) for _ in range(3)] == [two, two, one]


def test_equals_take_turns_also_when_each_lease_ends_before_the_next() -> None:
    made, entries = table(3)
    order = []
    for _ in range(6):
        entry = leased(made)
        order.append(entry)
        made.end(entry, 0.0)
    assert order == entries * 2


def test_a_table_without_dynos_leases_none() -> None:
    assert Table().lease(0.0) is None
    assert Table().released_at() is None


def test_a_dyno_that_refused_is_passed_over_longer_each_time_and_never_for_ever() -> None:
    made, (one, two) = table(2)
    spans = []
    for _ in range(12):
        made.refused(one, 100.0)
        spans.append(one.quarantined - 100.0)
    assert spans == sorted(spans)
    assert spans[-1] == LONGEST_QUARANTINE
    assert [leased(made, 100.0) for _ in range(3)] == [two, two, two]
    assert made.released_at() == 0.0
    assert leased(made, 100.0 + LONGEST_QUARANTINE) is one
    made.accepted(one)
    made.refused(one, 200.0)
    assert one.quarantined - 200.0 == pytest.approx(spans[0])


def test_when_all_refused_nobody_is_leased_before_the_first_is_released() -> None:
    made, (one, two) = table(2)
    made.refused(one, 0.0)
    made.refused(two, 0.0)
    made.refused(two, 0.0)
    assert made.lease(0.0) is None
    assert made.released_at() == one.quarantined
    assert leased(made, one.quarantined) is one


def test_one_to_be_avoided_is_leased_only_when_no_other_serves() -> None:
    made, (one, two) = table(2)
    two.leases = 10
    assert made.lease(0.0, (one,)) is two
    assert made.can_avoid((one,), 0.0)
    made.remove("web.2", 1)
    assert made.lease(0.0, (one,)) is one
    assert not made.can_avoid((one,), 0.0)


def test_a_draining_dyno_is_leased_no_more_and_drained_with_its_last_lease() -> None:
    made, (one, two) = table(2)
    first, second = leased(made), leased(made)
    assert (first, second) == (one, two)
    assert not made.drain("web.1", 1)
    assert leased(made) is two
    assert made.end(one, 0.0)
    assert not made.end(two, 0.0)
    assert not made.drain("web.2", 1)
    assert made.end(two, 0.0)
    assert made.drain("web.3", 1)


def test_a_dyno_that_is_gone_is_not_reported_as_drained() -> None:
    made, (one,) = table(1)
    leased(made)
    made.drain("web.1", 1)
    assert made.remove("web.1", 1) is one
    assert not made.end(one, 0.0)
    assert made.in_flight == 0
    assert made.remove("web.1", 1) is None


def test_the_rate_is_that_of_the_last_seconds() -> None:
    made, (one,) = table(1)
    for tenths in range(200):
        leased(made)
        made.end(one, tenths / 10)
    leased(made)
    assert one.stats(20.0) == Stats(1, 200, 10.0)
    assert one.stats(40.0) == Stats(1, 200, 0.0)


@given(st.lists(st.sampled_from(["lease", "end", "drain", "remove", "refuse"]), max_size=60))
def test_leases_are_counted_whatever_happens(events: list[str]) -> None:
    """The sum of all leases is what is in flight, and nobody drains twice."""
    made, entries = table(3)
    held: list[Entry] = []
    drained: list[Entry] = []
    for now, event in enumerate(events):
        entry = entries[now % 3]
        match event:
            case "lease":
                got = made.lease(float(now))
                held += [got] if got is not None else []
            case "end" if held:
                over = held.pop(0)
                drained += [over] if made.end(over, float(now)) else []
            case "drain":
                made.drain(entry.backend.dyno, 1)
            case "remove":
                made.remove(entry.backend.dyno, 1)
            case "refuse":
                made.refused(entry, float(now))
            case _:
                pass
        assert made.in_flight == len(held) == sum(one.leases for one in entries)
    assert len(drained) == len(set(drained))


def test_parked_requests_come_out_in_order_and_one_that_was_out_gets_its_place_back() -> None:
    a, b, c, d = items = [object() for _ in range(4)]
    parking: Parking[object] = Parking()
    for arrived, item in enumerate(items):
        assert parking.park(item, float(arrived))
    assert parking.take() is a
    assert parking.take() is b
    parking.park(b, 1.0)
    parking.park(a, 0.0)
    parking.forget(c)
    parking.forget(object())
    assert parking.first() is a
    assert parking.take_all() == [a, b, d]
    assert parking.first() is None
    assert len(parking) == 0


def test_patience_ends_in_the_order_of_arrival() -> None:
    parking: Parking[str] = Parking()
    assert parking.deadline() is None
    parking.park("a", 0.0)
    parking.park("b", 10.0)
    assert parking.deadline() == PATIENCE
    assert parking.expired(PATIENCE - 0.1) == []
    assert parking.expired(PATIENCE) == ["a"]
    assert parking.deadline() == PATIENCE + 10.0


def test_the_parking_is_bounded() -> None:
    parking: Parking[int] = Parking()
    assert all(parking.park(number, 0.0) for number in range(MOST_PARKED))
    assert not parking.park(-1, 0.0)


def test_a_backend_is_a_fact() -> None:
    with pytest.raises(AttributeError):
        Backend("web.1", 1, "127.0.0.1", 5001).port = 1  # type: ignore[misc]  # that is the point


def test_a_drain_waits_for_no_lease_without_an_end() -> None:
    """For the others it does, whichever ends first, and it is told once."""
    table = Table()
    entry = table.add(Backend("web.1", 1, "127.0.0.1", 5000))
    for _ in range(3):
        table.lease(0.0)
    assert not table.became_endless(entry)
    assert not table.drain("web.1", 1)
    assert not table.end(entry, 1.0)
    assert table.became_endless(entry)
    assert not table.end(entry, 2.0, endless=True)
    assert not table.end(entry, 3.0, endless=True)
    assert table.in_flight == 0


def test_one_with_endless_leases_alone_is_drained_at_once() -> None:
    """A page that was left open."""
    table = Table()
    entry = table.add(Backend("web.1", 1, "127.0.0.1", 5000))
    table.lease(0.0)
    table.became_endless(entry)
    assert table.drain("web.1", 1)
