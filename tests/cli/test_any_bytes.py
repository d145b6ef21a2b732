"""Whatever stands in an app's files, procman knows what to run or says what is wrong, and where."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from procman.cli.options import OPTION_NAMES
from procman.cli.plan import plan
from procman.core.settings import TYPE_KEYS
from procman.errors import InputError, ProcmanError
from procman.runtime.inputs import read_inputs

PROCFILE = b"web: a\nworker: b\nrelease: c\n"

# TOML that is nearly right: the real keys with values of every kind.
VALUES = st.sampled_from(
    [
        *(
            "true",
            "false",
            "0",
            "-1",
            "9" * 30,
            "9" * 5000,
            "0x" + "f" * 5000,
            "1e400",
            "nan",
            "inf",
        ),
        *('""', '"30s"', '"web"', '"\\u0000"', '"\\uffff"', '"port"', '"log:("', '"log:.*"', "''"),
        *('"all=1"', '"web=2,worker=0"', '"TERM"', '"http:/x"', '"-f"', '"Procfile"', '"auto"'),
        *("[]", '["web"]', '["worker", "web"]', "[1]", "{}", '{ A = "x" }', '{ A = "\\u0000" }'),
        *('{ "" = "x" }', '{ "=" = "x" }', "1979-05-27T07:32:00Z", "07:32:00", "[" * 3000),
        *("{ A = " + "0x" + "f" * 5000 + " }", "{ a = " * 500, "[[1], [[]]]"),
    ]
)
KEYS = st.sampled_from([*sorted(OPTION_NAMES), "types", "nonsense", '""'])
TABLES = st.sampled_from(["", "[types.web]\n", "[types.worker]\n", "[types]\n", "[types.none]\n"])
LINES = st.builds("{} = {}\n".format, KEYS | st.sampled_from(TYPE_KEYS), VALUES)
SECTIONS = st.builds("{}{}".format, TABLES, st.lists(LINES, max_size=3).map("".join))
TOML = st.lists(SECTIONS, max_size=3).map("".join).map(str.encode) | st.binary(max_size=60)


def understood(files: dict[str, bytes], environ: dict[str, str]) -> None:
    """What runs is known, or an error tells where, in words that can be shown."""
    with tempfile.TemporaryDirectory() as root:
        for name, data in files.items():
            (Path(root) / name).write_bytes(data)
        try:
            inputs = read_inputs({"app_root": root}, environ, OPTION_NAMES)
            inputs.procfile.require_valid()
            app = plan(inputs, (), any_port=True)
        except ProcmanError as error:
            _require_place(error, [*files, *environ, os.path.basename(root)])
            return
        for of_type in app.types.values():
            assert of_type.command.encode(errors="surrogateescape")
        for table in (app.config_vars, *app.extra.values()):
            for name, value in table.items():
                assert name
                assert "=" not in name
                assert "\0" not in name + value


def _require_place(error: ProcmanError, names: Sequence[str]) -> None:
    """In which of these it stands; or, where the words of several go together, what to do."""
    assert error.message.encode(errors="replace")
    assert error.hint or any(name in error.message for name in names), error.message


@given(TOML)
@example(b"stop_timeout = " + b"9" * 5000)
@example(b"stop_timeout = " + b"[" * 100_000)
@example(b"[types.web]\nenv = { A = 0x" + b"f" * 5000 + b" }")
@example(b"[types.web]\nmax_restarts = 0x" + b"f" * 5000)
@example(b"idle_timeout = 0x" + b"f" * 5000)
def test_any_settings_file_is_understood_or_refused_by_name(data: bytes) -> None:
    """Numbers that Python cannot print, nests that it cannot follow."""
    understood({"Procfile": PROCFILE, "procman.toml": data}, {})


@given(TOML)
def test_any_section_of_pyproject_is_understood_or_refused_by_name(data: bytes) -> None:
    data = b"[tool.procman]\n" + data.replace(b"[types", b"[tool.procman.types")
    understood({"Procfile": PROCFILE, "pyproject.toml": data}, {})


@given(st.sampled_from(sorted(OPTION_NAMES)), st.text(max_size=20) | VALUES)
def test_any_variable_is_understood_or_refused_by_name(option: str, text: str) -> None:
    """`PROCMAN_…`; the environment itself holds no NUL."""
    environ = {f"PROCMAN_{option.upper()}": text.replace("\0", "")}
    if option not in ("app_root", "procfile", "env"):  # those name other files
        understood({"Procfile": PROCFILE}, environ)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_procfile_and_env_file_are_understood_or_refused_by_name(
    procfile: bytes, env: bytes
) -> None:
    """Together, as `start` reads them."""
    understood({"Procfile": procfile, ".env": env}, {})
    understood({"Procfile": PROCFILE, ".env": env}, {})


@pytest.mark.parametrize("name", ["procman.toml", "pyproject.toml", ".env", "Procfile"])
def test_a_directory_in_a_files_place_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """But `.env`, which may be a virtual environment, is passed over."""
    (tmp_path / "Procfile").write_bytes(PROCFILE)
    if name == "Procfile":
        (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    try:
        read_inputs({"app_root": str(tmp_path)}, {}, OPTION_NAMES)
    except InputError as error:
        assert name in error.message  # noqa: PT017  # either outcome is right
    else:
        assert name == ".env"
