"""What every process is told by its environment."""

from __future__ import annotations

import pytest

from procman.core.environment import COOKIE, dyno_environment, port_variable


def environment(**changes: str) -> dict[str, str]:
    """Of worker.2 in an app of web, worker and my-job; `changes` are config vars."""
    return dyno_environment(
        changes,
        dyno="worker.2",
        cookie="c0.worker.2.1.",
        port=5101,
        type_ports={"web": 5000, "worker": 5100, "my-job": 5200},
    )


def test_a_dyno_is_told_who_it_is_and_where_the_others_listen() -> None:
    """DYNO is Heroku's, PS foreman's; its own type's port is PORT alone."""
    assert environment() == {
        "PYTHONUNBUFFERED": "1",
        "DYNO": "worker.2",
        "PS": "worker.2",
        "PORT": "5101",
        "PROCMAN_WEB_PORT": "5000",
        "PROCMAN_MY_JOB_PORT": "5200",
        COOKIE: "c0.worker.2.1.",
    }


@pytest.mark.parametrize("name", ["DYNO", "PS", "PORT", COOKIE])
def test_a_config_var_cannot_take_the_place_of_what_procman_tells(name: str) -> None:
    """A procman within a dyno of another starts afresh."""
    assert environment(**{name: "mine"})[name] == environment()[name]


def test_the_app_may_buffer_pythons_output_if_it_says_so() -> None:
    """Set, even to nothing, it is left alone."""
    assert environment(PYTHONUNBUFFERED="")["PYTHONUNBUFFERED"] == ""


def test_a_types_own_settings_beat_the_config_vars() -> None:
    """`[types.worker] env`."""
    found = dyno_environment(
        {"A": "config", "B": "config"},
        dyno="worker.1",
        cookie="c",
        port=None,
        type_ports={},
        release="v7",
        extra={"A": "type"},
    )
    assert (found["A"], found["B"]) == ("type", "config")
    assert found["PROCMAN_RELEASE"] == "v7"
    assert "PORT" not in found


def test_the_callers_port_does_not_leak_into_a_one_off() -> None:
    """It has none; what the user exported is the user's."""
    found = dyno_environment({}, dyno="run.1", cookie="c", port=None, type_ports={})
    assert "PORT" not in found


def test_port_variables_are_names_that_a_shell_can_read() -> None:
    """A dash is no letter of a variable."""
    assert port_variable("my-job") == "PROCMAN_MY_JOB_PORT"
