"""`procman slug` talks to people on standard error and to scripts on standard output."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from procman.cli import cli
from procman.cli.slug import slug
from procman.errors import InputError, SlugError


@pytest.fixture
def app(tmp_path: Path) -> Path:
    root = tmp_path / "app"
    root.mkdir()
    (root / "Procfile").write_text("web: python app.py\n")
    (root / "app.py").write_text("print(1)\n" * 1000)
    return root


def call(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(slug, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_build_prints_the_id_alone_on_standard_output(app: Path, tmp_path: Path) -> None:
    """The log is for people, the id for the next command."""
    result = call("build", "-d", app, "-o", tmp_path / "app.tgz")
    digest = result.stdout.strip()
    assert len(digest) == 64
    assert "-----> Compressing...\n       Done: " in result.stderr
    assert "Procfile declares types -> web" in result.stderr
    facts = json.loads((tmp_path / "app.tgz.json").read_text())
    assert facts["checksum"] == f"SHA256:{digest}"
    assert facts["process_types"] == {"web": "python app.py"}


def test_build_gives_a_buildpack_the_apps_config_vars(app: Path) -> None:
    """As `deploy` does: what needs a token to install needs it here as well."""
    (app / ".env").write_text("TOKEN=s3cret\n")
    (app / "bin").mkdir()
    for name, script in (("detect", ""), ("compile", 'cat "$3/TOKEN"')):
        (app / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (app / "bin" / name).chmod(0o755)
    assert "s3cret\n-----> Discovering" in call("build", "-d", app).stderr


@pytest.mark.parametrize("commit", [False, True])
def test_files_of_config_vars_are_in_no_slug_whatever_they_are_called(
    app: Path, monkeypatch: pytest.MonkeyPatch, commit: bool
) -> None:
    """Named by -e or by the settings, by what leads to them, committed by mistake."""
    (app / "config").mkdir()
    (app / "config/prod.vars").write_text("TOKEN=s3cret\n")
    (app / "config/kept.vars").write_text("no config vars\n")
    (app / "more.vars").symlink_to("hidden")
    (app / "hidden").write_text("KEY=s3cret\n")
    (app / "procman.toml").write_text('env = "config/prod.vars, more.vars"\n')
    given: list[str | Path] = ["-d", app]
    if commit:
        (app / "procman.toml").unlink()
        monkeypatch.chdir(app / "config")
        given = ["-d", app, "-e", "prod.vars", "-e", "more.vars", "--git", "HEAD"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            subprocess.run(["git", *identity, *words], cwd=app, check=True)
    listed = call("inspect", "-d", app, call("build", *given).stdout.strip()).stdout
    assert "kept.vars" in listed
    assert not {"prod.vars", "more.vars", "hidden"} & set(re.split(r"[\s/]+", listed))


def test_a_slug_written_into_the_app_is_not_in_the_next(app: Path) -> None:
    """Nor its metadata: the same files stay the same slug."""
    (app / "data.tgz").write_text("the app's own")
    ids = {call("build", "-d", app, "-o", app / "app.tgz").stdout for _ in range(3)}
    assert len(ids) == 1
    listed = call("inspect", "-d", app, ids.pop().strip()).stdout
    assert "data.tgz" in listed
    assert "app.tgz" not in listed


def test_a_slug_in_the_app_is_in_no_slug_that_is_built_elsewhere_or_deployed(
    app: Path, tmp_path: Path
) -> None:
    """Whatever it is called, in a directory too, and whichever half of it .slugignore names."""
    (app / "build").mkdir()
    (app / "build/kept.py").write_text("")
    (app / ".slugignore").write_text("*.slug\n")
    bare = call("build", "-d", app).stdout
    for name in ("app.tgz", "build/v1.slug"):
        call("build", "-d", app, "-o", app / name)
    assert call("build", "-d", app, "-o", tmp_path / "other.tgz").stdout == bare
    assert CliRunner().invoke(cli, ["deploy", "-d", str(app)]).exit_code == 0
    told = CliRunner().invoke(cli, ["releases", "-d", str(app), "--json"]).stdout
    assert [one["slug"] for one in json.loads(told)] == [bare.strip()]


@pytest.mark.parametrize("commit", [False, True])
def test_a_line_of_the_procfile_that_declares_nothing_is_told(
    app: Path, monkeypatch: pytest.MonkeyPatch, commit: bool
) -> None:
    """A type that is missing in the slug for a slip of the pen would be missed much later."""
    (app / "Procfile").write_text("web: python app.py\nworker python work.py\n")
    monkeypatch.chdir(app)
    given = []
    if commit:
        given = ["--git", "HEAD"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            subprocess.run(["git", *identity, *words], cwd=app, check=True)
    result = call("build", *given)
    assert result.exit_code == 0
    [line] = [line for line in result.stderr.splitlines() if "Procfile:2" in line]
    told = CliRunner().invoke(cli, ["check"]).stderr
    assert line.replace(" !     ", "procman: ") == told.strip()


def test_a_deploy_tells_of_a_line_that_declares_nothing_and_goes_on(
    app: Path, tmp_path: Path
) -> None:
    """Also of a slug that comes from elsewhere, without its metadata."""
    (app / "Procfile").write_text("web: python app.py\nworker python work.py\n")
    file = tmp_path / "app.tgz"
    call("build", "-d", app, "-o", file)
    (tmp_path / "app.tgz.json").unlink()
    for words, line in (
        (["deploy"], " !     Procfile:2: "),
        (["deploy", "--slug", str(file)], "procman: Procfile:2: "),
    ):
        result = CliRunner().invoke(cli, [*words, "-d", str(app)])
        assert result.exit_code == 0
        assert f"\n{line}" in f"\n{result.stderr}"


def test_inspect_shows_metadata_size_and_the_largest_files(app: Path, tmp_path: Path) -> None:
    """Of a file, and of a slug of the store by the beginning of its id."""
    digest = call("build", "-d", app, "-o", tmp_path / "app.tgz").stdout.strip()
    for name in (str(tmp_path / "app.tgz"), digest[:10]):
        shown = call("inspect", "-d", app, name, "-n", "1").stdout
        assert f"Id:         {digest}\n" in shown
        assert "Type:       web: python app.py\n" in shown
        assert shown.endswith("8.8 KB app.py\n")
    facts = json.loads(call("inspect", "-d", app, digest[:10], "--json").stdout)
    assert facts["id"] == digest


def test_extract_unpacks_into_a_new_directory(app: Path, tmp_path: Path) -> None:
    """And says how much."""
    digest = call("build", "-d", app).stdout.strip()
    result = call("extract", "-d", app, digest[:8], tmp_path / "out")
    assert (tmp_path / "out/Procfile").read_text() == "web: python app.py\n"
    assert result.stderr == f"3 entries in {tmp_path / 'out'}\n"


def test_list_is_newest_first_and_has_a_json_form(app: Path) -> None:
    """An app without slugs has an empty one."""
    assert call("list", "-d", app).stdout == ""
    assert json.loads(call("list", "-d", app, "--json").stdout) == []
    first = call("build", "-d", app).stdout.strip()
    (app / "app.py").write_text("")
    second = call("build", "-d", app).stdout.strip()
    lines = call("list", "-d", app).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [second[:12], first[:12]]
    assert lines[0].endswith("web")
    listed = json.loads(call("list", "-d", app, "--json").stdout)
    assert [one["id"] for one in listed] == [second, first]


def test_prune_keeps_the_newest_and_what_releases_need(app: Path) -> None:
    """What is deleted is listed."""
    digests = []
    for text in "abc":
        (app / "app.py").write_text(text)
        digests.append(call("build", "-d", app).stdout.strip())
    release(app, digests[0])
    result = call("prune", "-d", app)
    assert result.stdout.split()[:2] == ["deleted", digests[1][:12]]
    left = json.loads(call("list", "-d", app, "--json").stdout)
    assert [one["id"] for one in left] == [digests[2], digests[0]]
    assert call("prune", "-d", app).stdout == ""


def release(app: Path, digest: str) -> None:
    from procman.core.release import Status, draft
    from procman.runtime.releases.ledger import Ledger, now
    from procman.runtime.slugs.store import SlugStore

    with Ledger(SlugStore(app)).writing() as writer:
        made = draft(
            writer.releases, slug=digest, config_vars={}, process_types={}, description="", at=now()
        )
        writer.settle(writer.add(made), Status.SUCCEEDED)


def test_a_terminal_gets_a_progress_bar_and_nothing_else_does(app: Path) -> None:
    """On standard error, ended before the next line."""
    assert "[" not in call("build", "-d", app).stderr
    main, terminal = os.openpty()
    program = "from procman.cli.slug import slug; slug()"
    result = subprocess.run(
        [sys.executable, "-c", program, "build", "-d", str(app)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        check=True,
    )
    os.close(terminal)
    shown = os.read(main, 65536).decode()
    os.close(main)
    assert "       Compressing  [####" in shown
    assert "100%" in shown.splitlines()[-2]
    assert shown.splitlines()[-1].startswith("       Done: ")
    assert len(result.stdout) == 65


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("inspect", "nothing.tgz"), SlugError),
        (("inspect", "abc"), SlugError),
        (("inspect", ""), SlugError),
        (("inspect", "."), SlugError),
        (("extract", "abc", "out"), SlugError),
        (("build", "--git", "nope"), InputError),
    ],
)
def test_what_goes_wrong_is_an_error_of_procmans(
    app: Path, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    """Printed once, at the edge, with its exit status."""
    with pytest.raises(error):
        call(arguments[0], "-d", app, *arguments[1:])


def test_wrong_calls_are_clicks_to_tell(app: Path) -> None:
    """Exit status 2."""
    assert call("build", "-b", app / "Procfile").exit_code == 2
    assert call("extract", "x").exit_code == 2
