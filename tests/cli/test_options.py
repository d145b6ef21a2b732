"""Options that all commands share, and the names of all options."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from procman.cli import COMMANDS, cli
from procman.cli.options import OPTION_NAMES, wants_colour
from procman.core.settings import OTHER_NAMES, environment_variable
from procman.errors import InputError


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command, families included."""
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


def find(path: tuple[str, ...]) -> click.Command:
    """The command of these words."""
    command: click.Command | None = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return command


def with_variables() -> dict[str, set[str]]:
    """Option name → commands, of those whose help names an environment variable."""
    found: dict[str, set[str]] = {}
    for path in [(), *commands(cli)]:
        for parameter in find(path).params:
            if isinstance(parameter, click.Option) and parameter.name:
                variable = environment_variable(parameter.name)
                if f"[{variable}]" in (parameter.help or ""):
                    found.setdefault(parameter.name, set()).add(" ".join(path))
    return found


def test_the_names_of_settings_are_the_commands_real_options() -> None:
    """None is missing, none is left over: an unknown key in a settings file is an error."""
    assert sorted(with_variables()) == sorted(OPTION_NAMES)
    assert len(set(OPTION_NAMES)) == len(OPTION_NAMES)


def test_the_other_long_names_that_settings_know_are_the_commands() -> None:
    """Those of `--no-` are near enough to lead to theirs."""
    found: dict[str, str] = {}
    for path in [(), *commands(cli)]:
        for parameter in find(path).params:
            if parameter.name and parameter.name in OPTION_NAMES:
                longs = [name[2:].replace("-", "_") for name in parameter.opts if name[:2] == "--"]
                found |= {long: parameter.name for long in longs if long != parameter.name}
    assert found == OTHER_NAMES


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_an_option_of_all_commands_is_one_of_each(path: tuple[str, ...]) -> None:
    """But for `completion`, which is of no app; the `-f` of logs is its own."""
    command = find(path)
    if isinstance(command, click.Group) or path == ("completion",):
        return
    own = {name for parameter in command.params for name in parameter.opts}
    common = [parameter for parameter in cli.params if parameter.name in OPTION_NAMES]
    assert common
    assert {name for parameter in common for name in parameter.opts} <= own


@pytest.mark.parametrize("path", [(), *commands(cli)], ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """`--help` and `-h`, in at most 100 columns, with a sentence for every option."""
    for flag in ("--help", "-h"):
        result = CliRunner().invoke(cli, [*path, flag])
        assert result.exit_code == 0, result.output
        assert result.output.startswith(f"Usage: cli {' '.join(path)}".rstrip())
    assert all(len(line) <= 100 for line in result.output.splitlines())
    command = find(path)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{parameter.opts} says nothing"
    assert path == () or command.get_short_help_str(), "a line in the list of commands"


def call(*arguments: str) -> Result:
    """`procman ARGUMENTS…` with a runner."""
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two Procfiles, called from elsewhere."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Procfile").write_text("web: true\n")
    (tmp_path / "app" / "Other").write_text("other: true\n")
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("PROCMAN_"):
            monkeypatch.delenv(name)
    return tmp_path / "app"


@pytest.mark.parametrize(
    ("arguments", "types"),
    [
        (["-d", "app", "check"], "web"),
        (["check", "-d", "app"], "web"),
        (["--app-root", "app", "check"], "web"),
        (["-f", "app/Procfile", "check"], "web"),
        (["-d", "app", "check", "-f", "Other"], "other"),
        (["-d", "app", "-f", "Procfile", "check", "-f", "Other"], "other"),
        (["check", "-d", "app", "-f", "Other"], "other"),
        (["-d", "nowhere", "check", "-d", "app"], "web"),
    ],
)
def test_common_options_stand_before_or_after_the_command_and_the_later_wins(
    app: Path, arguments: list[str], types: str
) -> None:
    """Whichever way the fingers put them."""
    result = call(*arguments)
    assert result.return_value == 0
    assert f"({types})" in result.output


def test_files_of_config_vars_before_and_after_the_command_add_up(app: Path) -> None:
    """`-e` is repeatable, on whichever side."""
    (app / "one.env").write_text("PROCFILE=Other\n")
    (app / "two.env").write_text("X=1\n")
    result = call("-d", "app", "-e", "one.env", "check", "-e", "two.env")
    assert "(other)" in result.output
    result = call("-d", "app", "-e", "no.env", "check", "-e", "two.env")
    assert isinstance(result.exception, InputError)
    assert "no.env" in str(result.exception)


@pytest.mark.parametrize(("options", "types"), [([], "web"), (["--env-override"], "other")])
def test_the_callers_procfile_beats_dotenv_and_dotenv_can_be_preferred(
    app: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], types: str
) -> None:
    """PROCFILE as any other variable."""
    (app / ".env").write_text("PROCFILE=Other\n")
    monkeypatch.setenv("PROCFILE", "Procfile")
    assert f"({types})" in call("check", "-d", "app", *options).output


def test_a_dotenv_that_is_a_pipe_is_read_and_a_directory_is_none(app: Path) -> None:
    """Keepers of secrets serve it as a named pipe; some keep a virtual environment of that name."""
    os.mkfifo(app / ".env")
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit((app / ".env").write_text, "PROCFILE=Other\n")
        assert "(other)" in call("check", "-d", "app").output
        written.result()
    (app / ".env").unlink()
    (app / ".env").mkdir()
    assert "(web)" in call("check", "-d", "app").output


@pytest.mark.parametrize(
    ("arguments", "variable", "origin"),
    [(["-e", "no.env"], "", "--env"), ([], "no.env", "PROCMAN_ENV")],
)
def test_a_missing_file_of_config_vars_is_told_with_who_named_it(
    app: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variable: str,
    origin: str,
) -> None:
    """It need not have been this call."""
    monkeypatch.setenv("PROCMAN_ENV", variable)
    error = call("check", "-d", "app", *arguments).exception
    assert isinstance(error, InputError)
    assert error.hint == f"{origin} named it"


def test_the_environment_gives_what_the_command_line_does_not(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROCMAN_APP_ROOT, beaten by `-d`."""
    monkeypatch.setenv("PROCMAN_APP_ROOT", str(app))
    assert call("check").return_value == 0
    monkeypatch.setenv("PROCMAN_APP_ROOT", "nowhere")
    assert call("check", "-d", str(app)).return_value == 0


def test_an_unknown_command_is_an_error_with_the_nearest_right_name() -> None:
    """`procman strat`."""
    result = CliRunner().invoke(cli, ["strat"])
    assert result.exit_code == 2
    assert "Did you mean 'start'?" in result.output


def test_the_list_of_commands_is_the_table() -> None:
    """Each with a line of its own."""
    output = CliRunner().invoke(cli, ["--help"]).output
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", output, re.MULTILINE)


def test_colour_is_asked_for_refused_or_left_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """no-color.org: any value but an empty one."""
    reading, writing = os.pipe()
    main, terminal = os.openpty()
    try:
        for value, coloured in (("", True), ("1", False), ("0", False)):
            monkeypatch.setenv("NO_COLOR", value)
            assert wants_colour(None, terminal) is coloured
            assert wants_colour(None, writing) is False
            assert wants_colour(True, writing) is True
            assert wants_colour(False, terminal) is False
    finally:
        for descriptor in (reading, writing, main, terminal):
            os.close(descriptor)
