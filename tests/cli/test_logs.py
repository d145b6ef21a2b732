"""The face of `procman logs`: which lines it shows, and how."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from procman.cli import main
from procman.runtime.history import History
from procman.runtime.loghub import Source


def fail(text: str) -> None:
    """Nothing is wrong with the disk."""
    raise AssertionError(text)


def remember(root: Path, *batches: tuple[str, bytes], now: float | None = None) -> None:
    """Write a history as start does."""
    history = History(str(root), fail)
    for source, lines in batches:
        history.write(Source(source), lines, time.time() if now is None else now)
    history.close()


def shown(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Standard output of `procman ARGUMENTS…`, which ends with 0 and without a complaint."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output = capfd.readouterr()
    assert (ended.value.code, output.err) == (0, "")
    return output.out


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty app, which is the current directory."""
    for name in [name for name in os.environ if name.startswith("PROCMAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("count", range(8))
def test_n_counts_lines_also_within_a_batch(
    app: Path, capfd: pytest.CaptureFixture[str], count: int
) -> None:
    """Three, one and two of them, and one of another dyno between."""
    remember(app, ("a.1", b"1\n2\n3\n"), ("a.1", b"4\n"), ("b.1", b"x\n"), ("a.1", b"5\n6\n"))
    lines = shown(capfd, "logs", "a", "--no-prefix", "-n", str(count)).split()
    assert lines == ["1", "2", "3", "4", "5", "6"][max(0, 6 - count) :]


def test_the_app_is_found_by_directory_by_procfile_and_before_the_name(
    app: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-f` after the name is --follow, as everywhere; before it, it is the Procfile."""
    (app / "sub").mkdir()
    (app / "sub" / "Procfile").write_text("a: true\n")
    remember(app / "sub", ("a.1", b"one\n"))
    for arguments in (
        ["-f", "sub/Procfile", "logs"],
        ["-d", "sub", "logs"],
        ["logs", "-d", "sub"],
        ["logs", "--procfile", "sub/Procfile"],
    ):
        assert shown(capfd, *arguments, "--no-prefix") == "one\n"


def test_files_of_config_vars_may_name_the_procfile(
    app: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the name and after it; they beat the environment where they are asked to."""
    (app / "Procfile").write_text("web: true\n")
    (app / "Other").write_text("background: true\n")
    (app / "other.env").write_text("PROCFILE=Other\n")
    remember(app, ("web.1", b"one\n"))
    for arguments in (["-e", "other.env", "logs"], ["logs", "-e", "other.env"]):
        assert "web.1        | one\n" in shown(capfd, *arguments)
    monkeypatch.setenv("PROCFILE", "Procfile")
    assert "web.1   | one\n" in shown(capfd, "logs", "-e", "other.env")
    override = ["logs", "-e", "other.env", "--env-override"]
    assert "web.1        | one\n" in shown(capfd, *override)


def test_the_columns_fit_the_names_of_the_types(
    app: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As start has them."""
    (app / "Procfile").write_text("web: true\nbackground: true\n")
    remember(app, ("web.1", b"one\n"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d web\.1        \| one\n", shown(capfd, "logs"))


def test_each_type_has_its_colour_and_what_is_unknown_none(
    app: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By its place in the Procfile; a type that is no more is still shown."""
    (app / "Procfile").write_text("web: true\nworker: true\n")
    remember(app, ("web.1", b"one\n"), ("worker.1", b"two\n"), ("gone.1", b"three\n"))
    lines = shown(capfd, "logs", "--color", "--no-timestamps").splitlines()
    assert [line.partition("| ")[0] for line in lines] == [
        "\x1b[0m\x1b[36mweb.1    ",
        "\x1b[0m\x1b[33mworker.1 ",
        "\x1b[0mgone.1   ",
    ]


def test_json_keeps_the_time_and_bytes_that_are_no_text(
    app: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """To the microsecond."""
    remember(app, ("a.1", b"caf\xc3\xa9 \xff\n"), now=1_795_435_201.123456)
    assert json.loads(shown(capfd, "logs", "--json")) == {
        "time": "2026-11-23T12:00:01.123456+00:00",
        "source": "app",
        "dyno": "a.1",
        "line": "caf\u00e9 \\xff",
    }


def test_control_sequences_pass_into_a_pipe_and_grep_ignores_colours(
    app: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file of the log is the log; only a terminal is protected."""
    remember(app, ("a.1", b"\x1b[31mError\x1b[0m\x1b[2J\n"))
    assert shown(capfd, "logs", "--no-prefix", "--grep", "^Error") == (
        "\x1b[31mError\x1b[0m\x1b[2J\n"
    )
