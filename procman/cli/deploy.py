"""`procman deploy`, `rollback`, `releases`: what is live, what was, and how that changes."""

from __future__ import annotations

from pathlib import Path

import click

from procman.cli.options import app_root, common_options, given
from procman.errors import UsageError

SHOWN = 15  # releases, as Heroku's


@click.command(short_help="Build a slug, and let the running app move over to it.")
@click.option("--slug", metavar="FILE", help="Release this slug, a file or an id.")
@click.option("--git", metavar="REF", help="Build this commit instead of the directory as it is.")
@click.option("-m", "--message", metavar="TEXT", help="What the release is, in a line.")
@click.option(
    "-b",
    "--buildpack",
    "buildpacks",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory with bin/detect and bin/compile; several run in turn.",
)
@common_options
@click.pass_context
def deploy(
    ctx: click.Context,
    /,
    slug: str | None,
    git: str | None,
    message: str | None,
    buildpacks: tuple[Path, ...],
    **options: object,
) -> None:
    """Build a slug, run the `release` type in a copy of it, and make it the current release.

    An app that runs from a release moves over: web dynos get successors beside them and lose no
    request, the others are stopped and started. When anything fails, the old release stays, and
    the status is 1. Config vars are those of the .env files, now.
    """
    if slug is not None and (git is not None or buildpacks):
        raise UsageError("--slug is built already: it goes with neither --git nor --buildpack")
    from procman.cli.deploying import build_slug, find_slug, order_of, read_app, release_slug

    inputs = read_app(given(ctx, options))
    order = order_of(inputs, git, buildpacks=buildpacks)
    release_slug(
        inputs,
        lambda store: build_slug(store, order) if slug is None else find_slug(store, slug),
        message,
    )


@click.command(short_help="Go back to an older release.")
@click.argument("release", required=False, metavar="[vN]")
@common_options
@click.pass_context
def rollback(ctx: click.Context, /, release: str | None, **options: object) -> None:
    """Make a new release of the slug and the config vars of vN, else of the release before."""
    from procman.cli.deploying import deploying, name_of, read_app

    inputs = read_app(given(ctx, options))
    with deploying(inputs) as deploy:
        made = deploy.roll_back(release)
    target = made.description.removeprefix("Rollback to ")
    click.echo(f"Rolling back {name_of(inputs.root)} to {target}... done, {made.name}")


@click.command(short_help="List the releases, the newest first.")
@click.option(
    "-n",
    "--number",
    type=click.IntRange(1),
    default=SHOWN,
    show_default=True,
    help="How many to show.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON array; config vars are left out.")
@common_options
@click.pass_context
def releases(ctx: click.Context, /, number: int, as_json: bool, **options: object) -> None:
    """List the releases of the app, the newest first."""
    from procman.cli.deploying import name_of
    from procman.core.release import current
    from procman.core.release_list import as_facts, table
    from procman.runtime.releases.ledger import Ledger
    from procman.runtime.slugs.store import SlugStore

    root = app_root(ctx, options)
    every = Ledger(SlugStore(root)).read()
    live = current(every)
    shown = every[: -number - 1 : -1]
    if as_json:
        import json

        click.echo(json.dumps([as_facts(one, is_current=one is live) for one in shown], indent=2))
        return
    for line in table(name_of(root), shown, live):
        click.echo(line)
