"""What bin/release prints is read, and what a buildpack sees is no more than Heroku shows it."""

from __future__ import annotations

import pytest

from procman.core.buildpack import environment, parse_release
from procman.errors import InputError


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("", {}),
        ("--- {}\n", {}),
        ("---\naddons: []\nconfig_vars: {}\n", {}),
        ("---\ndefault_process_types: {}\n", {}),
        ("---\ndefault_process_types:\n  web: node server.js\n", {"web": "node server.js"}),
        (
            "---\naddons:\n  - heroku-postgresql\ndefault_process_types:\n"
            "  # a comment\n  web: 'it''s: here'\n"
            '  "worker": "say \\"x\\""\n\nother:\n  a: b\n',
            {"web": "it's: here", "worker": 'say "x"'},
        ),
    ],
)
def test_default_process_types_are_read(text: str, types: dict[str, str]) -> None:
    """The YAML of real buildpacks, and no more of it."""
    assert parse_release(text, path="bin/release").process_types == types


@pytest.mark.parametrize(
    "text",
    [
        "default_process_types: [web]\n",
        "default_process_types:\n  - web\n",
        "default_process_types:\n  web:\n",
        "default_process_types:\n  'rake task': rake\n",
        "default_process_types:\n  ../up: x\n",
    ],
)
def test_other_yaml_is_an_error_that_names_the_line(text: str) -> None:
    """Rather than a type that is silently missing."""
    with pytest.raises(InputError, match=r"^bin/release:\d: expected"):
        parse_release(text, path="bin/release")


def test_a_buildpack_does_not_see_the_callers_environment() -> None:
    """Config vars are files in ENV_DIR; the caller's secrets are nowhere."""
    seen = environment(
        {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET": "x", "HTTPS_PROXY": "p", "PORT": "1"},
        stack="linux-x86_64",
        commit="abc",
    )
    assert seen == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "HTTPS_PROXY": "p",
        "STACK": "linux-x86_64",
        "SOURCE_VERSION": "abc",
    }
    assert "SOURCE_VERSION" not in environment({}, stack="s", commit=None)
