"""What Python compiled of a file is gone when the file was saved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from procman.runtime.watch.stale_bytecode import remove_stale_bytecode


def imported(root: Path) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [sys.executable, "-c", "import sub.lib; print(sub.lib.VERSION)"]
    return subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_save_within_the_same_second_and_of_the_same_length_is_run(tmp_path: Path) -> None:
    """Python alone would take the compiled form of the first for the second's."""
    lib = tmp_path / "sub" / "lib.py"
    lib.parent.mkdir()
    for version in (1, 2):
        lib.write_text(f"VERSION = {version}\n")
        os.utime(lib, (1_000_000_000, 1_000_000_000))
        if version == 2:
            assert imported(tmp_path) == "1"
            remove_stale_bytecode(str(tmp_path), ["sub/lib.py", "nowhere/none.py", "a.txt"])
        assert imported(tmp_path) == str(version)
