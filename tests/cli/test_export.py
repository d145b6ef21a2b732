"""`procman export`: options, files and errors, without any supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from procman.cli import cli
from procman.errors import InputError, ProcmanError, UsageError

PROCFILE = "web: serve -p $PORT\nworker: work\nrelease: migrate\n"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory `shop` with a Procfile, and an environment that says nothing."""
    for name in ("PORT", "PROCFILE", "PROCMAN_PORT", "PROCMAN_APP", "PROCMAN_USER"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "shop"
    root.mkdir()
    (root / "Procfile").write_text(PROCFILE)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def run(app: Path) -> Callable[..., Result]:
    """Call export; errors are raised as they are, to be printed at the edge."""

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["export", *arguments], standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    return call


def names(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def test_the_app_is_named_after_its_directory_and_runs_as_itself(
    app: Path, run: Callable[..., Result]
) -> None:
    """honcho's defaults: APP is the directory, USER is APP, logs are in /var/log/APP."""
    run("supervisord", "out")

    content = (app / "out" / "shop.conf").read_text()
    assert "user=shop\n" in content
    assert "stdout_logfile=/var/log/shop/web-1.log\n" in content
    assert f"directory={app}\n" in content
    assert "command=/bin/sh -c 'serve -p $PORT'\n" in content


def test_config_vars_are_for_their_owner_alone(app: Path, run: Callable[..., Result]) -> None:
    """Whatever the umask, and also in a file that was open to all before."""
    (app / ".env").write_text("API_KEY=secret\n")
    (app / "out").mkdir()
    (app / "out" / "shop.conf").touch(0o644)
    before = os.umask(0)
    try:
        for form in ("supervisord", "systemd", "runit"):
            run(form, "out")
    finally:
        os.umask(before)
    for name in names(app / "out"):
        assert (app / "out" / name).stat().st_mode & 0o077 == 0, name


def test_every_file_that_is_written_is_named(app: Path, run: Callable[..., Result]) -> None:
    result = run("systemd", "out")

    for name in names(app / "out"):
        assert f"Writing 'out/{name}'\n" in result.stderr


def test_options_change_what_they_name(app: Path, run: Callable[..., Result]) -> None:
    """honcho's letters: -a, -u, -l, -s, -p, -c."""
    run(
        *("runit", "out", "-a", "neck", "-u", "giraffe", "-l", "/logs", "-s", "/bin/bash"),
        *("-p", "7000", "-c", "web=2,worker=0"),
    )

    assert names(app / "out") == [
        "neck-web-1/env/" + n for n in ("DYNO", "PORT", "PS", "PYTHONUNBUFFERED")
    ] + ["neck-web-1/log/run", "neck-web-1/run"] + [
        "neck-web-2/env/" + n for n in ("DYNO", "PORT", "PS", "PYTHONUNBUFFERED")
    ] + ["neck-web-2/log/run", "neck-web-2/run"]
    script = (app / "out" / "neck-web-2" / "run").read_text()
    assert script.startswith("#!/bin/bash\n")
    assert "chpst -u giraffe " in script
    assert "/logs/web-2" in (app / "out" / "neck-web-2" / "log" / "run").read_text()
    assert (app / "out" / "neck-web-2" / "env" / "PORT").read_text() == "7001"
    assert (app / "out" / "neck-web-2" / "run").stat().st_mode & 0o777 == 0o700


def test_the_release_type_is_left_out_and_said_so(app: Path, run: Callable[..., Result]) -> None:
    """A supervisor would migrate the database for ever."""
    result = run("systemd", "out")

    assert "the release type is left out" in result.stderr
    assert not [name for name in names(app / "out") if "release" in name]


def test_config_vars_are_those_of_the_files_alone(
    app: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's environment is no part of the app; `.env` and `-e` are."""
    monkeypatch.setenv("SECRET_OF_MINE", "1")
    (app / ".env").write_text("A=1\nB='two words'\n")
    (app / "more.env").write_text("A=2\n")

    run("systemd", "out", "-e", ".env,more.env", "-c", "web=1")

    unit = (app / "out" / "shop-web-1.service").read_text()
    assert "Environment=A=2\n" in unit
    assert "Environment=B='two words'\n" in unit
    assert "SECRET_OF_MINE" not in unit


@pytest.mark.parametrize(
    ("dotenv", "environment", "arguments", "expected"),
    [
        ("", None, (), "5000"),
        ("PORT=6000\n", None, (), "6000"),
        ("PORT=6000\n", "7000", (), "7000"),
        ("PORT=6000\n", "7000", ("-p", "8000"), "8000"),
    ],
)
def test_the_base_port_is_the_nearest_one_given(
    app: Path,
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    dotenv: str,
    environment: str | None,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    """As start has it: -p, PORT, PORT in .env, 5000."""
    (app / ".env").write_text(dotenv)
    if environment is not None:
        monkeypatch.setenv("PORT", environment)

    run("runit", "out", *arguments)

    assert (app / "out" / "shop-web-1" / "env" / "PORT").read_text() == expected


def test_settings_of_a_type_are_exported(app: Path, run: Callable[..., Result]) -> None:
    """What procman.toml says of a type holds under another supervisor too."""
    (app / "procman.toml").write_text(
        'app = "neck"\n[types.worker]\ncommand = "work harder"\nstop_signal = "SIGINT"\n'
        'stop_timeout = "30s"\nrestart = "on-failure"\nenv = { QUEUE = "high" }\n'
    )

    run("systemd", "out")

    unit = (app / "out" / "neck-worker-1.service").read_text()
    for line in (
        "ExecStart=/bin/sh -lc 'work harder'",
        "KillSignal=SIGINT",
        "TimeoutStopSec=30",
        "Restart=on-failure",
        "Environment=QUEUE=high",
    ):
        assert f"\n{line}\n" in unit


def test_files_of_an_earlier_and_larger_export_are_named(
    app: Path, run: Callable[..., Result]
) -> None:
    """They would go on running: the user has to take them away."""
    run("systemd", "out", "-c", "web=2")

    result = run("systemd", "out", "-c", "web=1")

    assert "out/shop-web-2.service is not part of this export" in result.stderr
    assert "stop it and remove it" in result.stderr
    assert (app / "out" / "shop-web-2.service").exists()


def test_a_config_var_that_is_gone_is_gone_from_the_next_runit_export(
    app: Path, run: Callable[..., Result]
) -> None:
    """chpst would go on giving it to the app. What is not of an export stays, whoever's it is."""
    (app / ".env").write_text("SECRET=old\nKEPT=1\n")
    run("runit", "out", "-c", "web=2")
    web, second = app / "out" / "shop-web-1", app / "out" / "shop-web-2"
    (web / "supervise").mkdir()
    (web / "supervise" / "status").write_text("")
    (web / "log" / "main").mkdir()
    (web / "env" / ".hidden").write_text("")
    (web / "env" / "linked").symlink_to("KEPT")
    before = set(os.listdir(web / "env"))
    (app / ".env").write_text("KEPT=2\n")

    result = run("runit", "out", "-c", "web=1")

    assert "Removing 'out/shop-web-1/env/SECRET'\n" in result.stderr
    assert before - set(os.listdir(web / "env")) == {"SECRET"}
    assert (web / "env" / "KEPT").read_text() == "2"
    assert (web / "supervise" / "status").exists()
    assert (web / "log" / "main").exists()
    assert "out/shop-web-1/env/linked is not part of this export" in result.stderr
    assert "out/shop-web-2 is not part of this export and may still run" in result.stderr
    assert (second / "env" / "SECRET").exists()


def test_an_envdir_that_somebody_linked_elsewhere_keeps_all_its_files(
    app: Path, run: Callable[..., Result]
) -> None:
    """They may be another program's as well: what is too much is told."""
    run("runit", "out", "-c", "worker=0")
    (app / "out/shop-web-1/env").rename(app / "shared")
    (app / "out/shop-web-1/env").symlink_to(app / "shared")
    (app / "shared" / "THEIRS").write_text("x")

    result = run("runit", "out", "-c", "worker=0")

    assert (app / "shared" / "THEIRS").exists()
    assert "out/shop-web-1/env/THEIRS is not part of this export" in result.stderr


def test_a_line_of_the_procfile_that_declares_nothing_is_told(
    app: Path, run: Callable[..., Result]
) -> None:
    """As `start` tells it: nothing would be written for it."""
    (app / "Procfile").write_text("web: serve\nworker work\n")

    result = run("systemd", "out")

    assert "procman: Procfile:2: " in result.stderr


def test_a_procfile_elsewhere_is_the_app_elsewhere(
    app: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """-f and -d as everywhere: the app's root is the Procfile's directory."""
    monkeypatch.chdir(app.parent)

    run("supervisord", "out", "-f", "shop/Procfile")

    assert f"directory={app}\n" in (app.parent / "out" / "shop.conf").read_text()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("sytemd", "out"), UsageError, "no export format 'sytemd'"),
        (("systemd", "out", "-t", "nowhere"), UsageError, "no directory 'nowhere'"),
        (("systemd", "out", "-p", "auto"), UsageError, "files need a fixed port"),
        (("systemd", "out", "-p", "x"), UsageError, "'x' is not a port"),
        (("systemd", "out", "-c", "wbe=2"), UsageError, "wbe"),
        (("systemd", "out", "-c", "all=0"), InputError, "nothing to export"),
        (("systemd", "out", "-f", "nowhere"), InputError, "no Procfile"),
        (("systemd", "out", "-a", "a b"), UsageError, "'a b' cannot name anything"),
        (("systemd", "Procfile"), ProcmanError, "cannot be written"),
    ],
)
def test_a_wrong_call_is_an_error_and_writes_nothing(
    app: Path,
    run: Callable[..., Result],
    arguments: tuple[str, ...],
    error: type[ProcmanError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        run(*arguments)

    assert names(app) == ["Procfile"]
