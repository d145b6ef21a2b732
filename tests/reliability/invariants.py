"""What holds after every fault: looked up in the system itself, not in what procman says."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from procman.core.release import Release, Status, current
from procman.runtime.releases.ledger import Ledger
from procman.runtime.slugs.expand import verify
from procman.runtime.slugs.store import SlugStore
from tests.end_to_end.conftest import PATIENCE, wait_for_end
from tests.end_to_end.test_stress import converse_to_the_end
from tests.end_to_end.web import names_of_ports
from tests.reliability.world import LOOKS, World

HISTORY = re.compile(rb"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}\+00:00 (?:app\[\S+\]|procman): ")


@dataclass(frozen=True, slots=True)
class Belongings:
    """What procman has at rest, by kind, whatever the number of its dynos."""

    descriptors: Counter[str]
    threads: int
    children: int


def belongings(world: World) -> Belongings:
    """What it has now, without what each dyno brings with it: an output, connections kept, and the
    name that keeps its port from others, for good.
    """
    pid = world.procman.pid
    rows = world.rows()
    ports = {row["port"] for row in rows}
    converse_to_the_end(str(world.root))
    connections = dict(_connections())
    names = names_of_ports()
    kinds: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        kind, _, inode = target.rstrip("]").partition(":[")
        if kind == "socket" and (connections.get(inode) in ports or inode in names):
            continue  # kept to a dyno, for the next request or the next boot
        kinds[kind if inode else _file(target.replace(str(world.root), ""))] += 1
    kinds["pipe"] -= len(rows)
    kinds["copy"] -= len(rows) if world.is_released else 0
    children = len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return Belongings(kinds, len(os.listdir(f"/proc/{pid}/task")), children - len(rows))


def require_all(world: World, before: Belongings | None) -> Belongings:
    """All that must hold when the app has settled; what procman has now."""
    require_no_orphans(world)
    require_nobody_doubled(world)
    require_whole_ledger(world)
    require_whole_history(world)
    return require_nothing_leaked(world, before)


def require_no_orphans(world: World) -> None:
    """Each process of the app is procman's own or stems from a dyno's leader, once it has settled;
    what was killed a moment ago is waited for. A dyno may have another leader then: after a deploy
    that was killed the app is on its way back.
    """
    while True:
        leaders = _leaders(world)
        for pid in world.processes():
            if pid != world.procman.pid and not _stems_from(pid, leaders):
                dyno = re.search(rb"DYNO=([^\0]*)", _read(pid, "environ"))
                said = f"{pid} {_read(pid, 'cmdline')!r} {dyno and dyno[1]!r}"
                print(f"waiting for the end of {said}")
                wait_for_end(pid)
                has_ended = not _read(pid, "environ")
                assert has_ended or _stems_from(pid, _leaders(world)), f"an orphan: {said}"
                break
        else:
            return


def _leaders(world: World) -> set[object]:
    return {row["pid"] for row in world.settle()}


def require_nobody_doubled(world: World) -> None:
    """No dyno has found its lock held by another process of it."""
    found = [name for name in os.listdir(world.environ["GUARD"]) if name.startswith("doubled")]
    assert not found, found


def require_nothing_leaked(world: World, before: Belongings | None) -> Belongings:
    """The same descriptors and children as before. The other ends of connections that were closed
    are closed soon after: some looks are granted.
    """
    now = belongings(world)
    if before is None:
        return _at_rest(world)
    for _ in range(LOOKS):
        if now.descriptors == before.descriptors and now.children == before.children:
            break
        now = belongings(world)
    more, fewer = now.descriptors - before.descriptors, before.descriptors - now.descriptors
    assert (more, fewer) == (Counter(), Counter()), f"more {more}, fewer {fewer}"
    assert now.children == before.children, f"children: {before.children}, now {now.children}"
    return now


def _at_rest(world: World) -> Belongings:
    """What it has once its files are watched, which begins in a thread, and nothing changes."""
    now = belongings(world)
    for _ in range(LOOKS):
        last, now = now, belongings(world)
        if now == last and (world.is_released or "anon_inode:inotify" in now.descriptors):
            break
    return now


def require_whole_ledger(world: World) -> None:
    """Every release is there, in order, with a slug as it was packed; the newest that succeeded is
    the one that runs.
    """
    store = SlugStore(world.root)
    releases = Ledger(store).read()
    assert [release.version for release in releases] == list(range(1, len(releases) + 1))
    for release in releases:
        if release.slug is not None and release.status is Status.SUCCEEDED:
            verify(store.path_of(store.get(release.slug).id), release.slug)
    if world.is_released:
        require_running(world, current(releases))


def require_running(world: World, live: Release | None) -> None:
    """All dynos run the live release; one that could not go back to it goes when it can."""
    assert live is not None
    end = time.monotonic() + PATIENCE
    while (found := {row["release"] for row in world.rows()}) != {live.name}:
        assert time.monotonic() < end, f"{found}, and {live.name} is live"


def require_whole_history(world: World) -> None:
    """Lines of Heroku's form, each with its end."""
    for file in (world.root / ".procman" / "log").iterdir():
        data = file.read_bytes()
        assert not data or data.endswith(b"\n"), file
        for line in data.splitlines():
            assert HISTORY.match(line), (file, line)


def _file(name: str) -> str:
    """What kind of file it is, whatever its number."""
    if name.startswith("/.procman/"):
        return {"log": "history", "copies": "copy"}[name.split("/")[2]]
    # libuv holds back a descriptor too, of /dev/null at first, of / once it was needed
    # (src/unix/stream.c, uv__emfile_trick).
    return "/dev/null" if name == "/" else name


def _stems_from(pid: int, leaders: set[object]) -> bool:
    while pid > 1:
        if pid in leaders:
            return True
        stat = _read(pid, "stat")
        if not stat:
            return True  # it has ended just now
        pid = int(stat.rpartition(b") ")[2].split()[1])
    return False


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _connections() -> Iterator[tuple[str, int]]:
    """The inode and the other side's port of each TCP socket; see proc(5), /proc/net/tcp."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        yield fields[9], int(fields[2].rpartition(":")[2], 16)
