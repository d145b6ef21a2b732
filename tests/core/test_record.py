"""A record is a dataclass with slots in all that a program can see of it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import asdict, fields

import pytest

from procman.core import record


@record.dataclass(frozen=True, slots=True)
class Point:
    """Two numbers, and a word that may be left out."""

    x: int
    y: int = 2
    word: str = "w"

    def sum(self) -> int:
        """Of the numbers."""
        return self.x + self.y


@record.dataclass(frozen=True, slots=True)
class Deep(Point):
    """One more, after those of its base."""

    z: int = 3


class Bare(Point):
    """No field more."""

    __slots__ = ()


@record.dataclass(slots=True)
class Basket:
    """May change."""

    name: str
    content: list[int] = record.field(default_factory=list)


@record.dataclass(slots=True, eq=False)
class Alone:
    """Equal to itself only."""

    name: str


def test_it_is_made_by_place_and_by_name() -> None:
    """Defaults are filled in."""
    assert (Point(1).x, Point(1).y, Point(1, word="v").word) == (1, 2, "v")
    assert Deep(1, 2, "w", 4).z == 4
    assert Deep(1).sum() == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "missing 1 required positional argument: 'x'"), ((1, 2, 3, 4), "takes from 2 to 4")],
)
def test_a_wrong_call_is_told_as_python_tells_it(arguments: tuple[int, ...], said: str) -> None:
    """Which argument is missing, or how many there may be."""
    with pytest.raises(TypeError, match=said):
        Point(*arguments)  # type: ignore[arg-type]  # what must not be


def test_it_equals_its_like_with_the_same_fields() -> None:
    """A subclass is not its like."""
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(2)
    assert Point(1) != Bare(1)
    assert Bare(1) == Bare(1)
    nothing_like_it: object = (1, 2, "w")
    assert Point(1) != nothing_like_it
    assert Basket("a") == Basket("a", [])
    assert Alone("a") != Alone("a")


def test_it_can_be_a_key_when_it_cannot_change() -> None:
    """Or when it equals itself only."""
    assert len({Point(1), Point(1), Bare(1), Deep(1)}) == 3
    assert len({Alone("a"), Alone("a")}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Basket("a"))


def test_what_is_frozen_cannot_be_changed() -> None:
    """Nor can what derives from it."""
    for point in (Point(1), Deep(1), Bare(1)):
        with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
            point.x = 5  # type: ignore[misc]  # what must not be
        with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
            del point.x
        assert point.x == 1


def test_there_is_room_for_its_fields_only() -> None:
    """And each has a list of its own."""
    basket = Basket("a")
    basket.content.append(1)
    assert Basket("b").content == []
    with pytest.raises(AttributeError):
        basket.other = 1  # type: ignore[attr-defined]  # what must not be
    assert not hasattr(Deep(1), "__dict__")


def test_it_is_shown_with_its_fields() -> None:
    """As it could be made."""
    assert repr(Deep(1)) == "Deep(x=1, y=2, word='w', z=3)"
    assert repr(Bare(1)) == "Bare(x=1, y=2, word='w')"


def test_the_standard_library_takes_it_for_a_dataclass() -> None:
    """`replace`, `fields`, `asdict`."""
    assert dataclasses.is_dataclass(Point)
    assert record.replace(Deep(1), y=9) == Deep(1, 9)
    assert [f.name for f in fields(Deep)] == ["x", "y", "word", "z"]
    assert asdict(Basket("a", [1])) == {"name": "a", "content": [1]}


def test_it_is_matched_by_place() -> None:
    """Base's fields first."""
    match Deep(1, 2, "w", 4):
        case Deep(x, y, _, z):
            assert (x, y, z) == (1, 2, 4)


@pytest.mark.parametrize("thing", [Point(1), Deep(1, z=7), Bare(2), Basket("a", [1])])
def test_it_can_be_copied_and_stored(thing: object) -> None:
    """Frozen or not."""
    assert copy.copy(thing) == thing
    assert copy.deepcopy(thing) == thing
    assert pickle.loads(pickle.dumps(thing)) == thing


def test_it_has_slots_or_is_none() -> None:
    """The others are the standard library's."""
    with pytest.raises(TypeError):
        record.dataclass(slots=False)
