"""The history on a real disk: numbered, rotated, mended, and read back from both ends."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from procman.core.history import KEPT, ROTATE_AT, file_name
from procman.core.recall import Selection, batches
from procman.core.style import for_history
from procman.runtime import history as history_module
from procman.runtime.history import READ_SIZE, History, first_lines, log_directory
from procman.runtime.loghub import Source
from procman.runtime.recall import Recall, wait_for_bell

WEB = Source("web.1")
NOON = 1_795_435_201.0


class Written:
    """A history in a directory, what was said of its troubles, and how often its bell rang."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.troubles: list[str] = []
        self.rings = 0
        self.open()

    def open(self) -> None:
        """As procman does at its start."""
        self.history = History(str(self.root), self.troubles.append)
        self.history.on_write = self.ring

    def ring(self) -> None:
        """Called after each write."""
        self.rings += 1

    def add(self, *texts: str, now: float = NOON) -> None:
        """One batch."""
        self.history.write(WEB, "".join(f"{text}\n" for text in texts).encode(), now)

    @property
    def files(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(Path(log_directory(str(self.root))).iterdir())

    def fill_file(self, begin: int) -> int:
        """Write numbered lines of a kilobyte until a new file begins; the next number."""
        before = self.files[-1]
        number = begin
        while self.files[-1] == before:
            self.add(*(f"{n} {'x' * 1000}" for n in range(number, number + 100)))
            number += 100
        return number


def read_all(recall: Recall) -> list[str]:
    """The texts of all that can be read now."""
    texts = []
    while lines := recall.read():
        texts += [text.decode() for batch in batches(lines) for text in batch.texts]
    return texts


def last(root: Path, count: int | None, selection: Selection | None = None) -> list[str]:
    """What `logs -n` shows."""
    selection = selection or Selection()
    with Recall(str(root)) as recall:
        skip = recall.seek(selection, count)
        texts = []
        while lines := recall.read():
            texts += [t.decode() for batch in batches(lines) for t in selection.choose(batch)]
    return texts[skip:]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """An empty history."""
    return Written(tmp_path)


# --- writing ---


def test_a_batch_is_on_disk_when_it_was_written_and_the_bell_rings(written: Written) -> None:
    """Nothing is held back for a later write."""
    written.add("one", "two")
    assert written.files[0].read_bytes() == for_history(b"one\ntwo\n", "web.1", NOON)
    assert written.rings == 1


def test_it_is_private_and_git_does_not_see_it(written: Written) -> None:
    """Logs may hold secrets."""
    written.add("one")
    home = written.root / ".procman"
    assert (home / ".gitignore").read_text() == "*\n"
    assert home.stat().st_mode & 0o077 == 0
    assert written.files[0].stat().st_mode & 0o077 == 0


def test_the_next_run_goes_on_in_the_same_file(written: Written) -> None:
    """A restart of procman is not the end of its history."""
    written.add("one")
    written.history.close()
    written.open()
    written.add("two")
    assert last(written.root, None) == ["one", "two"]
    assert len(written.files) == 1


@pytest.mark.parametrize("torn", [b"2026-11-23T12:0", b"x" * (2 * READ_SIZE)])
def test_a_torn_last_line_is_cut_off_at_the_next_start(written: Written, torn: bytes) -> None:
    """A full disk takes half a line."""
    written.add("one")
    written.history.close()
    with written.files[0].open("ab") as file:
        file.write(torn)
    written.open()
    written.add("two")
    assert last(written.root, None) == ["one", "two"]


def test_files_are_named_by_their_first_line_and_the_oldest_go(written: Written) -> None:
    """The names tell how many lines were rotated away, also after a restart."""
    number = 0
    for _ in range(KEPT + 3):
        number = written.fill_file(number)
        written.history.close()
        written.open()
    assert len(written.files) == KEPT
    assert all(file.stat().st_size <= ROTATE_AT for file in written.files)
    for file in written.files:
        text = next(batches(file.read_bytes().splitlines(keepends=True)[0])).texts[0]
        assert file.name == file_name(int(text.split()[0]))


def test_a_batch_larger_than_a_file_is_spread_over_files_at_line_ends(written: Written) -> None:
    """Empty lines grow by forty times; the bound holds all the same."""
    count = 2 * ROTATE_AT // len(for_history(b"\n", "web.1", NOON))
    written.history.write(WEB, b"\n" * count, NOON)
    assert len(written.files) >= 2
    assert all(file.stat().st_size <= ROTATE_AT for file in written.files)
    assert len(last(written.root, None)) == count


def test_a_single_line_larger_than_a_file_is_kept_whole(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a file of its own."""
    monkeypatch.setattr(history_module, "ROTATE_AT", 1000)
    written.add("before", "x" * 3000, "after")
    assert last(written.root, None) == ["before", "x" * 3000, "after"]
    assert [len(file.read_bytes().splitlines()) for file in written.files] == [1, 1, 1]


def test_a_disk_that_refuses_is_told_once_and_the_app_runs_on(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in the middle of a line: what is whole stays."""
    written.add("one")
    really = os.write

    def write_half(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(file, bytes(data)[: len(data) - 20])

    monkeypatch.setattr(os, "write", write_half)
    written.add("two", "three " * 20)
    written.add("four")
    assert len(written.troubles) == 1
    assert "No space left on device" in written.troubles[0]
    monkeypatch.undo()
    assert last(written.root, None) == ["one", "two"]
    assert written.rings == 1


def test_the_history_goes_on_when_the_disk_has_room_again(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried once a second; what the disk did not take is not made up."""
    written.add("one")

    def refuse(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    for seconds in range(5):
        written.history.write(WEB, b"lost\n", NOON + seconds)
    monkeypatch.undo()
    written.history.write(WEB, b"lost too\n", NOON + 4)  # in the second of the last try
    written.history.write(WEB, b"two\n", NOON + 5)
    written.history.write(WEB, b"three\n", NOON + 5)
    assert [trouble.partition(",")[0] for trouble in written.troubles] == [
        "no history from here on",
        "the history goes on",
    ]
    assert last(written.root, None) == ["one", "two", "three"]
    assert written.rings == 3


def test_a_place_where_nothing_can_be_written_is_told_once(tmp_path: Path) -> None:
    """`.procman` is a file, or the directory is read-only."""
    (tmp_path / ".procman").write_text("in the way")
    written = Written(tmp_path)
    written.add("one")
    written.history.close()
    assert len(written.troubles) == 1


def test_a_history_that_was_cleaned_away_begins_again_while_the_app_runs(written: Written) -> None:
    """`git clean -fdx` in another terminal."""
    written.add("one")
    shutil.rmtree(written.root / ".procman")
    written.add("two", now=NOON + 1)
    assert last(written.root, None) == ["two"]
    assert written.troubles == []


# --- reading back ---


def test_no_history_is_empty(tmp_path: Path) -> None:
    """The app never ran."""
    with Recall(str(tmp_path)) as recall:
        assert recall.is_empty
        assert recall.seek(Selection(("web",)), 5) == 0
        assert recall.read() == b""
    assert not (tmp_path / ".procman").exists()


@pytest.mark.parametrize("count", [0, 1, 5, 250, 4000, 12_000, None])
def test_the_last_lines_are_found_across_blocks_and_files(
    written: Written, monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    """However many are asked for."""
    monkeypatch.setattr(history_module, "ROTATE_AT", 3 * READ_SIZE)
    total = 10_000
    for begin in range(0, total, 50):
        written.add(*(f"{number} {'x' * 50}" for number in range(begin, begin + 50)))
    assert len(written.files) > 1
    shown = [int(text.split()[0]) for text in last(written.root, count)]
    wanted = total if count is None else min(count, total)
    assert shown == list(range(total))[total - wanted :]


def test_lines_are_counted_after_they_were_chosen(written: Written) -> None:
    """Three of another dyno, far back."""
    written.history.write(Source("db.1"), b"a\nb\nc\n", NOON)
    written.add(*(f"{'x' * 1000}" for _ in range(2000)))
    assert last(written.root, 2, Selection(("db",))) == ["b", "c"]


def test_since_reads_back_no_further_than_it_must(written: Written) -> None:
    """All that is young enough, or the last of it."""
    for minute in range(60):
        written.add(*(f"{minute} {'x' * 100}" for _ in range(200)), now=NOON + 60 * minute)
    since = Selection(since="2026-11-23T12:57:01.000000+00:00")
    assert {text.split()[0] for text in last(written.root, None, since)} == {"57", "58", "59"}
    assert len(last(written.root, None, since)) == 600
    assert len(last(written.root, 10, since)) == 10
    assert len(last(written.root, 1000, since)) == 600


def test_a_line_longer_than_a_block_is_read_whole_from_both_ends(written: Written) -> None:
    """Up to the hub's longest line."""
    written.add("before", "x" * (3 * READ_SIZE), "y" * (3 * READ_SIZE), "after")
    assert [len(text) for text in last(written.root, None)] == [6, 3 * READ_SIZE, 3 * READ_SIZE, 5]
    assert [len(text) for text in last(written.root, 2)] == [3 * READ_SIZE, 5]


def test_what_comes_after_the_opening_is_not_read_unless_followed(written: Written) -> None:
    """`logs` ends, however fast the app logs."""
    written.add("one")
    with Recall(str(written.root)) as recall, Recall(str(written.root), follow=True) as following:
        written.add("two")
        assert read_all(recall) == ["one"]
        assert read_all(following) == ["one", "two"]


# --- following ---


def test_a_follower_sees_every_line_across_rotations(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read now and then, never twice, never less."""
    monkeypatch.setattr(history_module, "ROTATE_AT", 5000)
    seen: list[str] = []
    with Recall(str(written.root), follow=True) as recall:
        for number in range(1000):
            written.add(str(number))
            if number % 170 == 0:
                seen += read_all(recall)
        seen += read_all(recall)
        assert recall.missed == 0
    assert seen == [str(number) for number in range(1000)]


def test_a_follower_of_an_app_that_has_no_history_yet_sees_its_first_line(tmp_path: Path) -> None:
    """The directory comes later."""
    with Recall(str(tmp_path), follow=True) as recall:
        assert recall.read() == b""
        written = Written(tmp_path)
        written.add("one")
        assert read_all(recall) == ["one"]


def test_a_follower_that_lags_knows_how_many_lines_it_missed(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it sees and what it missed are all there was."""
    monkeypatch.setattr(history_module, "ROTATE_AT", 5000)
    written.add("first")
    with Recall(str(written.root), follow=True) as recall:
        assert read_all(recall) == ["first"]
        for number in range(5000):
            written.add(str(number))
        seen = [int(text) for text in read_all(recall)]
        assert recall.missed > 0
        assert len(seen) + recall.missed == 5000
        assert seen[-1] == 4999
        assert sorted(set(seen)) == seen


def test_files_that_are_rotated_away_while_they_are_read_can_still_be_read(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are open."""
    monkeypatch.setattr(history_module, "ROTATE_AT", 5000)
    written.add("old")
    with Recall(str(written.root)) as recall:
        for number in range(5000):
            written.add(str(number))
        assert first_lines(log_directory(str(written.root)))[0] > 0
        assert read_all(recall) == ["old"]


def test_the_reader_keeps_no_file_open(written: Written) -> None:
    """Nor does a closed history."""
    written.add("one")
    written.history.close()
    before = len(os.listdir("/dev/fd"))
    with Recall(str(written.root), follow=True) as recall:
        read_all(recall)
    assert len(os.listdir("/dev/fd")) == before


def test_bells_are_taken_in_one_go_and_the_end_is_told() -> None:
    """Three bells are one reason to look."""
    app, follower = socket.socketpair()
    reading, writing = os.pipe()
    try:
        with app, follower:
            app.sendall(b"\n\n\n")
            assert wait_for_bell(follower, writing)
            app.close()
            assert not wait_for_bell(follower, writing)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_follower_whose_reader_has_gone_does_not_wait_for_the_next_line() -> None:
    """`procman logs -f | head -1` ends with head."""
    app, follower = socket.socketpair()
    reading, writing = os.pipe()
    with app, follower:
        closing = threading.Thread(target=os.close, args=(reading,))
        closing.start()
        with pytest.raises(BrokenPipeError):
            wait_for_bell(follower, writing)
        closing.join()
    os.close(writing)
