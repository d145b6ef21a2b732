"""Two that draw free ports at once never get the same, long before anybody listens there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from procman.runtime import drawn_port
from procman.runtime.blueprint import free_ports
from procman.runtime.drawn_port import draw_port

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
DRAW = """
import sys
from procman.runtime.drawn_port import draw_port
ports = [draw_port() for _ in range(200)]
print(*(port.number for port in ports), flush=True)
sys.stdin.read()
"""


@needs_linux
def test_what_is_drawn_is_drawn_by_nobody_else_until_it_is_forgotten() -> None:
    """By no other process either; it is free then, also when its holder was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", DRAW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = list(map(int, other.stdout.readline().split()))
        assert len(set(theirs)) == 200
        assert {drawn_port._note(port) for port in theirs} == {None}
        assert not {draw_port().number for _ in range(200)} & set(theirs)
        other.kill()
    notes = [drawn_port._note(port) for port in theirs]
    assert None not in notes
    for note in filter(None, notes):
        note.close()


def test_each_dyno_keeps_the_port_that_it_has_drawn() -> None:
    """Whatever is asked for in between, and without notes as well."""
    port_of = free_ports()
    first = {(name, n): port_of(name, n) for name in ("web", "worker") for n in range(1, 50)}
    assert len(set(first.values())) == len(first)
    assert {key: port_of(*key) for key in first} == first


@needs_linux
def test_squatted_names_cost_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port is then as good as it was without a note."""
    monkeypatch.setattr(drawn_port, "_note", lambda port: None)
    assert 0 < draw_port().number < 65536
