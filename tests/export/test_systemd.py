"""systemd units, read back by systemd itself where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from procman.export.base import File, Process
from procman.export.systemd import argument, value

Export = Callable[..., dict[str, File]]
with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)


def verify(*units: Path) -> str:
    """What systemd read; AssertionError with its complaints when it has any."""
    result = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", *map(str, units)],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "debug"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    # Decoded by hand: text=True would turn the carriage return of a value into a line break.
    complaints, dump = result.stderr.decode(), result.stdout.decode()
    assert result.returncode == 0, complaints
    about_ours = [line for line in complaints.splitlines() if re.match(r"\S*shop\S*:\d+:", line)]
    assert about_ours == []
    return dump


def test_units_have_honchos_names_and_depend_on_each_other(export: Export) -> None:
    """One target starts and stops the app, one each type, and enabling the first is enough."""
    files = export(
        "systemd",
        Process("web.1", "run", {}),
        Process("web.2", "run", {}),
        Process("my-worker.1", "run", {}),
    )

    assert list(files) == [
        "shop.target",
        "shop-web.target",
        "shop-web-1.service",
        "shop-web-2.service",
        "shop-my-worker.target",
        "shop-my-worker-1.service",
    ]
    assert "Wants=shop-web.target shop-my-worker.target\n" in files["shop.target"].content
    assert "WantedBy=multi-user.target\n" in files["shop.target"].content
    assert "Wants=shop-web-1.service shop-web-2.service\n" in files["shop-web.target"].content
    assert "PartOf=shop.target\n" in files["shop-web.target"].content
    assert "PartOf=shop-web.target\n" in files["shop-web-2.service"].content
    assert "WantedBy=shop-web.target\n" in files["shop-web-2.service"].content


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5000", "5000"),
        ("", "''"),
        ("50%", "50%%"),
        ("b c", "'b c'"),
        ("it's", "'it'\"'\"'s'"),
        ('say "hi"', "'say \"hi\"'"),
        ("$HOME", "'$HOME'"),
        ("a\\n", "'a\\\\n'"),
        ("a\nb\tc\rd", "'a\\nb\\tc\\x0dd'"),
    ],
)
def test_a_value_is_quoted_as_honcho_quotes_it(text: str, expected: str) -> None:
    """With what is special to systemd, though not to a shell, escaped."""
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run -p $PORT", "'run -p $$PORT'"),
        ("date +%H", "'date +%%H'"),
        ("echo 'a'", "'echo \\'a\\''"),
        ("echo a\\tb", "'echo a\\\\tb'"),
    ],
)
def test_a_command_reaches_the_shell_unread(text: str, expected: str) -> None:
    """`$`, `%` and `\\` are the shell's in a Procfile, and systemd has meanings of its own."""
    assert argument(text) == expected


def test_settings_of_a_type_become_its_unit(export: Export) -> None:
    """What procman would do with a process, systemd does."""
    process = Process(
        "web.1", "run", {}, restart="on-failure", stop_signal="QUIT", stop_timeout=2.5
    )

    unit = export("systemd", process)["shop-web-1.service"].content

    for line in ("Restart=on-failure", "KillSignal=SIGQUIT", "TimeoutStopSec=2.5"):
        assert f"\n{line}\n" in unit


def test_never_is_no_to_systemd(export: Export) -> None:
    files = export("systemd", Process("web.1", "run", {}, restart="never"))

    assert "\nRestart=no\n" in files["shop-web-1.service"].content


@with_systemd
def test_systemd_accepts_the_units_and_reads_every_value_as_it_was(
    export: Export, tmp_path: Path, values: dict[str, str], command: str
) -> None:
    """`systemd-analyze verify` is silent, and its dump shows the values, byte for byte."""
    files = export("systemd", Process("web.1", command, values), Process("worker.1", "run", {}))

    dump = verify(*(tmp_path / "systemd" / name for name in files))

    for name, text in values.items():
        assert f"\t\tEnvironment: {name}={text}\n" in dump
    assert f"\t\tWorkingDirectory: {tmp_path}/my app 100%\n" in dump
    shown = re.search(r"Command Line: /bin/sh -lc (\".*PLAIN.*\")\n", dump)
    assert shown is not None
    # systemd expands `$$` later, when it runs the command; the dump is quoted for a shell.
    read = subprocess.run(
        ["sh", "-c", f"printf %s {shown[1]}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert read.stdout.replace("$$", "$") == command


@with_systemd
def test_the_apps_path_beats_that_of_the_login_shells_profile(
    export: Export, tmp_path: Path
) -> None:
    """Debian's sets it. What is special in it to systemd or to a shell stays as it is."""
    path = '/a b/100%n:/it\'s "x"/$HOME:/c\\d'
    files = export("systemd", Process("web.1", "echo \"$PATH\" '100%'", {"PATH": path}))

    dump = verify(*(tmp_path / "systemd" / name for name in files))

    assert f"\t\tEnvironment: PATH={path}\n" in dump
    (tmp_path / ".profile").write_text("PATH=/usr/bin:/bin\n")
    assert run_as_systemd(dump, {"HOME": str(tmp_path), "PATH": path}) == f"{path} 100%\n"


def run_as_systemd(dump: str, environ: dict[str, str]) -> str:
    """What the command of a dump prints; `$$` is systemd's for `$`, when it runs the command."""
    shown = re.search(r"Command Line: (/bin/sh -lc .*)\n", dump)
    assert shown is not None
    words = ["/bin/sh", "-c", f"printf '%s\\0' {shown[1]}"]
    read = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    argv = [word.replace("$$", "$") for word in read.stdout.split("\0")[:-1]]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout
