"""`procman top` on a real terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import Sandbox
from tests.end_to_end.terminal import OpenTerminal, Terminal, open_terminal

OTHER_SCREEN, BACK = "\x1b[?1049h", "\x1b[?1049l"
LOOK = "\x1b[H"  # each drawing begins at the top


@pytest.fixture
def top(sandbox: Sandbox) -> Iterator[OpenTerminal]:
    """Opens `procman top` beside an app of ten dynos."""
    running = sandbox.start("a: exec sleep 1000\nspin: exec sleep 1000\n", "-c", "a=9")
    running.until("started with pid", 10)
    opened: list[Terminal] = []

    def open_one(window: tuple[int, int] = (24, 120)) -> Terminal:
        opened.append(open_terminal(sandbox, "top", window=window))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def last_look(screen: Terminal) -> list[str]:
    """The lines of the last whole drawing."""
    whole = screen.text.rpartition("\x1b[J")[0]
    return [line.replace("\x1b[K", "") for line in whole.rpartition(LOOK)[2].split("\r\n")]


def test_it_is_refreshed_until_q(sandbox: Sandbox, top: OpenTerminal) -> None:
    """A second look shows what has changed; the terminal is as it was."""
    screen = top()
    before = screen.settings
    screen.until("q quits")
    lines = last_look(screen)
    assert lines[0].startswith("app   pid ")
    assert "10 up" in lines[0]
    assert [line.split()[0] for line in lines[2:12]] == [
        *(f"a.{n}" for n in range(1, 10)),
        "spin.1",
    ]
    assert sandbox.procman("scale", "a=2").finish() == 0
    screen.until("   3 up")
    screen.type("q")
    assert screen.finish() == 0
    assert screen.text.startswith(OTHER_SCREEN)
    assert screen.text.endswith(BACK)
    assert screen.settings == before


@pytest.mark.parametrize("key", ["\x03", "Q"])
def test_other_keys_that_end_it(top: OpenTerminal, key: str) -> None:
    """Ctrl-C, for whom q is too far."""
    screen = top()
    screen.until("q quits")
    screen.type(key)
    assert screen.finish() == 0
    assert screen.text.endswith(BACK)


def test_a_signal_restores_the_terminal(top: OpenTerminal) -> None:
    """SIGTERM too."""
    screen = top()
    before = screen.settings
    screen.until("q quits")
    screen.process.send_signal(signal.SIGTERM)
    assert screen.finish() == 143
    assert screen.text.endswith(BACK)
    assert screen.settings == before


def test_it_follows_the_window_and_scrolls(top: OpenTerminal) -> None:
    """What does not fit is reached with j and k."""
    screen = top((8, 100))
    screen.until("1-5 of 10")
    screen.type("j")
    screen.until("2-6 of 10")
    assert last_look(screen)[2].startswith("a.2 ")
    screen.type("\x1b[B")
    screen.until("3-7 of 10")
    screen.type("k")
    screen.until("2-6 of 10", 2)
    screen.type("jj\x1b[Bk")  # a key that is held down: several come at once
    screen.until("4-8 of 10")
    screen.resize(30, 100)
    screen.until("q quits\x1b[K")
    assert len(last_look(screen)) == 13


def test_the_end_of_the_app_ends_it(sandbox: Sandbox, top: OpenTerminal) -> None:
    """On the screen where it was called."""
    screen = top()
    screen.until("q quits")
    assert sandbox.procman("stop", "--wait").finish() == 0
    assert screen.finish() == 0
    assert "the app has ended" in screen.text.rpartition(BACK)[2]


def test_it_does_not_wait_for_an_app_that_is_suspended(sandbox: Sandbox, top: OpenTerminal) -> None:
    """The terminal is given back, with a word of what to do."""
    screen = top()
    screen.until("q quits")
    sandbox.running[0].send(signal.SIGSTOP)
    assert screen.finish() == 1
    assert "is suspended" in screen.text.rpartition(BACK)[2]


def test_it_needs_a_terminal(sandbox: Sandbox, top: OpenTerminal) -> None:
    """The hint says what does not."""
    piped = sandbox.procman("top")
    assert piped.finish() == 2
    assert "top needs a terminal" in piped.text
    assert "procman ps" in piped.text
