"""Where a value comes from, and what is said about one that cannot be understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from procman.core.settings import Settings, Table, TypeSettings, environment_variable
from procman.errors import InputError, UsageError

KNOWN = ("stop_timeout", "max_restarts", "fail_fast", "restart", "quiet", "procfile", "port")


def settings(
    command_line: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    near: Mapping[str, object] | None = None,
    far: Mapping[str, object] | None = None,
) -> Settings:
    """Four layers, of which the files are `procman.toml` and `pyproject.toml`."""
    tables = [Table("procman.toml", near or {}), Table("pyproject.toml: tool.procman", far or {})]
    return Settings(command_line or {}, environ or {}, tables, KNOWN)


# --- precedence ---


def test_what_is_nearer_to_the_fingers_wins() -> None:
    """Command line, PROCMAN_*, procman.toml, pyproject.toml, nothing."""
    layers: list[Callable[[], Settings]] = [
        lambda: settings({"port": "1"}, {"PROCMAN_PORT": "2"}, {"port": 3}, {"port": 4}),
        lambda: settings({}, {"PROCMAN_PORT": "2"}, {"port": 3}, {"port": 4}),
        lambda: settings({}, {}, {"port": 3}, {"port": 4}),
        lambda: settings({}, {}, {}, {"port": 4}),
        settings,
    ]
    assert [layer().text("port") for layer in layers] == ["1", "2", "3", "4", None]


@pytest.mark.parametrize("absent", [None, ()])
def test_an_option_that_nobody_gave_is_no_value(absent: object) -> None:
    """click's None and empty tuple leave the word to the layers below."""
    assert settings({"quiet": absent}, {"PROCMAN_QUIET": "web"}).words("quiet") == ["web"]


def test_false_on_the_command_line_is_a_value() -> None:
    """`--no-fail-fast` beats a file that says true."""
    found = settings({"fail_fast": False}, {}, {"fail_fast": True})
    assert found.flag("fail_fast") is False
    assert found.maybe_flag("fail_fast") is False


def test_the_environment_variable_is_the_options_name() -> None:
    """`--stop-timeout` is PROCMAN_STOP_TIMEOUT."""
    assert environment_variable("stop_timeout") == "PROCMAN_STOP_TIMEOUT"


# --- each kind of value ---


def read(getter: str, found: Settings, name: str) -> object:
    """By the getter of that name."""
    if getter == "choice":
        return found.choice(name, ("always", "never"))
    method: Callable[[str], object] = getattr(found, getter)
    return method(name)


@pytest.mark.parametrize(
    ("getter", "value", "wanted"),
    [
        ("text", "5000", "5000"),
        ("text", 5000, "5000"),
        ("flag", True, True),
        ("flag", "yes", True),
        ("flag", "ON", True),
        ("flag", "1", True),
        ("flag", "no", False),
        ("flag", "", False),
        ("integer", 0, 0),
        ("integer", "12", 12),
        ("duration", "5m", 300.0),
        ("duration", 1.5, 1.5),
        ("choice", "never", "never"),
        ("words", "a,b c", ["a", "b", "c"]),
        ("words", ["a,b", "c"], ["a", "b", "c"]),
        ("words", ("a", "b"), ["a", "b"]),
        ("words", "", []),
    ],
)
def test_a_value_is_read_as_it_is_written(getter: str, value: object, wanted: object) -> None:
    """Files have types, the environment has only text: both are understood."""
    assert read(getter, settings(near={"port": value}), "port") == wanted


