"""The ledger's rules: versions count up, what is written stays, what is torn does not count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.release import (
    Record,
    Release,
    Settled,
    Status,
    current,
    decode,
    draft,
    encode,
    find,
    fold,
    kept_slugs,
    rollback,
    rollback_target,
    unsettled,
)
from procman.core.release_list import LONGEST, table
from procman.errors import InputError, ProcmanError

AT = "2026-11-23T12:00:01.000000Z"
SECRET = "hunter2"


def slug(n: int) -> str:
    return f"{n:064x}"


def released(n: int, status: Status = Status.SUCCEEDED, **changes: object) -> Release:
    made = Release(n, slug(n), {"web": f"run {n}"}, f"Deploy {n}", AT, status, None, {"N": str(n)})
    return replace(made, **changes)  # type: ignore[arg-type]  # each test changes other fields


def test_versions_count_up_from_one() -> None:
    """v1, v2, whatever became of the one before."""
    first = draft((), slug=None, config_vars={}, process_types={}, description="", at=AT)
    assert first.name == "v1"
    assert first.status is Status.PENDING
    second = draft(
        (released(1, Status.FAILED),),
        slug=slug(1),
        config_vars={"A": "1"},
        process_types={"web": "x"},
        description="Deploy",
        at=AT,
    )
    assert second.name == "v2"


def test_a_rollback_is_a_new_release_of_an_old_slug_and_its_config_vars() -> None:
    """The old one is not brought back: the ledger only grows."""
    made = rollback([released(1), released(2), released(3)], "v1", at="later")
    assert made == Release(
        4,
        slug(1),
        {"web": "run 1"},
        "Rollback to v1",
        "later",
        Status.PENDING,
        None,
        {"N": "1"},
    )


def test_a_rollback_without_a_name_goes_to_the_last_but_one_that_succeeded() -> None:
    """Failed and pending ones are passed over, as Heroku does."""
    releases = [released(1), released(2, Status.FAILED), released(3), released(4, Status.PENDING)]
    assert rollback_target(releases, None).version == 1


@pytest.mark.parametrize(
    ("releases", "name", "complaint"),
    [
        ([], None, "no release to roll back to"),
        ([released(1)], None, "no release to roll back to"),
        ([released(1), released(2)], "v2", "v2 is the current release"),
        ([released(1), released(2)], "v3", "there is no release v3"),
        ([released(1), released(2)], "latest", "there is no release latest"),
        ([], "v1", "there is no release v1"),
        ([released(1, Status.FAILED), released(2)], "v1", "v1 never went live: it is failed"),
        ([released(1, slug=None), released(2)], "1", "v1 has no slug"),
    ],
)
def test_what_cannot_be_rolled_back_to_is_told(
    releases: list[Release], name: str | None, complaint: str
) -> None:
    """With the reason."""
    with pytest.raises(ProcmanError, match=complaint):
        rollback_target(releases, name)


def test_the_current_release_is_the_last_that_succeeded() -> None:
    """A failed deploy leaves the old one live."""
    assert current([]) is None
    live = current([released(1), released(2), released(3, Status.FAILED)])
    assert live is not None
    assert live.version == 2
    assert find([released(1), released(2)], "v2").version == 2


def test_slugs_of_the_last_live_releases_and_of_the_pending_are_kept() -> None:
    """They are what can be rolled back to, and what is being deployed."""
    releases = [
        released(1),
        released(2),
        released(3, Status.FAILED),
        released(4),
        released(5, slug=None),
        released(6, Status.PENDING),
    ]
    assert kept_slugs(releases, 3) == {slug(2), slug(4), slug(6)}
    assert kept_slugs([released(1)], 0) == {slug(1)}
    assert [one.version for one in unsettled(releases)] == [6]


def test_config_vars_are_in_no_repr() -> None:
    """A traceback or a log line must not tell a password."""
    assert SECRET not in repr(released(1, config_vars={"PASSWORD": SECRET}))


def test_a_release_is_settled_once() -> None:
    """And not before it began."""
    pending = released(1, Status.PENDING)
    settled = Settled(1, Status.FAILED, AT, "the release phase exited with status 1")
    (release,) = fold([pending, settled])
    assert (release.status, release.reason) == (Status.FAILED, settled.reason)
    with pytest.raises(ValueError, match="v1 is settled twice"):
        fold([pending, settled, settled])
    with pytest.raises(ValueError, match="v1 is settled before it began"):
        fold([settled])
    with pytest.raises(ValueError, match="expected v1, found v2"):
        fold([released(2)])


no_nul = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
texts = st.dictionaries(st.text(no_nul, max_size=5), st.text(no_nul, max_size=20), max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """What a ledger can hold."""
    records: list[Record] = []
    for version in range(1, draw(st.integers(0, 5)) + 1):
        digest = draw(st.none() | st.just(slug(version)))
        records.append(
            Release(version, digest, draw(texts), draw(st.text()), AT, config_vars=draw(texts))
        )
        if draw(st.booleans()):
            status = draw(st.sampled_from([Status.SUCCEEDED, Status.FAILED]))
            records.append(Settled(version, status, AT, draw(st.none() | st.text())))
    return records


@given(histories())
def test_records_are_read_back_as_they_were_written(records: list[Record]) -> None:
    """Whatever text is in them, newlines included."""
    data = b"".join(encode(record) for record in records)
    assert decode(data, path="x") == (records, len(data))
    fold(records)


@given(histories(), st.data())
def test_a_ledger_cut_anywhere_holds_the_records_before_the_cut(
    records: list[Record], data: st.DataObject
) -> None:
    """A writer that is killed in the middle of a line has written nothing."""
    lines = [encode(record) for record in records]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    found, good = decode(whole[:cut], path="x")
    assert found == records[: len(found)]
    assert good == sum(map(len, lines[: len(found)]))
    assert cut - good < (len(lines[len(found)]) if len(found) < len(lines) else 1)
    fold(found)


@pytest.mark.parametrize("tail", [b"{", b"\0\0\0\0", b'{"release": 1}', b"\0\0\n"])
def test_garbage_at_the_end_is_a_torn_line(tail: bytes) -> None:
    """A power failure can leave a block of zeros."""
    line = encode(released(1))
    records, good = decode(line + tail, path="x")
    assert (len(records), good) == (1, len(line))


def test_a_record_of_a_later_procman_is_no_torn_line() -> None:
    """Cutting it off would lose it."""
    with pytest.raises(InputError, match=r"^x:2: "):
        decode(encode(released(1)) + b'{"archived": 1}\n', path="x")


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"not json",
        b"[1]",
        b'{"release": "1"}',
        b'{"settled": 1, "status": "pending", "at": "x"}',
        b'{"settled": 1, "status": "failed"}',
        encode(released(1)).strip().replace(slug(1).encode(), b"../../x"),
        encode(released(1)).strip().replace(b'"N": "1"', b'"N": 1'),
        encode(released(1, process_types={"web": "a\0b"})).strip(),
        encode(released(1, process_types={"web": "\ud800"})).strip(),
        encode(released(1, config_vars={"N": "\0"})).strip(),
        encode(released(1, config_vars={"\0": "1"})).strip(),
        encode(released(1, description="\ud800")).strip(),
        encode(Settled(1, Status.FAILED, AT, "\ud800")).strip(),
    ],
)
def test_garbage_in_the_middle_is_an_error_that_names_the_line_and_tells_no_secret(
    line: bytes,
) -> None:
    """A ledger that somebody edited is not guessed at."""
    secret = encode(released(1, config_vars={"PASSWORD": SECRET}))
    with pytest.raises(InputError, match=r"^releases:2: ") as error:
        decode(secret + line + b"\n" + encode(released(2)), path="releases")
    assert SECRET not in str(error.value)


def test_bytes_that_are_no_utf8_are_read_back_from_the_ledger() -> None:
    """A config var or a message may be of any, which surrogateescape stands for."""
    release = released(
        1, Status.PENDING, description="caf\udce9", config_vars={"NAME": "caf\udce9"}
    )
    assert decode(encode(release), path="x")[0] == [release]


def test_a_release_is_one_line_whatever_is_said_of_it() -> None:
    """A message may be long, of several lines, or hold a terminal's escapes."""
    release = released(1, description="two\nlines \x1b[31m" + "x" * 3000)
    [_, line] = table("shop", [release], None)
    assert line.isprintable()
    assert line.startswith(r"v1  two\nlines \x1b[31mxxx")
    assert len(line) < 200


