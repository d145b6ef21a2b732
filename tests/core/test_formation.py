"""A formation, a scale and a target mean one thing, or are refused with what was probably meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.formation import (
    MOST,
    format_formation,
    match_targets,
    nearest,
    parse_formation,
    parse_scale,
    unknown_type,
)
from procman.errors import InputError

TYPES = ("web", "worker", "my-job")
CURRENT = {"web": 1, "worker": 2, "my-job": 0}
DYNOS = ["web.1", "web.2", "worker.1", "my-job.1", "my-job.10"]


def refused(call: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.hint
    assert caught.value.exit_code == 1
    return caught.value


@pytest.mark.parametrize(
    ("text", "quantities"),
    [
        ("web=2,worker=3", (2, 3, 1)),
        (" web = 2 ,  worker= 3 ", (2, 3, 1)),
        ("web=2 worker=3", (2, 3, 1)),
        ("web=2,\n,worker=3,", (2, 3, 1)),
        ("", (1, 1, 1)),
        ("worker=0", (1, 0, 1)),
        ("all=2", (2, 2, 2)),
        ("all=0,web=1", (1, 0, 0)),
        ("web=1,all=0", (1, 0, 0)),
        ("my-job=007", (1, 1, 7)),
        ("web=2,web=2", (2, 1, 1)),
        (f"web={MOST}", (MOST, 1, 1)),
    ],
)
def test_a_formation_is_read(text: str, quantities: tuple[int, ...]) -> None:
    formation = parse_formation(text, TYPES)
    assert list(formation.items()) == list(zip(TYPES, quantities, strict=True))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("wroker=2", "unknown process type 'wroker'", "did you mean 'worker'?"),
        ("db=2", "unknown process type 'db'", "there are: web, worker, my-job"),
        ("web=x", "'web=x' is not a quantity", "write web=2"),
        ("web", "'web' is not a quantity", "write web=2"),
        ("wokrer", "'wokrer' is not a quantity", "write worker=2"),
        ("web=", "'web=' is not a quantity", "write web=2"),
        ("web=-1", "'web=-1' is not a quantity", "write web=2"),
        ("web=+1", "'web=+1' is not a quantity", "write web=2"),
        ("web=1.5", "'web=1.5' is not a quantity", "write web=2"),
        ("web:2", "'web:2' is not a quantity", "write web=2"),
        ("web=٣", "is not a quantity", "write web=2"),
        ("=2", "'=2' is not a quantity", "write web=2"),
        ("web=1001", "'web=1001' is more than procman runs", "the most is 1000"),
        ("web=" + "9" * 9999, "is more than procman runs", "the most is 1000"),
        ("web=1,web=2", "'web' has two quantities", "web=1 and web=2"),
    ],
)
def test_a_wrong_formation_is_an_error_with_the_nearest_right_one(
    text: str, message: str, hint: str
) -> None:
    error = refused(lambda: parse_formation(text, TYPES))
    assert message in error.message
    assert hint in (error.hint or "")
    assert len(error.message) < 120


def test_a_type_called_all_gets_what_all_gets() -> None:
    assert parse_formation("all=2,web=1", ["all", "web"]) == {"all": 2, "web": 1}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["worker=3"], {"worker": 3}),
        (["web+1", "worker-1"], {"web": 2, "worker": 1}),
        (["web=+2"], {"web": 3}),
        (["web=-1"], {"web": 0}),
        (["my-job+1"], {"my-job": 1}),
        (["worker-1", "worker-1"], {"worker": 0}),
        (["web=5", "web-1"], {"web": 4}),
        (["all=1"], {"web": 1, "worker": 1, "my-job": 1}),
        (["worker=4", "all=1"], {"web": 1, "worker": 4, "my-job": 1}),
        (["all+1"], {"web": 2, "worker": 3, "my-job": 1}),
        (["all=+1", "web+1"], {"web": 3, "worker": 3, "my-job": 1}),
        (["worker=2,web=1"], {"web": 1, "worker": 2}),
        (["web=1000"], {"web": 1000}),
        ([], {}),
    ],
)
def test_scale_reads_herokus_grammar(args: list[str], expected: dict[str, int]) -> None:
    assert list(parse_scale(args, CURRENT).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["web-2"], "'web-2': web is at 1, it cannot go below 0", "web=0 stops all"),
        (["all-1"], "'all-1': my-job is at 0", "my-job=0"),
        (["web=1001"], "'web=1001' is more", "the most is 1000"),
        (["web=999", "web+2"], "'web+2' is more", "the most is 1000"),
        (["web+" + "9" * 9999], "is more", "the most is 1000"),
        (["wrker-1"], "unknown process type 'wrker'", "did you mean 'worker'?"),
        (["web"], "'web' is not a quantity", "write web=2, web+1 or web-1"),
        (["web=x"], "'web=x' is not a quantity", "write web=2, web+1 or web-1"),
        (["web=2:Standard-2X"], "'web=2:Standard-2X': dynos have no sizes", "write web=2"),
        ([""], "'' is not a quantity", "write web=2"),
        ([","], "',' is not a quantity", "write web=2"),
        (["worker", "=", "3"], "'worker' is not a quantity", "write worker=2"),
    ],
)
def test_a_wrong_scale_is_an_error_that_quotes_the_argument(
    args: list[str], message: str, hint: str
) -> None:
    error = refused(lambda: parse_scale(args, CURRENT))
    assert message in error.message
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["all=2"], {"web": 2, "worker": 2}),
        (["all+1"], {"web": 2, "worker": 1}),
        (["all-0", "release=0"], {"release": 0, "web": 1, "worker": 0}),
    ],
)
def test_all_is_every_type_but_release(args: list[str], expected: dict[str, int]) -> None:
    """Which runs once before a release, and as no dyno."""
    assert parse_scale(args, {"release": 0, "web": 1, "worker": 0}) == expected


@pytest.mark.parametrize("arg", ["release=1", "release+1"])
def test_release_cannot_be_scaled_up(arg: str) -> None:
    """The words are those of start, which leaves it at 0 and says so."""
    error = refused(lambda: parse_scale(["all=2", arg], {"release": 0, "web": 1}))
    message = f"{arg!r}: the release type runs once before a release, never by scale"
    assert (error.message, error.hint) == (message, "`procman deploy` runs it")


def test_nobody_is_told_to_scale_release_up() -> None:
    """Where a dyno of it is looked for."""
    error = refused(lambda: match_targets(["release"], ["web.1"], ["web", "release"]))
    assert error.hint == "the release type runs once before a release, never as a dyno"


def test_one_wrong_argument_spoils_all_and_nothing_has_changed() -> None:
    current = dict(CURRENT)
    refused(lambda: parse_scale(["web=5", "nope=1"], current))
    assert current == CURRENT


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], DYNOS),
        (["web"], ["web.1", "web.2"]),
        (["my-job.1"], ["my-job.1"]),
        (["worker", "web.2"], ["web.2", "worker.1"]),
        (["web", "web.1"], ["web.1", "web.2"]),
        (["w*"], ["web.1", "web.2", "worker.1"]),
        (["*.1"], ["web.1", "worker.1", "my-job.1"]),
        (["w?b"], ["web.1", "web.2"]),
        (["web.[2-9]"], ["web.2"]),
        (["*"], DYNOS),
    ],
)
def test_a_target_is_a_type_a_dyno_or_a_glob(targets: list[str], expected: list[str]) -> None:
    assert match_targets(targets, DYNOS) == expected


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("wroker", "did you mean 'worker'?"),
        ("WEB", "did you mean 'web'?"),
        ("worker.2", "did you mean 'worker.1'?"),
        ("x*", "there are: web, worker, my-job"),
        ("", "there are: web, worker, my-job"),
    ],
)
def test_a_target_that_matches_nothing_is_an_error_with_the_nearest_name(
    target: str, hint: str
) -> None:
    error = refused(lambda: match_targets(["web", target], DYNOS))
    assert error.message == f"no dyno matches {target!r}"
    assert error.hint == hint


def test_a_target_of_an_app_without_dynos_is_an_error_and_no_target_is_none() -> None:
    assert refused(lambda: match_targets(["web"], [])).hint == "there are no dynos"
    assert match_targets([], []) == []
    error = refused(lambda: match_targets(["cron"], DYNOS, ["web", "cron"]))
    assert error.message == "no dyno matches 'cron'"
    assert error.hint == "cron is at 0, `procman scale cron=1` starts one"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wroker", "worker"),
        ("workers", "worker"),
        ("work", "worker"),
        ("WORKER", "worker"),
        ("w", None),
        ("my_job", "my-job"),
        ("database", None),
        ("", None),
        ("worker" * 100_000, None),
    ],
)
def test_the_nearest_name_is_what_was_probably_meant(name: str, expected: str | None) -> None:
    assert nearest(name, TYPES) == expected


def test_an_unknown_type_of_an_app_without_types_has_a_hint_too() -> None:
    assert unknown_type("web", []).hint == "there are none"


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True).filter(
    lambda name: name not in ("all", "release")
)
FORMATIONS = st.dictionaries(NAMES, st.integers(0, MOST), min_size=1)
ARGUMENTS = st.text() | st.from_regex(r"(web|worker|all|w)(=|\+|-|=\+|=-|:)?[0-9x]{0,5}[, ]?")


@given(FORMATIONS)
def test_what_is_printed_can_be_typed_back(formation: dict[str, int]) -> None:
    text = format_formation(formation)
    assert parse_formation(text, list(formation)) == formation
    assert parse_scale(text.split(), dict.fromkeys(formation, 0)) == formation


def outcome(call: Callable[[], dict[str, int]]) -> dict[str, int] | InputError:
    try:
        return call()
    except InputError as error:
        return error


@given(ARGUMENTS)
def test_any_formation_gives_every_type_a_quantity_or_an_error_with_a_hint(text: str) -> None:
    got = outcome(lambda: parse_formation(text, TYPES))
    if isinstance(got, InputError):
        assert got.hint
    else:
        assert list(got) == list(TYPES)
        assert all(0 <= quantity <= MOST for quantity in got.values())


@given(st.lists(ARGUMENTS))
def test_any_scale_gives_quantities_in_bounds_or_an_error_with_a_hint(args: list[str]) -> None:
    got = outcome(lambda: parse_scale(args, CURRENT))
    if isinstance(got, InputError):
        assert got.hint
    else:
        assert got.keys() <= CURRENT.keys()
        assert all(0 <= quantity <= MOST for quantity in got.values())


@given(st.lists(st.text(), min_size=1))
def test_any_target_gives_dynos_in_their_order_or_an_error(targets: list[str]) -> None:
    try:
        got = match_targets(targets, DYNOS)
    except InputError as error:
        got = []
        hint = error.hint
        assert hint
    assert got == [dyno for dyno in DYNOS if dyno in got]
