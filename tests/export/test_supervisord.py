"""A supervisord configuration, read back by supervisor's own parser where it is installed."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from procman.errors import InputError
from procman.export.base import File, Process
from procman.export.supervisord import command as quoted_command
from procman.export.supervisord import is_expressible, path, value

Export = Callable[..., dict[str, File]]

# In a process of its own: supervisor's imports warn, and it reads sys.argv.
READ = """
import json, sys
from supervisor.options import ServerOptions
options = ServerOptions()
options.configfile = sys.argv.pop()
options.realize([])
print(json.dumps([
    dict(group=group.name, name=p.name, directory=p.directory, command=p.command,
         environment=p.environment, stopsignal=p.stopsignal, stopwaitsecs=p.stopwaitsecs,
         autorestart=p.autorestart.__name__ if isinstance(p.autorestart, type) else p.autorestart)
    for group in options.process_group_configs for p in group.process_configs]))
"""


def test_it_is_one_file_with_a_program_for_each_process(export: Export) -> None:
    """honcho's file name; programs carry the app's, so that two apps fit one supervisord."""
    files = export("supervisord", Process("web.1", "run", {}), Process("web.2", "run", {}))

    assert list(files) == ["shop.conf"]
    content = files["shop.conf"].content
    assert "[program:shop-web-1]\ncommand=/bin/sh -c run\n" in content
    assert "stdout_logfile=" in content
    assert content.endswith("[group:shop]\nprograms=shop-web-1,shop-web-2\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run", "run"),
        ("a b", "'a b'"),
        ("a ; b", "'a ''; b'"),
        ("a # b", "'a ''# b'"),
        ("a;b", "'a;b'"),
        ("echo 'a'", "'echo '\"'\"'a'\"'\"''"),
    ],
)
def test_nothing_in_a_command_reads_as_a_comment(text: str, expected: str) -> None:
    """` ;` would cut the line, even in quotes; the shell-like split gives the same word."""
    assert quoted_command(text) == expected
    assert shlex.split(expected) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5000", "5000"), ("", "''"), ("a,b", "'a,b'"), ("a@b", "'a@b'"), ("it's", '"it\'s"')],
)
def test_a_value_is_quoted_where_it_must_be(text: str, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize("text", ["'a'", 'say "hi"', 'it\'s "x" y', "a ; b", "a\nb"])
def test_what_the_environment_cannot_say_is_left_to_the_shell(text: str) -> None:
    assert not is_expressible(text)


def test_a_directory_that_would_read_as_a_comment_is_an_error() -> None:
    with pytest.raises(InputError, match="cannot express the directory"):
        path("/srv/my ;app")


@pytest.mark.skipif(importlib.util.find_spec("supervisor") is None, reason="needs supervisor")
def test_supervisor_reads_every_value_as_it_was(
    export: Export,
    tmp_path: Path,
    values: dict[str, str],
    command: str,
    assert_ran: Callable[[str], None],
) -> None:
    """Its own parser accepts the file, and what it would run sees the values."""
    (tmp_path / "log").mkdir()
    export(
        "supervisord",
        Process("web.1", command, values, restart="on-failure"),
        Process("my-worker.1", "run", {}, stop_signal="INT", stop_timeout=2.5, restart="never"),
    )
    configuration = tmp_path / "supervisord.conf"
    configuration.write_text(f"[supervisord]\n[include]\nfiles={tmp_path}/supervisord/*.conf\n")

    read = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, str(configuration)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert read.returncode == 0, read.stderr
    web, worker = json.loads(read.stdout)
    assert (web["group"], web["name"]) == ("shop", "shop-web-1")
    assert web["directory"] == f"{tmp_path}/my app 100%"
    assert (web["stopsignal"], web["stopwaitsecs"], web["autorestart"]) == (
        15,
        10,
        "RestartWhenExitUnexpected",
    )
    assert worker["name"] == "shop-my-worker-1"
    assert (worker["stopsignal"], worker["stopwaitsecs"], worker["autorestart"]) == (2, 3, False)
    ran = subprocess.run(
        shlex.split(web["command"]),
        env={"PATH": "/usr/bin:/bin", **web["environment"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stderr == ""
    assert_ran(ran.stdout)