@pytest.mark.parametrize(
    ("message", "reason", "expected"),
    [
        ("short", "web.1 did not come up", "short (failed: web.1 did not come up)"),
        ("short", None, "short (failed)"),
        ("m" * 3000, None, f"{'m' * 108}... (failed)"),
        ("m" * 3000, "not up", f"{'m' * 100}... (failed: not up)"),
        ("short", "r" * 3000, f"short (failed: {'r' * 101}...)"),
        ("m" * 3000, "r" * 3000, f"{'m' * 56}... (failed: {'r' * 47}...)"),
        ("two\nlines", "so\nit is", r"two\nlines (failed: so\nit is)"),
    ],
)
def test_that_a_release_failed_is_seen_however_long_its_message_is(
    message: str, reason: str | None, expected: str
) -> None:
    """The message is shortened, and the reason as well, but never the mark."""
    release = released(1, Status.FAILED, description=message, reason=reason)
    [_, line] = table("shop", [release], None)
    assert line.split("  ") == ["v1", expected, "2026/11/23 12:00:01 +0000"]
    assert len(expected) <= LONGEST


def test_that_a_release_is_pending_is_seen_however_long_its_message_is() -> None:
    """It is not live yet."""
    [_, line] = table("shop", [released(1, Status.PENDING, description="m" * 3000)], None)
    assert f"{'m' * 10}... (pending)" in line