@pytest.mark.parametrize(
    ("getter", "value"),
    [
        ("text", True),
        ("text", ["a"]),
        ("text", 1.5),
        ("flag", "maybe"),
        ("flag", 1),
        ("integer", True),
        ("integer", -1),
        ("integer", "-1"),
        ("integer", "1e3"),
        ("integer", "\u0663"),
        ("integer", "9" * 5000),
        ("duration", "soon"),
        ("duration", True),
        ("duration", {}),
        ("duration", "-1s"),
        ("choice", "sometimes"),
        ("choice", 1),
        ("words", 5),
        ("words", ["a", 5]),
        ("words", {"a": "b"}),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_origin(getter: str, value: object) -> None:
    """Wherever it stood; typed as an option, it is a wrong call."""
    with pytest.raises(InputError, match=r"^procman\.toml: port: "):
        read(getter, settings(near={"port": value}), "port")
    with pytest.raises(InputError, match=r"^pyproject\.toml: tool\.procman: port: "):
        read(getter, settings(far={"port": value}), "port")
    with pytest.raises(UsageError, match=r"^--port: "):
        read(getter, settings({"port": value}), "port")
    if isinstance(value, str):
        with pytest.raises(InputError, match=r"^PROCMAN_PORT: "):
            read(getter, settings(environ={"PROCMAN_PORT": value}), "port")


@pytest.mark.parametrize(
    ("getter", "wanted"),
    [
        ("text", None),
        ("flag", False),
        ("maybe_flag", None),
        ("integer", None),
        ("duration", None),
        ("choice", None),
        ("words", []),
    ],
)
def test_what_nobody_gave_is_nothing(getter: str, wanted: object) -> None:
    """The default is the caller's."""
    assert read(getter, settings(), "port") == wanted


# --- unknown keys ---


def test_an_unknown_key_is_an_error_with_the_nearest_right_name() -> None:
    """In either file, at once, whether it is asked for or not."""
    with pytest.raises(InputError, match=r"procman\.toml: unknown setting 'stop_timout'") as caught:
        settings(near={"stop_timout": "1s"})
    assert caught.value.hint == "did you mean 'stop_timeout'?"
    with pytest.raises(InputError, match=r"tool\.procman: unknown setting 'frobnicate'") as caught:
        settings(far={"frobnicate": 1})
    assert caught.value.hint is not None
    assert "stop_timeout" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "name"),
    [("formation", "concurrency"), ("colour", "color"), ("formaton", "concurrency")],
)
def test_an_options_other_long_name_leads_to_the_right_one(key: str, name: str) -> None:
    """`formation` is `--formation` to the fingers; `log_format` only looks like it."""
    known = ["concurrency", "color", "log_format"]
    with pytest.raises(InputError, match=f"unknown setting '{key}'") as caught:
        Settings({}, {}, [Table("procman.toml", {key: "x"})], known)
    assert caught.value.hint == f"did you mean {name!r}?"


# --- [types.NAME] ---


def types(near: object, far: object = None) -> dict[str, TypeSettings]:
    """The types tables of the two files, for an app of web and worker."""
    found = settings(near={"types": near}, far={} if far is None else {"types": far})
    return found.types(["web", "worker"])


def test_the_types_table_is_read_key_by_key_and_the_nearer_file_wins() -> None:
    """procman.toml changes one key, pyproject.toml keeps the others."""
    found = types(
        {"worker": {"restart": "never"}},
        {"worker": {"restart": "always", "stop_timeout": "1m", "max_restarts": 3}},
    )
    assert found == {"worker": TypeSettings(restart="never", stop_timeout=60.0, max_restarts=3)}


def test_a_types_config_vars_are_text_as_it_was_written() -> None:
    """Numbers and truth values as TOML writes them."""
    found = types({"web": {"env": {"PORT": 80, "DEBUG": True, "NAME": "x=y"}}})
    assert found["web"].env == {"PORT": "80", "DEBUG": "true", "NAME": "x=y"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "types: .* is not a table"),
        ({"wob": {}}, "types: unknown process type 'wob'"),
        ({"web": "x"}, r"types\.web: 'x' is not a table"),
        ({"web": {"comand": "x"}}, r"types\.web: unknown setting 'comand'"),
        ({"web": {"restart": "sometimes"}}, r"types\.web\.restart: 'sometimes' is not one of"),
        ({"web": {"max_restarts": -1}}, r"types\.web\.max_restarts: -1 is not a number"),
        ({"web": {"stop_signal": 15}}, r"types\.web\.stop_signal: 15 is not a string"),
        ({"web": {"stop_timeout": "x"}}, r"types\.web\.stop_timeout: 'x' is not a duration"),
        ({"web": {"command": ["x"]}}, r"types\.web\.command: \['x'\] is not a string"),
        ({"web": {"command": " "}}, r"types\.web\.command: ' ' is not a command"),
        ({"web": {"command": "x\0y"}}, r"types\.web\.command: "),
        ({"web": {"env": "A=1"}}, r"types\.web\.env: not a table of strings"),
        ({"web": {"env": {"A": []}}}, r"types\.web\.env: not a table of strings"),
        ({"web": {"env": {"A=B": "1"}}}, r"types\.web\.env: 'A=B' cannot be a config var"),
        ({"web": {"env": {"": "1"}}}, r"types\.web\.env: '' cannot be a config var"),
        ({"web": {"env": {"A": "x\0"}}}, r"types\.web\.env: 'A' cannot be a config var"),
    ],
)
def test_a_mistake_in_the_types_table_is_told_with_its_place(table: object, message: str) -> None:
    """File, table and key."""
    with pytest.raises(InputError, match=rf"^procman\.toml: {message}"):
        types(table)


def test_a_wrong_config_var_is_told_without_its_value() -> None:
    """It may be a secret."""
    with pytest.raises(InputError) as caught:
        types({"web": {"env": {"PASSWORD": ["hunter2"], "A": "x"}}})
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
