"""An app in a git repository, to be released: its web dyno answers with what its files say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.conftest import Sandbox
from tests.end_to_end.test_watch import SERVER
from tests.end_to_end.web import Site, free_port

WEB = f"exec {sys.executable} -S web.py"
# Writes into its own copy, which nobody else sees, and says what it is of.
WORKER = "echo $DYNO >>mine; echo works $PROCMAN_RELEASE; ls; exec sleep 9999"
RELEASE = "echo releasing; test ! -e bad"
PROCFILE = f"web: {WEB}\nworker: {WORKER}\nrelease: {RELEASE}\n"


@dataclass
class ReleaseApp:
    """The directory, its repository, and what is typed in it."""

    sandbox: Sandbox

    @property
    def root(self) -> Path:
        return self.sandbox.root

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """With a name of its own, and no settings of the machine's."""
        name = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b.invalid",
            "-c",
            "init.defaultBranch=main",
        ]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PROCMAN_"))}
        environ |= {"HOME": str(self.root.parent), "GIT_CONFIG_NOSYSTEM": "1"}
        environ |= {"XDG_RUNTIME_DIR": str(self.root.parent / "runtime")}
        return subprocess.run(
            ["git", *name, *arguments],
            cwd=self.root,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def commit(self, version: int) -> str:
        """Save that version and commit all; the commit's id."""
        self.sandbox.write("lib.py", f"VERSION = {version}\n")
        assert self.git("add", "--all").returncode == 0
        made = self.git("commit", "--quiet", "--allow-empty", "-m", f"version {version}")
        assert made.returncode == 0, made.stderr
        return self.git("rev-parse", "HEAD").stdout.strip()

    def procman(self, *arguments: str) -> tuple[int, str]:
        """The status and the words of a command."""
        running = self.sandbox.procman(*arguments)
        return running.finish(), running.text

    def done(self, *arguments: str) -> str:
        """The words of a command that went well."""
        status, text = self.procman(*arguments)
        assert status == 0, text
        return text

    def start(self, *options: str) -> Site:
        """`procman start --release`, up."""
        port = free_port()
        app = self.sandbox.procman("start", "--release", "-p", str(port), *options)
        app.until("web is at")
        site = Site(self.sandbox, app, port)
        site.done("wait")
        return site


def release_app(sandbox: Sandbox) -> ReleaseApp:
    """Committed once, with a secret beside it."""
    app = ReleaseApp(sandbox)
    sandbox.write("web.py", SERVER)
    sandbox.write("Procfile", PROCFILE)
    sandbox.write(".gitignore", ".env\n.procman\n")
    sandbox.write(".env", "GREETING=top-secret\n")
    assert app.git("init", "--quiet").returncode == 0
    app.commit(100)
    return app
