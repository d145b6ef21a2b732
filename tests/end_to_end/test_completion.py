"""`procman completion` in the shells themselves."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys

import pytest

from procman.runtime.door import open_door
from procman.runtime.home import Home
from tests.end_to_end.conftest import PATIENCE, Sandbox, clean_environment, new_mark

# What each shell is told, with the words of a command line of which the last is not finished; it
# prints the candidates.
SCRIPTS = {
    "bash": """
        compopt() { [[ $2 != nospace ]] || blank=none; }
        source <(procman completion bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _procman_completion procman
        printf "%s$blank\\n" "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { }
        compadd() {
            blank=; [[ "$*" != *"-S "* ]] || blank=none
            for word in "${@[$@[(i)--]+1,-1]}"; do print -r -- $word$blank; done
        }
        _describe() { print -rl -- ${completions_with_descriptions%%:*} }
        procman completion zsh > completion.zsh
        source ./completion.zsh
        words=("$@") CURRENT=$#
        _procman_completion
    """,
    "fish": """
        procman completion fish | source
        complete -C (string join -- ' ' $argv) | string replace -r '\\t.*' ''
    """,
}
RUN = {"bash": ["bash", "-c"], "zsh": ["zsh", "-f", "-c"], "fish": ["fish", "--no-config", "-c"]}
PROCFILE = "web: exec sleep 1000\nworker: exec sleep 1000\nclock: exec sleep 1000\n"


@pytest.fixture(params=sorted(SCRIPTS))
def shell(request: pytest.FixtureRequest) -> str:
    """One that is installed."""
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def complete(sandbox: Sandbox, shell: str, *words: str, script: str | None = None) -> list[str]:
    """The candidates for the last word of `procman WORDS…`, and nothing on standard error."""
    binary = sandbox.root.parent / "bin" / "procman"
    if not binary.exists():
        binary.parent.mkdir()
        binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m procman "$@"\n')
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    path = f"{binary.parent}:{os.environ['PATH']}"
    home = str(sandbox.root.parent)
    done = subprocess.run(
        [
            *RUN[shell],
            script or SCRIPTS[shell],
            *(["shell"] if shell != "fish" else []),
            "procman",
            *words,
        ],
        cwd=sandbox.root,
        env=clean_environment(new_mark(), {"PATH": path, "HOME": home}, sandbox.root),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_are_completed(sandbox: Sandbox, shell: str) -> None:
    """Also where there is no app."""
    assert complete(sandbox, shell, "rest") == ["restart"]
    assert set(complete(sandbox, shell, "s")) >= {"start", "scale", "stop", "signal"}


def test_options_are_completed(sandbox: Sandbox, shell: str) -> None:
    """Of the command that was typed."""
    assert complete(sandbox, shell, "start", "--det") == ["--detach"]


def test_types_and_dynos_of_the_running_app_are_completed(sandbox: Sandbox, shell: str) -> None:
    """For all that take targets; `attach` takes dynos only."""
    running = sandbox.start(PROCFILE, "--no-router", "-p", "auto", "-c", "worker=2,clock=0")
    running.until("started with pid", 3)
    assert complete(sandbox, shell, "restart", "wo") == ["worker", "worker.1", "worker.2"]
    assert complete(sandbox, shell, "stop", "c") == ["clock"]
    assert complete(sandbox, shell, "logs", "worker.") == ["worker.1", "worker.2"]
    assert complete(sandbox, shell, "attach", "w") == ["web.1", "worker.1", "worker.2"]
    assert complete(sandbox, shell, "-d", str(sandbox.root), "ps", "web.") == ["web.1"]
    number_follows = "clock=" if shell == "fish" else "clock=none"  # fish sees to it by itself
    assert complete(sandbox, shell, "scale", "c") == [number_follows]


def test_without_a_running_app_the_types_of_the_procfile_are_completed(
    sandbox: Sandbox, shell: str
) -> None:
    """`start` knows no dynos yet."""
    sandbox.write("Procfile", PROCFILE)
    assert complete(sandbox, shell, "start", "w") == ["web", "worker"]
    assert complete(sandbox, shell, "restart", "cl") == ["clock"]
    assert complete(sandbox, shell, "attach", "w") == []


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_shows_descriptions_to_their_end(sandbox: Sandbox) -> None:
    """Also those with a comma."""
    script = SCRIPTS["fish"].replace(" | string replace -r '\\t.*' ''", "")
    assert script != SCRIPTS["fish"]
    shown = complete(sandbox, "fish", "che", script=script)
    assert " ".join(shown) == "check Check the Procfile, .env and settings."


@pytest.mark.parametrize("procfile", [None, "no colon at all\n"])
def test_errors_are_silent(sandbox: Sandbox, shell: str, procfile: str | None) -> None:
    """A key press is no place for them."""
    if procfile is not None:
        sandbox.write("Procfile", procfile)
    assert complete(sandbox, shell, "restart", "w") == []
    assert complete(sandbox, shell, "-d", "/nowhere", "restart", "w") == []


def test_an_app_that_does_not_answer_is_not_waited_for(sandbox: Sandbox, shell: str) -> None:
    """A stopped procman: the Procfile's types, after a moment."""
    running = sandbox.start(PROCFILE, "--no-router", "-p", "auto")
    running.until("started with pid", 3)
    os.kill(running.process.pid, 19)  # SIGSTOP; the fixture's SIGKILL reaches it all the same
    assert complete(sandbox, shell, "restart", "cl") == ["clock"]


def test_an_app_that_hangs_is_not_waited_for(
    sandbox: Sandbox, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the question, and says nothing."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sandbox.root.parent / "runtime"))
    sandbox.write("Procfile", PROCFILE)
    home = Home(str(sandbox.root))
    assert home.acquire(str(os.getpid())) is None
    with open_door(home.socket_path):
        assert complete(sandbox, shell, "restart", "cl") == ["clock"]
    home.release()
