"""Where an app's lock and socket are: private, and never too long for a socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from procman.errors import ProcmanError
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


def test_a_short_one_is_taken_and_made_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could enter it could steer the app: one that is open to others is refused."""
    monkeypatch.chdir(tmp_path)
    Path("r").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "r")
    assert runtime_directory("x.sock") == "r/procman"
    assert Path("r/procman").stat().st_mode & 0o777 == 0o700
    Path("r/procman").chmod(0o755)
    with pytest.raises(ProcmanError, match="not a private directory"):
        runtime_directory("x.sock")
