"""`procman check`: what it says of a good Procfile, and of a bad one."""

from __future__ import annotations

import subprocess

import pytest

from tests.end_to_end.conftest import PROCMAN, Sandbox, clean_environment, new_mark


def check(sandbox: Sandbox, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `procman check ARGUMENTS…`."""
    done = subprocess.run(
        [*PROCMAN, "check", *arguments],
        cwd=sandbox.root,
        env=clean_environment(new_mark(), {}, sandbox.root),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_valid_procfile_is_told_as_foreman_does(sandbox: Sandbox) -> None:
    """On standard error; standard output is empty."""
    sandbox.write("Procfile", "# two\nweb: python app.py\n\nworker: a \\\n  b\n")
    assert check(sandbox) == (0, "", "Valid procfile detected (web, worker)\n")


def test_every_problem_is_told_with_its_line(sandbox: Sandbox) -> None:
    """Not only the first, and the exit status is 1."""
    sandbox.write("Procfile", "web: a\nnonsense\nworker : b\nweb: c\n")
    status, out, err = check(sandbox)
    assert (status, out) == (1, "")
    assert [line.partition(" ")[0] for line in err.splitlines()] == ["procman:"] * 3
    for number in (2, 3, 4):
        assert f"Procfile:{number}: " in err
    assert "Valid" not in err


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_a_procfile_without_an_entry_is_not_valid(sandbox: Sandbox, text: str) -> None:
    """An app of nothing."""
    sandbox.write("Procfile", text)
    status, _, err = check(sandbox)
    assert status == 1
    assert "Procfile" in err


def test_a_missing_procfile_is_told_with_a_hint(sandbox: Sandbox) -> None:
    """By the name that was looked for."""
    for arguments, name in (((), "Procfile"), (("-f", "Other"), "Other")):
        status, _, err = check(sandbox, *arguments)
        assert status == 1
        assert err.startswith(f"procman: {name}: ")
        assert "hint:" in err


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        (".env", "A='unfinished\n", ".env:1:"),
        ("procman.toml", "stop_timout = 1\n", "procman.toml: unknown setting 'stop_timout'"),
        ("procman.toml", "[types.wob]\n", "procman.toml: types: unknown process type 'wob'"),
        ("procman.toml", "[types.web]\nrestart = 'x'\n", "procman.toml: types.web.restart:"),
        ("procman.toml", "[types.web]\nafter = ['web']\n", "wait for each other: web after web"),
        ("procman.toml", "[types.web]\nstop_signal = 'X'\n", "unknown signal 'X'"),
        ("procman.toml", "stop_timeout = 'x'\n", "procman.toml: stop_timeout: 'x'"),
        ("procman.toml", "not toml", "procman.toml: not valid TOML"),
        ("pyproject.toml", "[tool.procman]\nprot = 1\n", "pyproject.toml: tool.procman: unknown"),
        ("procman.toml", "[types.web]\nstop_signal = 'NO'\n", "types.web.stop_signal: unknown"),
        ("procman.toml", "concurrency = 'wbe=2'\n", "procman.toml: concurrency: unknown process"),
        ("procman.toml", "fail_fast = 'perhaps'\n", "procman.toml: fail_fast: 'perhaps' is not"),
        ("procman.toml", "watch = ['src/**']\n", "procman.toml: watch: ['src/**'] is not true"),
        ("procman.toml", "port = 66000\n", "procman.toml: port: '66000' is not a port"),
    ],
)
def test_what_lies_beside_the_procfile_is_checked_as_well(
    sandbox: Sandbox, name: str, text: str, place: str
) -> None:
    """`.env` and the settings, each with its place: what start would refuse is not valid."""
    sandbox.write("Procfile", "web: true\n")
    sandbox.write(name, text)
    status, _, err = check(sandbox)
    assert status == 1
    assert place in err
    assert "Traceback" not in err


def test_a_watch_of_the_environment_that_start_refuses_is_not_valid(sandbox: Sandbox) -> None:
    """Which is no part of the app's plan."""
    sandbox.write("Procfile", "web: true\n")
    running = sandbox.procman("check", env={"PROCMAN_WATCH": "yess"})
    assert running.finish() == 1
    assert running.text == "procman: PROCMAN_WATCH: 'yess' is not true or false\n"


def test_the_procfile_may_be_a_directory_or_unreadable_bytes(sandbox: Sandbox) -> None:
    """An error in the user's words, never a traceback."""
    (sandbox.root / "Procfile").mkdir()
    status, _, err = check(sandbox)
    assert (status, err) == (1, "procman: Procfile: cannot be read: Is a directory\n")
    (sandbox.root / "Binary").write_bytes(bytes(range(256)))
    status, _, err = check(sandbox, "-f", "Binary")
    assert status == 1
    assert "Traceback" not in err
