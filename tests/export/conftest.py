"""What every format has to carry: values and a command that break careless quoting."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from procman.export.base import Context, File, Process, render
from procman.export.formats import load

VALUES = {
    "PLAIN": "5000",
    "BLANKS": "b  c",
    "QUOTE": "it's",
    "DOUBLE": 'say "hi"',
    "BOTH": 'it\'s "x" y',
    "PERCENT": "100%d %(x)s %n %%",
    "DOLLAR": "$HOME ${X:-1} $$ `ls`",
    "BACK": "a\\nb\\",
    "SEMI": "a ; b # c",
    "COMMA": "a,b=c",
    "EMPTY": "",
    "LINES": "one\ntwo\n\n",
    "TAIL": "x  ",
    "TAB": "a\tb",
    "RETURN": "a\rb",
    "ESCAPE": "\x1b[1m",
    "LETTERS": "grüße 🎉",
    "DASH": "-n \n",
    "AT": "user@host",
}

PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
COMMAND = (
    f"{sys.executable} -c '{PRINT}'; "
    "echo \"it's ; # $PLAIN ${NOPE:-dflt} 100% \\\\x\" && A=1 sh -c 'echo $A'"
)


@pytest.fixture
def values() -> dict[str, str]:
    return dict(VALUES)


@pytest.fixture
def command() -> str:
    """Prints the environment as JSON, then the two lines that `assert_ran` looks for."""
    return COMMAND


@pytest.fixture
def assert_ran() -> Callable[[str], None]:
    """Hold the output of COMMAND to what a shell with VALUES in its environment prints."""

    def check(output: str) -> None:
        environment, said, last = output.splitlines()
        seen = json.loads(environment)
        assert {name: seen.get(name) for name in VALUES} == VALUES
        assert said == "it's ; # 5000 dflt 100% \\x"
        assert last == "1"

    return check


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., dict[str, File]]:
    """Render a format and write it to tmp_path/FORMAT; the app's directory has blanks and signs."""

    def run(
        name: str, *processes: Process, user: str = "root", template_dir: str | None = None
    ) -> dict[str, File]:
        root = tmp_path / "my app 100%"
        root.mkdir(exist_ok=True)
        context = Context("shop", str(root), str(tmp_path / "log"), "/bin/sh", user)
        files = render(load(name, template_dir), processes, context)
        for file in files:
            path = tmp_path / name / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content.encode())
            if file.executable:
                path.chmod(0o755)
        return {file.name: file for file in files}

    return run
