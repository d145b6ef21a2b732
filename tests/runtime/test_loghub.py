"""Bytes of many dynos go in, whole lines come out at every sink, and none is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.runtime.loghub import DRAIN_LIMIT, LogHub, Source


class Lines:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes]] = []
        self.closed = 0

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Whole lines, at noon."""
        assert lines.endswith(b"\n")
        assert now == 12.0
        self.written.append((source.name, lines))

    def close(self) -> None:
        """Count it."""
        self.closed += 1

    def of(self, name: str) -> bytes:
        """All of one source."""
        return b"".join(lines for source, lines in self.written if source == name)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Ours to read without blocking, and a dyno's to write."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            pass  # the test closed it


def hub_with(*sinks: Lines) -> LogHub:
    """A hub whose clock stands at noon."""
    hub = LogHub(lambda: 12.0)
    for sink in sinks:
        hub.add(sink)
    return hub


def test_every_sink_gets_every_line_in_order(pipe: tuple[int, int]) -> None:
    """And one that came later, those since."""
    early, late = Lines(), Lines()
    hub, source = hub_with(early), Source("web.1")
    reading, writing = pipe
    os.write(writing, b"one\ntwo\nth")
    assert hub.take(source, reading)
    hub.add(late)
    os.write(writing, b"ree\n")
    assert hub.take(source, reading)
    assert early.of("web.1") == b"one\ntwo\nthree\n"
    assert late.of("web.1") == b"three\n"
    hub.remove(late)
    hub.say("hello", "web.1")
    assert early.of("procman") == b"web.1 hello\n"
    assert late.of("procman") == b""


def test_the_end_of_a_stream_is_told_and_silence_is_not_the_end(pipe: tuple[int, int]) -> None:
    """Nothing to read is True, no writer left is False."""
    hub, source = hub_with(), Source("web.1")
    reading, writing = pipe
    assert hub.take(source, reading) is True
    os.close(writing)
    assert hub.take(source, reading) is False


def test_the_end_of_a_pty_is_no_error() -> None:
    """The kernel says EIO there."""
    hub, sink = LogHub(lambda: 12.0), Lines()
    hub.add(sink)
    main, terminal = os.openpty()
    os.set_blocking(main, False)
    source = Source("web.1", is_pty=True)
    os.write(terminal, b"last\n")
    os.close(terminal)
    assert hub.take(source, main) is True
    assert hub.take(source, main) is False
    hub.drain(source, main)
    os.close(main)
    assert sink.of("web.1") == b"last\r\n"


def test_half_a_line_waits_until_it_is_flushed(pipe: tuple[int, int]) -> None:
    """It is another's turn meanwhile."""
    sink = Lines()
    hub = hub_with(sink)
    half, other = Source("web.1"), Source("worker.1")
    reading, writing = pipe
    os.write(writing, b"half")
    hub.take(half, reading)
    assert sink.written == []
    os.write(writing, b"whole\n")
    hub.take(other, reading)
    hub.flush(half)
    hub.flush(half)
    assert sink.written == [("worker.1", b"whole\n"), ("web.1", b"half\n")]


def test_a_drain_reads_all_that_is_there(pipe: tuple[int, int]) -> None:
    """As much as a pipe can hold, and the half line stays for the flush."""
    sink = Lines()
    hub, source = hub_with(sink), Source("web.1")
    reading, writing = pipe
    os.set_blocking(writing, False)
    written = 0
    try:
        while True:
            written += os.write(writing, b"0123456\n" * 512)
    except BlockingIOError:
        pass
    hub.drain(source, reading)
    hub.flush(source)
    assert len(sink.of("web.1")) == written


def test_a_writer_without_end_does_not_hold_a_drain() -> None:
    """What a grandchild goes on writing is not waited for."""
    sink = Lines()
    hub, source = hub_with(sink), Source("web.1")
    with open("/dev/zero", "rb") as endless:
        hub.drain(source, endless.fileno())
    hub.flush(source)
    assert DRAIN_LIMIT <= len(sink.of("web.1").replace(b"\n", b"")) <= 2 * DRAIN_LIMIT


@given(st.lists(st.tuples(st.sampled_from("ab"), st.binary(min_size=1, max_size=40)), max_size=30))
def test_whatever_two_dynos_write_in_turns_neither_loses_nor_tears_a_line(
    writes: list[tuple[str, bytes]],
) -> None:
    """Each one's bytes come out as they went in."""
    sink = Lines()
    hub = hub_with(sink)
    sources = {name: Source(name) for name in "ab"}
    pipes = {name: os.pipe() for name in "ab"}
    try:
        for name, data in writes:
            os.write(pipes[name][1], data)
            hub.take(sources[name], pipes[name][0])
        for name in "ab":
            hub.flush(sources[name])
            wanted = b"".join(data for of, data in writes if of == name)
            assert sink.of(name).removesuffix(b"\n") == wanted.removesuffix(b"\n")
    finally:
        for pair in pipes.values():
            os.close(pair[0])
            os.close(pair[1])


def test_closing_closes_every_sink_once() -> None:
    """The last one first: the screen shows what the others say at the end."""
    sinks = [Lines(), Lines()]
    hub = hub_with(*sinks)
    hub.close()
    hub.close()
    assert [sink.closed for sink in sinks] == [1, 1]
