"""What `ready` and `after` may say, and what a mistake in them is told."""

from __future__ import annotations

import pytest

from procman.core.dyno import Exited, Policy, Ready, Restart, Say, Spawn
from procman.core.fleet import Fleet, Phase, ProcessType
from procman.core.readiness import (
    Delay,
    Exec,
    Finished,
    Http,
    Log,
    Port,
    Readiness,
    Spawned,
    check_order,
    parse_readiness,
)
from procman.core.settings import Settings, Table, TypeSettings
from procman.errors import InputError


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("port", Port()),
        (" port ", Port()),
        ("spawned", Spawned()),
        ("finished", Finished()),
        ("http:/", Http("/")),
        ("http: /health?deep=1", Http("/health?deep=1")),
        ("log:listening on \\d+", Log("listening on \\d+")),
        ("log: ready: yes", Log("ready: yes")),
        ("exec:pg_isready -h localhost", Exec("pg_isready -h localhost")),
        ("delay:2s", Delay("2s")),
        ("delay:500ms", Delay("500ms")),
    ],
)
def test_each_check_is_read(text: str, check: Readiness) -> None:
    """Kind and argument, and one kind is not another."""
    assert parse_readiness(text, "x") == check
    assert type(parse_readiness(text, "x")) is type(check)


def test_checks_without_an_argument_differ() -> None:
    """They have the same field."""
    checks: list[Readiness] = [Port(), Spawned(), Finished()]
    assert all(a != b for a in checks for b in checks if a is not b)


def test_a_delay_has_seconds() -> None:
    """As all durations."""
    assert Delay("1m").seconds == 60.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ports",
        "port:80",
        "http",
        "http:",
        "http:health",
        "http:/a b",
        "http:/\u00e4",
        "http:/a\r\nX: y",
        "log:",
        "log:(",
        "exec: ",
        "delay:",
        "delay:soon",
        "tcp:80",
    ],
)
def test_what_is_no_check_is_an_error_that_names_its_place(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InputError) as error:
        parse_readiness(text, "procman.toml: types.db.ready")
    assert str(error.value).startswith("procman.toml: types.db.ready: ")


@pytest.mark.parametrize(
    "after",
    [
        {},
        {"web": []},
        {"web": ["db", "cache"], "db": [], "cache": ["db"]},
        {"a": ["b"], "b": ["c"], "c": [], "d": ["a", "b", "c"]},
    ],
)
def test_an_order_without_a_circle_is_fine(after: dict[str, list[str]]) -> None:
    """Also where two ways lead to one type."""
    check_order(after)


@pytest.mark.parametrize(
    ("after", "circle"),
    [
        ({"a": ["a"]}, "a after a"),
        ({"a": ["b"], "b": ["a"]}, "a after b after a"),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, "a after b after c after a"),
    ],
)
def test_a_circle_is_shown(after: dict[str, list[str]], circle: str) -> None:
    """From where it begins."""
    with pytest.raises(InputError, match=circle):
        check_order(after)


def settings_of(values: dict[str, object]) -> TypeSettings:
    """The settings of `web` in an app with web and db."""
    table = Table("procman.toml", {"types": {"web": values}})
    return Settings({}, {}, [table], []).types(["web", "db"])["web"]


def test_ready_and_after_are_settings_of_a_type() -> None:
    """One name or a list of names."""
    settings = settings_of({"ready": "http:/up", "after": ["db"]})
    assert (settings.ready, settings.after) == (Http("/up"), ("db",))
    assert settings_of({"after": "db"}).after == ("db",)
    assert settings_of({"ready": "port"}) == TypeSettings(ready=Port())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"after": ["we"]}, "did you mean 'web'"),
        ({"after": ["nothing"]}, "there are: db, web"),
        ({"after": 3}, "a list of process types"),
        ({"after": [3]}, "a list of process types"),
        ({"ready": 3}, "a string"),
    ],
)
def test_an_unknown_name_is_an_error(values: dict[str, object], told: str) -> None:
    """With the nearest right one."""
    with pytest.raises(InputError) as error:
        settings_of(values)
    assert told in f"{error.value} {error.value.hint}"
    assert "procman.toml: types.web." in str(error.value)


