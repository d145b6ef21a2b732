"""Which exporters are found, and what is held against what they give."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import characters, lists, text

from procman.errors import InputError, ProcmanError, UsageError
from procman.export.base import CONTROL, Context, File, Process, render, shell_export
from procman.export.expansion import ExportType, expand
from procman.export.formats import BUILT_IN, formats, load

Export = Callable[..., dict[str, File]]
PLUGIN = """
from honcho.export.base import BaseExport, File

class Export(BaseExport):
    def get_template_loader(self):
        return None
    def render(self, processes, context):
        for process in processes:
            yield File(context["app"] + "-" + process.name, process.cmd + process.env["PORT"])
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install an exporter written for honcho, under a name, in an entry point group."""

    def install(group: str, name: str, module: str = "their_export") -> None:
        metadata = tmp_path / "their_export-1.0.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text("Name: their-export\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:Export\n")
        (tmp_path / "their_export.py").write_text(PLUGIN)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    sys.modules.pop("their_export", None)


def context(**changes: str) -> Context:
    given = {
        "app": "shop",
        "app_root": "/srv/shop",
        "log": "/var/log/shop",
        "shell": "/bin/sh",
        "user": "shop",
    }
    return Context(**{**given, **changes})


def test_there_are_honchos_four_formats_and_they_are_ours() -> None:
    """honcho registers the same names; its output is what ours puts right."""
    found = formats()

    assert set(BUILT_IN) <= set(found)
    assert all(found[name].value == f"procman.export.{name}:Export" for name in BUILT_IN)


@pytest.mark.parametrize("group", ["procman_exporters", "honcho_exporters"])
def test_a_package_brings_a_format_by_an_entry_point(
    plugin: Callable[..., None], group: str
) -> None:
    """An exporter written for honcho works unchanged."""
    plugin(group, "launchd")

    files = render(load("launchd", None), [Process("web.1", "run ", {"PORT": "5000"})], context())

    assert files == [File("shop-web.1", "run 5000")]


def test_only_our_group_replaces_a_built_in_format(plugin: Callable[..., None]) -> None:
    plugin("honcho_exporters", "systemd")
    assert formats()["systemd"].value == "procman.export.systemd:Export"

    plugin("procman_exporters", "systemd")
    assert formats()["systemd"].value == "their_export:Export"


def test_an_unknown_format_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="no export format 'sytemd'") as caught:
        load("sytemd", None)

    assert caught.value.hint is not None
    assert "systemd" in caught.value.hint


def test_an_exporter_that_cannot_be_imported_is_named(plugin: Callable[..., None]) -> None:
    plugin("procman_exporters", "launchd", module="nowhere_to_be_found")

    with pytest.raises(ProcmanError, match=r"launchd .nowhere_to_be_found:Export."):
        load("launchd", None)


def test_a_template_of_ones_own_replaces_that_template_only(export: Export, tmp_path: Path) -> None:
    """Templates written for honcho work; those that the directory lacks are ours."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "process.service").write_text("{{ app }} {{ process.cmd|shellquote }}")

    files = export("systemd", Process("web.1", "a b", {}), template_dir=str(templates))

    assert files["shop-web-1.service"].content == "shop 'a b'"
    assert files["shop.target"].content.startswith("[Unit]\n")


def test_two_processes_that_want_one_file_are_an_error(export: Export) -> None:
    """upstart's files for the type web-1 and for the dyno web.1 have one name."""
    with pytest.raises(InputError, match=r"two processes want the file shop-web-1\.conf"):
        export("upstart", Process("web.1", "run", {}), Process("web-1.1", "run", {}))


class Escaping:
    """An exporter that writes where it should not."""

    def render(self, processes: Sequence[Process], context: dict[str, object]) -> list[File]:
        return [File("../passwd", "")]


def test_an_exporter_cannot_leave_the_directory() -> None:
    with pytest.raises(InputError, match=r"outside of the target: \.\./passwd"):
        render(Escaping(), [], context())


@pytest.mark.parametrize(
    "changes",
    [
        {"app": "my shop"},
        {"app": "../shop"},
        {"user": "me;reboot"},
        {"user": ""},
        {"shell": "sh"},
        {"log": "/var/my log"},
        {"app_root": "/srv/a\nb"},
    ],
)
def test_what_no_supervisor_could_read_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        context(**changes)


def test_ports_go_by_the_index_over_the_whole_procfile() -> None:
    """A type that is left out keeps its hundred: foreman's rule."""
    types = {name: ExportType("run") for name in ("web", "clock", "worker")}

    processes = expand(types, {"web": 2, "clock": 0, "worker": 1}, {"A": "1", "PORT": "9"}, 5000)

    assert [(p.name, p.env["PORT"]) for p in processes] == [
        ("web.1", "5000"),
        ("web.2", "5001"),
        ("worker.1", "5200"),
    ]
    assert processes[0].env["PROCMAN_WORKER_PORT"] == "5200"
    assert processes[0].env["DYNO"] == "web.1"
    assert processes[0].env["A"] == "1"
    assert not any("COOKIE" in name for name in processes[0].env)


def test_a_config_var_that_no_shell_could_name_is_an_error() -> None:
    """It would become a file's name, or a line, in somebody's init system."""
    with pytest.raises(InputError, match=r"'\.\./\.\./x' cannot be exported"):
        expand({"web": ExportType("run")}, {"web": 1}, {"../../x": "1"}, 5000)


def test_a_value_without_control_characters_stays_readable() -> None:
    assert shell_export("A", "b c") == "export A='b c';"


@settings(max_examples=25)
@given(lists(text(characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=20))
def test_any_value_goes_through_a_shell_unchanged(values: list[str]) -> None:
    """What a format cannot express is set by the command itself, on one line."""
    exports = [shell_export(f"V{number}", value) for number, value in enumerate(values)]
    assert not any(CONTROL.search(line) for line in exports)
    shown = "".join(f' "$V{number}"' for number in range(len(values)))

    ran = subprocess.run(
        ["sh", "-c", " ".join([*exports, "printf '%s\\0'", shown])],
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert ran.stdout.decode().split("\0") == [*values, ""]
