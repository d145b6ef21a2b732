"""Looking at directories again, where nothing tells of changes."""

from __future__ import annotations

import shutil
from pathlib import Path

from procman.runtime.watch.events import Event, What
from procman.runtime.watch.poll import Poll


def make(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("x", "utf-8")


def test_the_polls_look_tells_what_came_changed_and_went(tmp_path: Path) -> None:
    make(tmp_path, "same.py", "old.py", "changed.py", "gone/x")
    events: list[Event] = []
    poll = Poll(events.append)
    try:
        poll.add(str(tmp_path))
        (tmp_path / "old.py").unlink()
        make(tmp_path, "new.py", "added/y")
        (tmp_path / "changed.py").write_text("longer", "utf-8")
        shutil.rmtree(tmp_path / "gone")
        poll.look()
    finally:
        poll.close()
    assert {(event.name, event.what, event.is_directory) for event in events} == {
        ("old.py", What.GONE, False),
        ("new.py", What.DONE, False),
        ("added", What.DONE, True),
        ("changed.py", What.DONE, False),
        ("gone", What.GONE, True),
    }
