"""upstart configurations: there is no upstart any more, so the shell checks what it can."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable

from procman.export.base import File, Process

Export = Callable[..., dict[str, File]]


def test_files_have_honchos_names(export: Export) -> None:
    """One for the app, one for each type, one for each process, each following the one above."""
    files = export(
        "upstart",
        Process("web.1", "run", {}),
        Process("web.2", "run", {}),
        Process("worker.1", "run", {}),
    )

    assert list(files) == [
        "shop.conf",
        "shop-web.conf",
        "shop-web-1.conf",
        "shop-web-2.conf",
        "shop-worker.conf",
        "shop-worker-1.conf",
    ]
    assert files["shop-web.conf"].content == "start on starting shop\nstop on stopping shop\n"
    assert files["shop-web-2.conf"].content.startswith(
        "start on starting shop-web\nstop on stopping shop-web\nrespawn\n"
    )


def test_the_command_line_starts_the_command_with_every_value_as_it_was(
    export: Export, values: dict[str, str], command: str, assert_ran: Callable[[str], None]
) -> None:
    """upstart gives an `exec` with shell characters in it to /bin/sh, after the `env` lines."""
    files = export("upstart", Process("web.1", command, values))

    content = files["shop-web-1.conf"].content
    environment = {"PATH": "/usr/bin:/bin"}
    for line in content.splitlines():
        if line.startswith("env "):
            assert "\\" not in line
            (assignment,) = shlex.split(line.removeprefix("env "))
            name, _, text = assignment.partition("=")
            environment[name] = text
    (line,) = (line for line in content.splitlines() if line.startswith("exec "))
    ran = subprocess.run(
        ["sh", "-e", "-c", line],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert_ran(ran.stdout)


def test_settings_of_a_type_are_kept(export: Export) -> None:
    process = Process(
        "web.1", "run", {}, restart="on-failure", stop_signal="QUIT", stop_timeout=2.5
    )

    content = export("upstart", process)["shop-web-1.conf"].content

    assert "\nrespawn\nnormal exit 0\nkill signal QUIT\nkill timeout 3\n" in content


def test_a_process_that_is_never_restarted_is_not_respawned(export: Export) -> None:
    content = export("upstart", Process("web.1", "run", {}, restart="never"))["shop-web-1.conf"]

    assert "respawn" not in content.content