# --- what the fleet makes of it ---


def fleet_of(*types: ProcessType) -> Fleet:
    """An app with these types."""
    return Fleet({process_type.name: process_type for process_type in types})


def spawned(effects: tuple[object, ...]) -> list[str]:
    """The dynos that boot."""
    return [effect.dyno for effect in effects if isinstance(effect, Spawn)]


def test_a_type_boots_when_all_that_it_comes_after_is_ready_or_finished() -> None:
    """Not before the last of them, and at once then."""
    fleet = fleet_of(
        ProcessType("web", "w", after=("db", "migrate")),
        ProcessType("db", "d"),
        ProcessType("migrate", "m", after=("db",), ready=Finished()),
    )
    assert spawned(fleet.scale({"web": 1, "db": 2, "migrate": 1}, 0.0)) == ["db.1", "db.2"]
    assert spawned(fleet.observe(Ready("db.1", 1), 1.0)) == []
    assert spawned(fleet.observe(Ready("db.2", 1), 2.0)) == ["migrate.1"]
    assert fleet.waits_for("web") == ["migrate"]
    assert spawned(fleet.observe(Exited("migrate.1", 1, 0), 3.0)) == ["web.1"]


def test_a_restart_of_all_that_was_stopped_keeps_the_order() -> None:
    """Whatever the order of the Procfile."""
    fleet = fleet_of(ProcessType("web", "w", after=("db",)), ProcessType("db", "d"))
    fleet.scale({"web": 1, "db": 1}, 0.0)
    fleet.observe(Ready("db.1", 1), 1.0)
    fleet.observe(Ready("web.1", 1), 1.0)
    fleet.stop(["web.1", "db.1"], 2.0)
    fleet.observe(Exited("web.1", 1, -15), 3.0)
    fleet.observe(Exited("db.1", 1, -15), 3.0)
    assert spawned(fleet.restart(["web.1", "db.1"], 4.0)) == ["db.1"]
    assert spawned(fleet.observe(Ready("db.1", 2), 5.0)) == ["web.1"]


def test_an_app_whose_first_step_failed_for_good_ends_with_its_status() -> None:
    """What waits for it would wait for ever."""
    fleet = fleet_of(
        ProcessType("migrate", "m", Policy(restart=Restart.NEVER), ready=Finished()),
        ProcessType("web", "w", after=("migrate",)),
    )
    fleet.scale({"migrate": 1, "web": 1}, 0.0)
    fleet.observe(Exited("migrate.1", 1, 7), 1.0)
    assert (fleet.phase, fleet.status) == (Phase.ENDING, 7)
    assert fleet.is_over


def test_an_app_whose_first_step_keeps_crashing_gives_up_and_says_so() -> None:
    """As it does where nothing waits."""
    fleet = fleet_of(ProcessType("db", "d", ready=Port()), ProcessType("web", "w", after=("db",)))
    fleet.scale({"db": 1, "web": 1}, 0.0)
    said: list[str] = []
    now = 0.0
    for boot in range(1, 10):
        effects = fleet.observe(Exited("db.1", boot, 1), now)
        said += [effect.text for effect in effects if isinstance(effect, Say)]
        if fleet.is_ending:
            break
        now = fleet.deadline or now
        fleet.tick(now)
    assert (fleet.phase, fleet.status) == (Phase.ENDING, 1)
    assert "giving up" in said[-1]


def test_an_app_that_waits_for_what_still_starts_goes_on() -> None:
    """Nobody is done, nobody is broken."""
    fleet = fleet_of(ProcessType("db", "d", ready=Port()), ProcessType("web", "w", after=("db",)))
    fleet.scale({"db": 1, "web": 1}, 0.0)
    fleet.tick(30.0)
    assert not fleet.is_ending
