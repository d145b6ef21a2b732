"""Where an app's lock and socket are: private, and never too long for a socket."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from procman.errors import ProcmanError
from procman.runtime import home
from procman.runtime.door import close_door, open_door
from procman.runtime.home import Home, runtime_directory


def test_a_long_runtime_directory_is_passed_over_for_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app and the other terminals choose alike; what runs beside it may choose another."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setenv("TMPDIR", str(deep))
    for suffix in ("", ".4194304"):
        path = Home(str(tmp_path), suffix).socket_path
        assert path == Home(str(tmp_path), suffix).socket_path
        assert path.startswith(f"/tmp/procman-{os.getuid()}/")
        with open_door(path), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        close_door(path)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose name is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)


def test_a_short_one_is_taken_and_made_private(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could enter it could steer the app: one that is open to others is refused."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    assert runtime_directory("x") == str(short / "procman")
    assert (short / "procman").stat().st_mode & 0o777 == 0o700
    (short / "procman").chmod(0o755)
    with pytest.raises(ProcmanError, match="not a private directory"):
        runtime_directory("x")


@pytest.mark.parametrize("trap", ["file", "dangling", "elsewhere"])
def test_what_another_user_has_laid_in_its_place_is_refused(
    short: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    """A link above all, wherever it leads."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(short))
    monkeypatch.setattr(home, "_is_ours", lambda _: False)  # no /run/user either
    place = short / f"procman-{os.getuid()}"
    (short / "mine").mkdir(mode=0o700)
    match trap:
        case "file":
            place.touch()
        case "dangling":
            place.symlink_to("nowhere")
        case _:
            place.symlink_to("mine")
    with pytest.raises(ProcmanError, match="not a private directory"):
        runtime_directory("x")


def test_places_that_cannot_be_had_are_passed_over(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session's that is relative, gone or another user's; a TMPDIR that is not there."""
    monkeypatch.chdir(short)
    Path("r").mkdir()
    monkeypatch.setenv("TMPDIR", str(short / "gone"))
    monkeypatch.setattr(home, "_is_ours", lambda base: base == str(short / "of-us"))
    for base in ("r", "", str(short / "gone"), str(short / "another's")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        assert runtime_directory("x") == f"/tmp/procman-{os.getuid()}"
    assert not (short / "gone").exists()


def test_where_the_app_runs_already_is_its_place(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever this terminal's environment says; and only as long as it runs."""
    monkeypatch.setattr(home, "_is_ours", lambda base: base == str(short))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setenv("TMPDIR", str(short))
    running = Home(str(short))
    assert running.acquire("1 today") is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    assert Home(str(short)).socket_path == running.socket_path
    assert Home(str(short)).acquire("2 today") == "1 today"
    running.release()
    assert Home(str(short)).socket_path.startswith(str(short / "procman") + "/")


def test_a_lock_that_cannot_be_written_is_told(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a directory in its place; and it is not held."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    one = Home(str(short))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(ProcmanError, match=r"\.lock: File too large"):
            one.acquire("1 today")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Home(str(short)).acquire("2 today") is None
    monkeypatch.setattr(one, "lock_path", str(short))
    with pytest.raises(ProcmanError, match="Is a directory"):
        one.acquire("1 today")
