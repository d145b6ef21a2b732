"""Who writes what is watched: stories of boots and changes."""

from __future__ import annotations

import pytest

from procman.core.self_writing import FIRST_WAIT, LONGEST_WAIT, SelfWriting


class Story:
    """An app that is restarted whenever it may be; `starts` are its times."""

    def __init__(self) -> None:
        self.rules = SelfWriting()
        self.now = 0.0
        self.starts: list[float] = []
        self.messages: list[str] = []
        self.own: set[str] = set()

    def start(self, boot_time: float = 0.1) -> None:
        self.rules.spawned(self.now)
        self.starts.append(self.now)
        self.ready_at = self.now + boot_time

    def change(self, path: str, after: float, writers: dict[str, str] | None = None) -> bool:
        """The path changes so long after now, in the boot or after it; whether that restarts."""
        self.now += after
        if self.now >= self.ready_at:
            self.rules.came_up()
        self.rules.seen([path])
        self.now += 0.03
        verdict = self.rules.judge([path], self.now, writers or {}, self.own)
        self.messages += [notice.message for notice in verdict.notices]
        return verdict.go == (path,)

    def let_go(self) -> tuple[str, ...]:
        """Time passes until what is put off is due."""
        assert self.rules.deadline is not None
        self.now = self.rules.deadline
        self.rules.came_up()
        return self.rules.take(self.now)


@pytest.mark.parametrize(
    ("path", "boots"), [("stamp.txt", 3), ("data.json", 3), ("state", 3), ("version.py", 8)]
)
def test_a_file_written_at_every_boot_stops_the_loop(path: str, boots: int) -> None:
    """What people do not write by hand after three boots, other files after eight; it is told
    once, with the cure."""
    story = Story()
    story.start()
    restarts = 0
    while story.change(path, after=0.05):
        restarts += 1
        story.start()
    assert restarts == boots - 1
    [message] = story.messages
    assert path in message
    assert ".gitignore" in message


def test_a_loop_that_goes_on_gets_slower_and_slower() -> None:
    """Left alone for 5, 10, 20 … seconds, at most ten minutes: seldom, but never dropped."""
    story = Story()
    story.start()
    while story.change("stamp.txt", after=0.05):
        story.start()
    gaps = []
    for _ in range(10):
        before = story.now
        assert story.let_go() == ("stamp.txt",)
        gaps.append(story.now - before)
        story.start()
        assert not story.change("stamp.txt", after=0.05)
    assert gaps[:4] == pytest.approx([FIRST_WAIT * factor for factor in (1, 2, 4, 8)])
    assert max(gaps) == pytest.approx(LONGEST_WAIT)
    assert len(story.messages) == 1


def test_two_hundred_saves_each_after_the_answer_are_never_suspected() -> None:
    """A test that saves as soon as the new code has answered."""
    story = Story()
    story.start()
    for _ in range(200):
        assert story.change("app.py", after=0.11)
        story.start()
    assert story.messages == []


def test_a_file_written_after_each_boot_is_suspected_unless_people_write_such() -> None:
    """Every second by a worker, say, which has no port to be ready on."""
    story = Story()
    story.start()
    restarts = 0
    while story.change("out.json", after=1.0):
        restarts += 1
        story.start()
    assert restarts == 5


def test_who_looks_for_the_right_config_var_is_not_suspected() -> None:
    """`.env` is no name that tells who writes it; that it says how the app runs does. One that is
    written by the app is told so, without the advice to ignore it, which would not help."""
    story = Story()
    story.own = {".env"}
    story.start()
    for _ in range(20):
        assert story.change(".env", after=1.0)
        story.start()
    assert story.messages == []
    while story.change(".env", after=0.05):
        story.start()
    [message] = story.messages
    assert ".gitignore" not in message


def test_another_redeploy_in_between_breaks_the_row() -> None:
    story = Story()
    story.start()
    for _ in range(20):
        assert story.change("out.json", after=0.05)
        story.start()
        assert story.change("app.py", after=1.0)
        story.start()


def test_a_change_long_after_the_boot_clears_all_suspicion() -> None:
    """The person who edits a suspected file later is served at once."""
    story = Story()
    story.start()
    while story.change("notes.txt", after=0.05):
        story.start()
    assert story.let_go() == ("notes.txt",)
    story.start()
    assert story.change("notes.txt", after=60.0)
    story.start()
    assert story.change("notes.txt", after=0.05)


def test_a_suspected_file_that_goes_on_changing_is_left_until_it_rests() -> None:
    """And what is redeployed for then is its last state."""
    story = Story()
    story.start()
    while story.change("stamp.txt", after=0.05):
        story.start()
    for _ in range(5):
        assert not story.change("stamp.txt", after=1.0)
        assert story.rules.take(story.now) == ()
    assert story.rules.deadline == story.now + FIRST_WAIT
    assert story.let_go() == ("stamp.txt",)
    assert story.rules.deadline is None


def test_a_dyno_caught_writing_is_spared_at_once_and_named() -> None:
    """The other types are redeployed for it all the same."""
    story = Story()
    story.start()
    story.now = 100.0
    verdict = story.rules.judge(["dist/app.js", "app.py"], 100.0, {"dist/app.js": "assets.1"})
    assert verdict.go == ("dist/app.js", "app.py")
    assert verdict.spared == {"dist/app.js": "assets.1"}
    [notice] = verdict.notices
    assert notice.message == (
        "assets.1 writes dist/app.js itself and is not restarted for it: "
        "if an app writes it, add dist/app.js to .gitignore"
    )
    assert not story.rules.judge(["dist/app.js"], 101.0, {"dist/app.js": "assets.1"}).notices


def test_whether_it_came_before_the_boot_was_up_is_judged_by_its_event() -> None:
    """The verdict comes when the quiet does: then the boot may be up."""
    rules = SelfWriting()
    for boot in range(3):
        rules.spawned(float(boot))
        rules.seen(["stamp.txt"])
        rules.came_up()
        verdict = rules.judge(["stamp.txt"], boot + 0.9, {})
        assert bool(verdict.go) == (boot < 2)


def test_an_event_that_changed_nothing_is_no_evidence() -> None:
    """A touch while the app boots, and a real save much later."""
    rules = SelfWriting()
    for boot in range(10):
        rules.spawned(boot * 100.0)
        rules.seen(["stamp.txt"])
        rules.unchanged(["stamp.txt"])
        rules.came_up()
        rules.seen(["stamp.txt"])
        assert rules.judge(["stamp.txt"], boot * 100.0 + 60.0, {}).go == ("stamp.txt",)
