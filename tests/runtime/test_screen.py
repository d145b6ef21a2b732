"""The screen: a pipe, a terminal or a file that takes all, some or nothing of what is written."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from procman.core.style import Look
from procman.runtime import screen as module
from procman.runtime.loghub import Source
from procman.runtime.screen import HIGH_WATER, Screen

PLAIN = Look(prefix=False)
WEB = Source("web.1")


class Pipe:
    """A pipe of a page, and what its reader saw."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.seen = b""

    def read(self, size: int) -> None:
        """Take that many bytes, waiting for them."""
        while size:
            data = os.read(self.reading, min(size, 1 << 16))
            assert data, "the writer went away"
            self.seen += data
            size -= len(data)

    def read_in_thread(self, size: int) -> threading.Thread:
        """The same while we wait for the writer."""
        thread = threading.Thread(target=self.read, args=(size,))
        thread.start()
        return thread

    def close(self) -> None:
        """Both ends, if they are open."""
        for descriptor in (self.reading, self.writing):
            try:
                os.close(descriptor)
            except OSError:
                pass


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed in the end."""
    pipe = Pipe()
    yield pipe
    pipe.close()


class Listener:
    """Who reads the dynos: it hears when to pause and when to go on."""

    def __init__(self, screen: Screen) -> None:
        self.heard: list[str] = []
        self.room = threading.Event()
        self.lost: list[OSError] = []
        screen.listen(self.full, self.has_room, self.lost.append)

    def full(self) -> None:
        """Pause."""
        self.heard.append("full")

    def has_room(self) -> None:
        """Go on."""
        self.heard.append("room")
        self.room.set()


def numbered(size: int) -> bytes:
    """Lines of 16 bytes, each another."""
    return b"".join(b"%015d\n" % number for number in range(size // 16))


@pytest.mark.parametrize("direct", [True, False])
def test_what_does_not_block_is_there_when_write_returns(
    pipe: Pipe, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a descriptor of our own; without one the thread writes it."""
    if not direct:
        monkeypatch.setattr(module, "_open_again", lambda _descriptor: None)
    screen = Screen(pipe.writing, PLAIN)
    before = set(threading.enumerate())
    screen.write(WEB, b"one\n", 0.0)
    assert (set(threading.enumerate()) <= before) is direct  # another test's may end meanwhile
    pipe.read(4)
    screen.close()
    assert pipe.seen == b"one\n"


def test_our_own_descriptor_does_not_make_the_callers_one_nonblocking(pipe: Pipe) -> None:
    """O_NONBLOCK belongs to all who share it: the shell, and whoever reads after us."""
    screen = Screen(pipe.writing, PLAIN)
    screen.write(WEB, b"one\n", 0.0)
    assert os.get_blocking(pipe.writing)
    screen.close()


