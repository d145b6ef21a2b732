"""Two that draw free ports at once never get the same, long before anybody listens there."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from procman.runtime import drawn_port
from procman.runtime.blueprint import free_ports
from procman.runtime.drawn_port import LOWEST, draw_port

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
DRAW = """
import sys
from procman.runtime.drawn_port import draw_port
ports = [draw_port() for _ in range(200)]
print(*(port.number for port in ports), flush=True)
sys.stdin.read()
"""


def notes_of(ports: list[int]) -> set[str]:
    """The inodes of the sockets that have their names: a neighbour's next note is another one."""
    names = {f"@procman-port-{port}" for port in ports}
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {row[6] for row in rows if row[7:] and row[7] in names}


@needs_linux
def test_what_is_drawn_is_drawn_by_nobody_else_until_it_is_forgotten() -> None:
    """By no other process either; it is free then, also when its holder was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", DRAW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = list(map(int, other.stdout.readline().split()))
        assert len(set(theirs)) == 200
        for port in theirs:
            with pytest.raises(OSError, match="in use"):
                drawn_port._note(port)
        assert not {draw_port().number for _ in range(200)} & set(theirs)
        notes = notes_of(theirs)
        assert len(notes) == 200
        other.kill()
    assert not notes & notes_of(theirs)


def test_each_dyno_keeps_the_port_that_it_has_drawn() -> None:
    """Whatever is asked for in between, and without notes as well."""
    port_of = free_ports()
    first = {(name, n): port_of(name, n) for name in ("web", "worker") for n in range(1, 50)}
    assert len(set(first.values())) == len(first)
    assert {key: port_of(*key) for key in first} == first


@needs_linux
def test_what_is_drawn_is_given_to_nobody_who_asks_the_kernel_for_any_port() -> None:
    """Or a test's server, or a connection's near end, would listen where a dyno is expected."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first <= LOWEST + 1000:
        pytest.skip("the kernel's range leaves no room below")
    drawn = [draw_port().number for _ in range(200)]
    assert not [port for port in drawn if first <= port <= last]
    assert min(drawn) >= LOWEST


@pytest.mark.parametrize("is_free", [True, False])
def test_what_is_in_use_is_not_drawn(monkeypatch: pytest.MonkeyPatch, is_free: bool) -> None:
    """The kernel's own are what is left when all below them are."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        held = draw_port()
        free = draw_port().number
        candidates = [taken.getsockname()[1], held.number, *([free] if is_free else [])]
        monkeypatch.setattr(drawn_port, "_below_the_kernels", lambda: candidates)
        number = draw_port().number
        assert (number == free) if is_free else (number not in [0, *candidates])


@pytest.mark.parametrize("text", ["", "x y", "1024 65535"])
def test_a_kernel_that_tells_nothing_or_takes_all_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """IANA's dynamic ports are taken for a range that is not told."""
    (tmp_path / "range").write_text(text)
    monkeypatch.setattr(drawn_port, "_RANGE", str(tmp_path / "range"))
    assert len(drawn_port._below_the_kernels()) == (0 if text[-1:] == "5" else 49152 - LOWEST)
    assert LOWEST <= draw_port().number < 65536


@needs_linux
def test_squatted_names_cost_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port is then as good as it was without a note."""

    def squatted(port: int) -> None:
        raise OSError(errno.EADDRINUSE, "squatted")

    monkeypatch.setattr(drawn_port, "_note", squatted)
    assert 0 < draw_port().number < 65536
