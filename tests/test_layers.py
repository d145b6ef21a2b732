"""Imports point inward, cli → runtime → core; one inside a function counts as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "procman").rglob("*.py"))

# What sleeps, spawns, opens or reads the clock, and the face and the watcher of files.
EFFECTS = ("asyncio", "os", "socket", "subprocess", "threading", "time", "click", "watchdog")
# By these a module could import another under a name that no test can see.
LOADERS = ("importlib", "runpy", "pkgutil", "builtins")

# Layer → the modules that nothing in it may import, and with them all that is below them.
FORBIDDEN = {
    "core": (*EFFECTS, *LOADERS, "procman.runtime", "procman.cli", "procman.export"),
    "runtime": ("procman.cli", "click"),
    "errors.py": ("procman", *EFFECTS, *LOADERS),
}


def layer_of(file: Path) -> str:
    """`core` for procman/core/dyno.py, `errors.py` for procman/errors.py."""
    return file.relative_to(ROOT / "procman").parts[0]


def imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a module imports, wherever the import stands.

    `from a import b` is both `a` and `a.b`, as `b` may be a module. `module` is the dotted name,
    for relative imports.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield node.lineno, base
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                match node.args:
                    case [ast.Constant(value=str(name)), *_]:
                        yield node.lineno, name
                    case _:
                        yield node.lineno, "importlib:unknown"


def violations(source: str, module: str, forbidden: tuple[str, ...]) -> list[str]:
    """`3: socket` for each import of a forbidden module or of something in it."""
    return [
        f"{line}: {name}"
        for line, name in imports(source, module)
        if any(
            name == banned or name.startswith((f"{banned}.", f"{banned}:")) for banned in forbidden
        )
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_inward(file: Path) -> None:
    """Only cli/ may know click, only runtime/ and cli/ the operating system."""
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    forbidden = FORBIDDEN.get(layer_of(file), ())
    assert violations(file.read_text("utf-8"), module, forbidden) == []


def test_the_layers_are_where_the_guard_looks_for_them() -> None:
    assert set(FORBIDDEN) <= {layer_of(file) for file in FILES}


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path as p",
        "from os import environ",
        "import re, socket",
        "def f():\n    import time",
        "if TYPE_CHECKING:\n    from threading import Thread",
        "from procman.runtime.home import Home",
        "from procman import cli",
        "from ..runtime import home",
        "from .. import runtime",
        "__import__('socket')",
        "import importlib",
        "def f():\n    return import_module('click.' + name)",
    ],
)
def test_the_guard_sees_every_way_to_import(source: str) -> None:
    assert violations(source, "procman.core.x", FORBIDDEN["core"]) != []


@pytest.mark.parametrize(
    "source",
    [
        "import re",
        "import ossaudiodev",
        "from . import dyno",
        "from .time import x",
        "x = 'import os'",
    ],
)
def test_the_guard_lets_the_rest_pass(source: str) -> None:
    assert violations(source, "procman.core.x", FORBIDDEN["core"]) == []
