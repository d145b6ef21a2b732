"""`procman git`: deploy by `git push procman main`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from procman.cli.options import app_root, common_options, given
from procman.errors import ProcmanError


@click.group(short_help="Deploy by `git push procman main`.")
def git() -> None:
    """Deploy by `git push procman main`."""


@git.command(short_help="Make the remote `procman`, to push to.")
@common_options
@click.pass_context
def init(ctx: click.Context, /, **options: object) -> None:
    """Make a bare repository below .procman, and name it `procman` among the app's remotes.

    What is then pushed to its main, or master, is built and deployed; a push that cannot be
    deployed is refused. Once more does no harm.
    """
    from procman.runtime.releases.git_remote import REMOTE, add_remote, make_repository
    from procman.runtime.slugs.store import SlugStore

    root = Path(app_root(ctx, options))
    repository = make_repository(SlugStore(root))
    top = add_remote(root, repository)
    if top is None:
        click.echo(f"{root} is in no git repository; in the one that you push from:")
        click.echo(f"  git remote add {REMOTE} {repository}")
        return
    click.echo(f"Set git remote {REMOTE} to {repository}")
    if top == root:
        click.echo(f"`git push {REMOTE} main` deploys")
    else:
        click.echo(f"The app is in a directory of {top}, so push that one alone:")
        click.echo(f"  git subtree push --prefix {root.relative_to(top)} {REMOTE} main")


@git.command(short_help="Deploy what is pushed; for git's hook.")
@common_options
@click.pass_context
def receive(ctx: click.Context, /, **options: object) -> int:
    """Read what git tells a pre-receive hook, and deploy it; status 1 refuses the push."""
    from procman.core.push import parse_updates, pushed_commit

    try:
        commit = pushed_commit(parse_updates(sys.stdin.read()))
        if commit is not None:
            _deploy(given(ctx, options), commit)
    except ProcmanError as problem:
        click.echo(f" !     Push rejected: {problem.message}", err=True)
        if problem.hint is not None:
            click.echo(f" !     {problem.hint}", err=True)
        return 1
    except BrokenPipeError:
        return 1  # whoever pushed is gone
    return 0


def _deploy(command_line: Mapping[str, object], commit: str) -> None:
    from procman.cli.deploying import build_slug, order_of, read_app, release_slug
    from procman.runtime.releases.git_remote import repository_of
    from procman.runtime.releases.ledger import Ledger
    from procman.runtime.slugs.store import SlugStore

    inputs = read_app(command_line)
    # git compares the branch with what it was only when we are done: of two pushes at once the
    # second would be refused when it is live.
    newest = len(Ledger(SlugStore(inputs.root)).read())
    release_slug(
        inputs,
        lambda store: build_slug(
            store,
            order_of(inputs, commit, repository=repository_of(store)),
        ),
        newest=newest,
    )
