"""runit directories, run with chpst or with a stand-in that reads an envdir as chpst(8) says."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from procman.export.base import File, Process

Export = Callable[..., dict[str, File]]

CHPST = f"""#!{sys.executable}
import os, sys
user, directory, program = sys.argv[2], sys.argv[4], sys.argv[5:]
assert sys.argv[1:5:2] == ["-u", "-e"]
for name in os.listdir(directory):
    with open(os.path.join(directory, name), "rb") as file:
        data = file.read()
    os.environ.pop(name, None)
    if data:
        line = data.split(b"\\n")[0].rstrip(b" \\t").replace(b"\\0", b"\\n")
        os.environb[name.encode()] = line
os.execvp(program[0], program)
"""


@pytest.fixture(params=["chpst", "stand-in"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with a chpst on it."""
    if request.param == "chpst":
        if shutil.which("chpst") is None or os.geteuid() != 0:
            pytest.skip("needs runit, and root to change the user")
        return os.environ["PATH"]
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "chpst").write_text(CHPST)
    (directory / "chpst").chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def test_directories_have_honchos_names(export: Export) -> None:
    """`run`, its log and an envdir for each process."""
    files = export("runit", Process("web.1", "run", {"PORT": "5000"}))

    assert list(files) == ["shop-web-1/env/PORT", "shop-web-1/run", "shop-web-1/log/run"]
    assert files["shop-web-1/env/PORT"].content == "5000"
    assert [file.executable for file in files.values()] == [False, True, True]


def test_a_run_script_starts_the_command_with_every_value_as_it_was(
    export: Export,
    tmp_path: Path,
    path: str,
    values: dict[str, str],
    command: str,
    assert_ran: Callable[[str], None],
) -> None:
    """The whole line runs in a shell that has the envdir, in the app's directory."""
    export("runit", Process("web.1", command, values), user=getpass.getuser())

    ran = subprocess.run(
        ["./run"],
        cwd=tmp_path / "runit" / "shop-web-1",
        env={"PATH": path, "EMPTY": "not empty"},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
    )

    assert_ran(ran.stdout)


def test_the_scripts_are_shell(export: Export, tmp_path: Path) -> None:
    files = export("runit", Process("web.1", "echo 'a'", {}))

    for name, file in files.items():
        if file.executable:
            checked = subprocess.run(
                ["sh", "-n", str(tmp_path / "runit" / name)], timeout=60, check=False
            )
            assert checked.returncode == 0
