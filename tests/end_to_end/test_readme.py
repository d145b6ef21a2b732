"""What README says is what happens: its tour is typed in, and its answers are compared.

In a `console` block a line `$ COMMAND` is run, the lines after it are what it must print; `…`
stands for any text, on a line of its own for any lines. A block ```python app.py is that file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from procman.core.codes import Code
from procman.core.settings import TYPE_KEYS
from tests.end_to_end.conftest import PATIENCE, Sandbox, clean_environment, marked
from tests.end_to_end.web import free_port
from tests.readme_tables import filled

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """The text under a heading of the second level."""
    return README.read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block, with the lines it must print."""
    command, expected = "", list[str]()
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], []
        else:
            expected.append(line)
    yield command, expected


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether the lines are as promised."""
    pattern = ""
    for line in expected:
        if line == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, line.split("…"))) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed)) is not None


@pytest.fixture
def base_port() -> int:
    """A port that is free now, in 5000's place."""
    return free_port()


def test_the_tour_is_as_it_is_told(sandbox: Sandbox, base_port: int) -> None:
    """A newcomer's first five minutes, with the outputs that README shows."""
    mark = f"README_TOUR={base_port}-{os.getpid()}"
    shim = sandbox.root.parent / "bin"
    shim.mkdir()
    for name, arguments in (("procman", " -m procman"), ("python", "")):
        script = shim / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable}{arguments} "$@"\n')
        script.chmod(0o755)
    path = f"{shim}{os.pathsep}{os.environ['PATH']}"
    env = clean_environment(mark, {"PATH": path, "PORT": str(base_port)}, sandbox.root)
    ran = 0
    try:
        for kind, name, body in BLOCK.findall(section("A tour")):
            if name:
                sandbox.write(name, body)
            elif kind == "console":
                for command, expected in commands(body.replace("5000", str(base_port))):
                    done = subprocess.run(
                        ["bash", "-c", command.replace("curl ", "curl -s ")],
                        cwd=sandbox.root,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                        check=False,
                        timeout=PATIENCE,
                    )
                    printed = done.stdout.splitlines()
                    assert matches(expected, printed), (command, expected, printed)
                    assert done.returncode == 0, (command, printed)
                    ran += 1
    finally:
        stop = ["procman", "stop", "--wait"]
        subprocess.run(stop, cwd=sandbox.root, env=env, timeout=PATIENCE, check=False)
    assert ran > 10
    assert not marked(mark)


def test_the_tables_tell_of_every_command_and_option() -> None:
    """Made from the commands: run `python -m tests.readme_tables` when this fails."""
    text = README.read_text()
    assert filled(text) == text
    assert text.count("<!-- end -->") == 2


def test_readme_names_every_setting_status_and_code() -> None:
    """What can stand in a settings file, and what a program may read."""
    text = README.read_text()
    missing = [key for key in TYPE_KEYS if f"`{key}`" not in text]
    missing += [code.name for code in Code if f"`{code.name}`" not in text]
    assert not missing


READ = re.compile(r'(?:environ(?:\.get\(|\[)|layer\.get\(|\(os\.environ, )"([A-Z_]+)"')
TOLD = re.compile(r'environment\[(?:"([A-Z_]+)"|COOKIE)\] =|"(PROCMAN_[A-Z]+)": ')


def test_readme_names_every_variable_and_code_that_the_program_knows() -> None:
    """Those that it reads, those that it sets, and the codes in its log lines."""
    source = "".join(path.read_text() for path in (README.parent / "procman").rglob("*.py"))
    names = set(READ.findall(source)) | set(re.findall(r"\b[RL][1-9][0-9]\b", source))
    names |= {"".join(found) for found in TOLD.findall(source)} - {""}
    assert {"PORT", "DYNO", "NO_COLOR", "PROCMAN_RELEASE", "PROCMAN_URL", "R12"} <= names
    text = README.read_text()
    assert not [name for name in sorted(names) if f"`{name}`" not in text]
