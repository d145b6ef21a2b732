"""Whether the first boots' orphans can be told by a look at our own children."""

from __future__ import annotations

import os
import time

import pytest

from procman.runtime import orphans
from procman.runtime.boots import Boots
from procman.runtime.guardian import Guardian
from procman.runtime.loghub import LogHub, Source
from procman.runtime.process import Command, Process

INIT = 1  # who has what was orphaned before we were a subreaper


def first_boots() -> Boots:
    """One that was spawned before orphans came to us."""
    boots = Boots(
        plan=lambda dyno, boot: Command([], {}, False),
        source=Source,
        port_of=lambda dyno: None,
        hub=LogHub(time.time),
        guardian=Guardian.__new__(Guardian),  # there is nothing to guard
        cookie="c",
    )
    boots.by_pid[7] = Process("web.1", 1, 7, output=-1, is_pty=False)
    return boots


@pytest.mark.parametrize(
    ("marked", "is_followed"), [([], True), ([os.getpid()], True), ([INIT], False)]
)
def test_first_boots_are_followed_unless_something_left_them_already(
    monkeypatch: pytest.MonkeyPatch, marked: list[int], is_followed: bool
) -> None:
    """What bears the cookie and does not stem from us has left."""
    boots, asked = first_boots(), []

    def marks(cookie: str) -> list[int]:
        asked.append(cookie)
        return marked

    monkeypatch.setattr(orphans, "can_adopt", lambda: True)
    monkeypatch.setattr(orphans, "marked", marks)
    boots.follow()
    assert boots.by_pid[7].is_followed is is_followed
    assert asked == ["c."]


def test_where_orphans_do_not_come_to_us_no_boot_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And each exit searches for what it left."""
    boots = first_boots()
    monkeypatch.setattr(orphans, "can_adopt", lambda: False)
    boots.follow()
    assert boots.by_pid[7].is_followed is False
