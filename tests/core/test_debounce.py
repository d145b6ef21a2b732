"""When changes are one redeploy: the clock is an argument, so every story is exact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from procman.core.debounce import LONGEST, QUIET, Contents, Debounce, Phase


def deadline(debounce: Debounce) -> float | None:
    """Read anew: the type checker would remember the last value."""
    return debounce.deadline


def phase(debounce: Debounce) -> Phase:
    return debounce.phase


def test_a_save_is_taken_30_ms_after_its_last_event() -> None:
    """Not sooner, and only once."""
    debounce = Debounce()
    assert deadline(debounce) is None
    debounce.changed(["app.py"], 10.0)
    debounce.changed(["app.py"], 10.002)
    assert debounce.deadline == 10.032
    assert debounce.take(10.031) == ()
    assert debounce.take(10.032) == ("app.py",)
    assert debounce.take(99.0) == ()
    assert deadline(debounce) is None


def test_paths_come_in_the_order_of_their_first_change() -> None:
    debounce = Debounce()
    debounce.changed(["b.py", "a.py"], 0.0)
    debounce.changed(["c.py", "b.py"], 0.01)
    assert debounce.take(1.0) == ("b.py", "a.py", "c.py")


def test_a_checkout_of_two_thousand_files_is_one_redeploy() -> None:
    """A stream with gaps below the quiet time ends once, after its last file."""
    debounce = Debounce()
    taken: list[tuple[str, ...]] = []
    for number in range(2000):
        now = number * 0.0004
        taken.append(debounce.take(now))
        debounce.changed([f"{number}.py"], now)
    assert not any(taken)
    assert len(debounce.take(1999 * 0.0004 + QUIET)) == 2000


def test_a_stream_without_end_is_taken_every_second() -> None:
    """At most 1 s after the first change, then from the next one on."""
    debounce = Debounce()
    debounce.changed(["log.txt"], 0.0)
    for step in range(1, 100):
        debounce.changed(["log.txt"], step * 0.01)
    assert debounce.deadline == LONGEST
    assert debounce.take(LONGEST) == ("log.txt",)
    debounce.ended()
    debounce.changed(["log.txt"], 1.01)
    assert debounce.deadline == 1.01 + QUIET


def test_changes_during_a_redeploy_make_one_more() -> None:
    """However many there are, and none before it has ended."""
    debounce = Debounce()
    debounce.changed(["a.py"], 0.0)
    assert debounce.take(0.03) == ("a.py",)
    debounce.changed(["b.py"], 0.04)
    debounce.changed(["c.py"], 0.05)
    assert phase(debounce) is Phase.AGAIN
    assert deadline(debounce) is None
    assert debounce.take(5.0) == ()
    debounce.ended()
    assert deadline(debounce) is not None
    assert debounce.take(5.0) == ("b.py", "c.py")
    debounce.ended()
    assert phase(debounce) is Phase.RESTING


def test_a_redeploy_for_another_reason_holds_back_what_waits() -> None:
    """`procman restart`, a deploy: the save that came with it is one more, after it."""
    debounce = Debounce()
    debounce.began()
    debounce.began()
    assert phase(debounce) is Phase.REDEPLOYING
    debounce.ended()
    debounce.changed(["a.py"], 0.0)
    debounce.began()
    assert debounce.take(9.0) == ()
    debounce.ended()
    assert debounce.take(9.0) == ("a.py",)


def test_no_path_is_no_change_and_ended_may_be_said_twice() -> None:
    debounce = Debounce()
    debounce.changed([], 0.0)
    debounce.ended()
    debounce.changed(["a.py"], 1.0)
    debounce.ended()
    assert debounce.take(2.0) == ("a.py",)


@given(st.lists(st.tuples(st.sampled_from(["change", "take", "ended"]), st.floats(0, 2))))
def test_no_change_is_ever_lost(steps: list[tuple[str, float]]) -> None:
    """Whatever comes in whatever order, all that changed is taken, and never before its time."""
    debounce, now = Debounce(), 0.0
    changed: set[str] = set()
    taken: list[str] = []
    for number, (step, gap) in enumerate(steps):
        now += gap
        match step:
            case "change":
                changed.add(str(number))
                debounce.changed([str(number)], now)
            case "take":
                early = debounce.deadline is None or now < debounce.deadline
                paths = debounce.take(now)
                assert not (early and paths)
                taken += paths
            case _:
                debounce.ended()
    for _ in range(2):
        debounce.ended()
        taken += debounce.take(now + LONGEST)
    assert sorted(taken) == sorted(changed)


def test_unchanged_content_is_no_change() -> None:
    """A touch, a save without an edit, a checkout back and forth."""
    contents = Contents()
    contents.learn({"app.py": b"1", "lib.py": b"2"})
    assert contents.changed({"app.py": b"1"}) == ()
    assert contents.changed({"app.py": b"3", "lib.py": b"2"}) == ("app.py",)
    assert contents.changed({"app.py": b"3"}) == ()


def test_a_file_that_came_and_went_is_no_change() -> None:
    """What an editor writes beside a file before it renames."""
    contents = Contents()
    contents.learn({})
    assert contents.changed({"sedKx3": None}) == ()
    assert contents.changed({"new.py": b"1"}) == ("new.py",)
    assert contents.changed({"new.py": None}) == ("new.py",)
    assert contents.changed({"new.py": None}) == ()


def test_a_directory_that_went_is_all_that_was_in_it() -> None:
    contents = Contents()
    contents.learn({"lib/a.py": b"1", "lib/b/c.py": b"2", "library.py": b"3"})
    assert contents.changed({"lib/": None}) == ("lib/a.py", "lib/b/c.py")
    assert contents.changed({"lib/": None}) == ()
    assert contents.known == {"library.py": b"3"}


def test_before_anything_is_learnt_every_change_counts() -> None:
    """A save in the first moment is not lost; and learning does not undo it."""
    contents = Contents()
    assert contents.changed({"app.py": b"new", "old.py": None}) == ("app.py", "old.py")
    contents.learn({"app.py": b"as it was", "lib.py": b"1", "old.py": b"as it was"})
    assert contents.changed({"app.py": b"new"}) == ()
    assert contents.changed({"lib.py": b"1"}) == ()
    assert contents.changed({"old.py": None}) == ()


def test_who_is_known_to_be_still_at_it_is_waited_for() -> None:
    """However long that lasts: git's checkout."""
    debounce = Debounce()
    debounce.changed(["a"], 0.0)
    for at in range(1, 5):
        debounce.hold(float(at))
        assert debounce.take(float(at)) == ()
    assert debounce.take(4.0 + QUIET) == ("a",)


def test_what_may_be_a_change_puts_off_no_longer_than_a_stream_of_changes() -> None:
    """An app that writes without a pause into what is ignored starves nobody."""
    debounce = Debounce()
    debounce.changed(["a"], 0.0)
    debounce.stir(LONGEST - QUIET / 2)
    assert debounce.take(LONGEST - QUIET / 4) == ()
    assert debounce.take(LONGEST) == ("a",)
