"""Each example under procman, as its README tells it: every command is typed in, in order.

A command is an indented line. `procman start` goes on while the next ones are typed; what `pip`
would install is there already, or the example is skipped.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from procman.cli import cli
from tests.end_to_end.conftest import PATIENCE, Running, Sandbox
from tests.end_to_end.web import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if (path / "Procfile").exists())

# The commands that are there to fail, with what their report must say.
FAILING = {
    "CRASHY_WORKER=ok CRASHY_WEB=unbound procman smoke --timeout 2s": "not ready yet",
    "CRASHY_WORKER=ok CRASHY_WEB=error procman smoke --path /": "expected 200",
    "CRASHY_WORKER=segv CRASHY_AFTER=0.2 procman smoke": "FAIL worker.1  crashed",
}


def commands(example: str) -> list[str]:
    """What its README says to type."""
    text = (EXAMPLES / example / "README.md").read_text()
    return re.findall(r"^    (\S.*)$", text, re.MULTILINE)


def requirements(example: str) -> list[str]:
    """What it needs from PyPI."""
    file = EXAMPLES / example / "requirements.txt"
    return file.read_text().split() if file.exists() else []


def require(example: str) -> None:
    """Skip an example whose runtime is not here."""
    modules = [re.split("[<>=]", needed)[0] for needed in requirements(example)]
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if example == "node" and shutil.which("node") is None:
        missing.append("node")
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The procman and the python of the tests, before all others."""
    shim = tmp_path / "bin"
    shim.mkdir()
    for name, arguments in (("procman", " -m procman"), ("python", "")):
        script = shim / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable}{arguments} "$@"\n')
        script.chmod(0o755)
    return os.pathsep.join([str(shim), str(Path(sys.executable).parent), os.environ["PATH"]])


def copy(example: str, sandbox: Sandbox) -> None:
    """As it is in a fresh checkout."""
    shutil.copytree(
        EXAMPLES / example,
        sandbox.root,
        ignore=shutil.ignore_patterns("*.db*", ".procman", "__pycache__"),
        dirs_exist_ok=True,
    )


def typed(command: str, root: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Status and output of a command that ends."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("example", NAMES)
def test_what_its_readme_says_to_type_works(example: str, sandbox: Sandbox, path: str) -> None:
    """From the release phase to the smoke test; and when it is stopped nothing is left."""
    require(example)
    copy(example, sandbox)
    port = str(free_port())
    started: list[Running] = []
    smoked = 0
    for command in commands(example):
        if command == "procman start":
            started.append(sandbox.procman("start", env={"PATH": path, "PORT": port}))
            started[-1].until(f"web is at http://127.0.0.1:{port}")
        elif not command.startswith("pip "):
            environment = {**started[-1].environ} if started else {"PATH": path, "PORT": port}
            status, said = typed(command.replace("5000", port), sandbox.root, environment)
            assert (status, command) == (1 if command in FAILING else 0, command), said
            assert FAILING.get(command, "") in said
            smoked += "procman smoke" in command
    assert len(started) == 1
    assert smoked
    assert sandbox.procman("stop", "--wait").finish() == 0
    assert started[0].finish() == 0
    assert not started[0].survivors()


def calls() -> Iterator[tuple[str, list[str]]]:
    """Every call of procman that an example's README or program speaks of, with its words."""
    for file in (*EXAMPLES.glob("*/*.md"), *EXAMPLES.glob("*/*.py"), *EXAMPLES.glob("*.md")):
        for call in re.findall(r"procman ((?:[a-z]+)(?: +[-\w=./]+)*)", file.read_text()):
            yield str(file.relative_to(EXAMPLES)), call.split()


def test_the_examples_speak_of_commands_and_options_that_exist() -> None:
    """Also in prose, and in what the apps answer."""
    for file, words in calls():
        command = cli.get_command(click.Context(cli), words[0])
        options = [word for word in words if word.startswith("-")]
        if command is None:
            assert not options, (file, words)  # prose: "procman passes …"
            continue
        known = {name for p in command.params if isinstance(p, click.Option) for name in p.opts}
        assert {option.partition("=")[0] for option in options} <= known, (file, words)


def test_what_the_examples_need_is_what_the_extra_installs() -> None:
    """`pip install procman[examples]` and each requirements.txt agree."""
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]
    extra = set(project["optional-dependencies"]["examples"])
    assert {needed for name in NAMES for needed in requirements(name)} == extra