@pytest.mark.parametrize("direct", [True, False])
def test_a_reader_that_lags_makes_the_dynos_wait_and_loses_nothing(
    pipe: Pipe, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full is said once, then room; every byte arrives in order, inline or by the thread."""
    if not direct:
        monkeypatch.setattr(module, "_open_again", lambda _descriptor: None)
    screen = Screen(pipe.writing, PLAIN)
    listener = Listener(screen)
    listener.heard.clear()
    data = numbered(3 * HIGH_WATER)
    step = 1 << 16
    for at in range(0, len(data), step):
        screen.write(WEB, data[at : at + step], 0.0)
    assert listener.heard == ["full"]
    assert screen.is_full
    reader = pipe.read_in_thread(len(data) + 5)
    assert listener.room.wait(60)
    screen.write(WEB, b"last\n", 0.0)
    screen.close()
    reader.join(60)
    assert listener.heard == ["full", "room"]
    assert pipe.seen == data + b"last\n"


def test_what_was_full_before_anybody_listened_is_told_at_once(pipe: Pipe) -> None:
    """Or nobody would ever pause, and all memory would be filled."""
    screen = Screen(pipe.writing, PLAIN)
    data = numbered(2 * HIGH_WATER)
    screen.write(WEB, data, 0.0)
    assert screen.is_full
    listener = Listener(screen)
    assert listener.heard == ["full"]
    reader = pipe.read_in_thread(len(data))
    assert listener.room.wait(60)
    screen.close()
    reader.join(60)
    assert pipe.seen == data


@pytest.mark.parametrize("direct", [True, False])
def test_a_reader_that_went_away_is_told_once(
    pipe: Pipe, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EPIPE; whatever is written later goes nowhere, and close does not wait."""
    if not direct:
        monkeypatch.setattr(module, "_open_again", lambda _descriptor: None)
    screen = Screen(pipe.writing, PLAIN)
    listener = Listener(screen)
    os.close(pipe.reading)
    screen.write(WEB, b"one\n", 0.0)
    screen.write(WEB, b"two\n", 0.0)
    screen.close()
    assert [error.errno for error in listener.lost] == [errno.EPIPE]
    assert isinstance(screen.gone, BrokenPipeError)


def test_a_reader_that_was_gone_before_anybody_listened_is_told(pipe: Pipe) -> None:
    """During start-up, say."""
    screen = Screen(pipe.writing, PLAIN)
    os.close(pipe.reading)
    screen.write(WEB, b"one\n", 0.0)
    assert [error.errno for error in Listener(screen).lost] == [errno.EPIPE]


def test_a_blocked_writer_hears_of_its_readers_end(pipe: Pipe) -> None:
    """The thread is in its write when the reader goes."""
    screen = Screen(pipe.writing, PLAIN)
    listener = Listener(screen)
    screen.write(WEB, numbered(2 * HIGH_WATER), 0.0)
    os.close(pipe.reading)
    screen.close()
    assert [error.errno for error in listener.lost] == [errno.EPIPE]


def test_patience_ends_for_a_reader_that_takes_nothing(pipe: Pipe) -> None:
    """A closed screen is not waited for without end, if it is told so."""
    screen = Screen(pipe.writing, PLAIN)
    screen.write(WEB, numbered(2 * HIGH_WATER), 0.0)
    screen.patience = 0.05
    screen.close()
    assert screen.gone is not None


def test_a_full_disk_is_told() -> None:
    """ENOSPC, with the kernel's own full disk."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        screen = Screen(descriptor, PLAIN)
        listener = Listener(screen)
        screen.write(WEB, b"one\n", 0.0)
        screen.close()
        assert [error.errno for error in listener.lost] == [errno.ENOSPC]
    finally:
        os.close(descriptor)


def test_a_file_needs_no_thread(tmp_path: Path) -> None:
    """It is written to at once, at its end if it is appended to."""
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    before = set(threading.enumerate())
    with path.open("ab") as file:
        screen = Screen(file.fileno(), PLAIN)
        screen.write(WEB, b"one\n", 0.0)
        assert path.read_bytes() == b"before\none\n"
        assert set(threading.enumerate()) <= before  # another test's may end meanwhile
        screen.close()


def test_a_socket_is_written_to_by_the_thread() -> None:
    """It cannot be opened a second time."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        screen = Screen(ours.fileno(), PLAIN)
        screen.write(WEB, b"one\n", 0.0)
        screen.close()
        assert theirs.recv(100) == b"one\n"


def test_a_quiet_source_is_not_shown(pipe: Pipe) -> None:
    """`-q web`; the others are."""
    screen = Screen(pipe.writing, PLAIN)
    screen.write(Source("web.1", quiet=True), b"hidden\n", 0.0)
    screen.write(WEB, b"shown\n", 0.0)
    pipe.read(6)
    screen.close()
    assert pipe.seen == b"shown\n"


def test_the_prefix_tells_the_second_and_the_dyno(pipe: Pipe) -> None:
    """Made once a second, not once a line."""
    screen = Screen(pipe.writing, Look(width=8))
    for now in (0.2, 0.9, 1.0):
        screen.write(WEB, b"x\ny\n", now)
    screen.close()
    os.close(pipe.writing)
    lines = os.read(pipe.reading, 1 << 16).splitlines()
    assert [line[6:] for line in lines] == [
        b"%s web.1    | %s" % (second, text)
        for second, text in (
            (b"00", b"x"),
            (b"00", b"y"),
            (b"00", b"x"),
            (b"00", b"y"),
            (b"01", b"x"),
            (b"01", b"y"),
        )
    ]


def test_where_no_thread_is_to_be_had_a_slow_reader_is_waited_for(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ulimit -u`, which root does not feel: what no thread can write is written all the same."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(module, "_open_again", lambda _descriptor: None)
    screen = Screen(pipe.writing, PLAIN)
    screen.write(WEB, b"one\n", 0.0)
    screen.write(WEB, b"two\n", 0.0)
    screen.close()
    pipe.read(8)
    assert pipe.seen == b"one\ntwo\n"


@pytest.mark.parametrize("direct", [True, False])
def test_a_descriptor_that_somebody_else_made_nonblocking_loses_nothing(
    pipe: Pipe, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O_NONBLOCK is there for all who share it: a neighbour in the shell's pipeline has set it."""
    if not direct:
        monkeypatch.setattr(module, "_open_again", lambda _descriptor: None)
    os.set_blocking(pipe.writing, False)
    screen = Screen(pipe.writing, PLAIN)
    lines = numbered(1 << 18)
    screen.write(WEB, lines, 0.0)
    pipe.read(len(lines))
    screen.close()
    assert pipe.seen == lines
    assert screen.gone is None
