"""`procman slug`: build, look into, extract, list and prune slugs."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from procman.cli.options import app_root, common_options, given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procman.runtime.slugs.pack import Progress

FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(short_help="Build and look into slugs.")
def slug() -> None:
    """Build, look into, extract, list and prune slugs.

    A slug is the app as one packed, immutable file, as Heroku's slug compiler makes it.
    """


@slug.command(short_help="Pack the app into a slug.")
@click.option("-o", "--output", type=FILE, help="Copy it to this file.")
@click.option(
    "-b",
    "--buildpack",
    "buildpacks",
    multiple=True,
    type=DIRECTORY,
    help="A directory with bin/detect and bin/compile; several run in turn.",
)
@click.option("--git", metavar="REF", help="Pack this commit instead of the working tree.")
@common_options
@click.pass_context
def build(
    ctx: click.Context,
    /,
    output: Path | None,
    buildpacks: tuple[Path, ...],
    git: str | None,
    **options: object,
) -> None:
    """Pack the app into a slug below .procman/slugs and print its id.

    Left out: .git, .procman, .env*, the files that -e names, slugs that were written into the app
    and what .slugignore names, which is read as git reads a .gitignore.
    """
    from procman.cli.deploying import build_slug, order_of, read_app
    from procman.runtime.slugs.file import write_out
    from procman.runtime.slugs.store import SlugStore

    inputs = read_app(given(ctx, options))
    store = SlugStore(inputs.root)
    try:
        made = build_slug(store, order_of(inputs, git, buildpacks=buildpacks, output=output))
        if output is not None:
            write_out(store, made, output)
            click.echo(f"       Written to {output}", err=True)
        click.echo(made.id)
    finally:
        store.sweep()


@slug.command(short_help="Show what a slug is and holds.")
@click.argument("file")
@click.option("-n", "--number", default=10, show_default=True, help="How many of the files.")
@click.option("--json", "as_json", is_flag=True, help="Print the metadata as JSON.")
@common_options
@click.pass_context
def inspect(
    ctx: click.Context, /, file: str, number: int, as_json: bool, **options: object
) -> None:
    """Verify the slug FILE, and show its metadata, its size and its largest files.

    FILE may also be the beginning of a slug's id.
    """
    from procman.core.slug import shown, size_text
    from procman.runtime.slugs.file import find, largest, look_into
    from procman.runtime.slugs.store import SlugStore

    metadata, contents = look_into(find(SlugStore(app_root(ctx, options)), file))
    if as_json:
        click.echo(metadata.to_json(), nl=False)
        return
    facts = {
        "Id": metadata.id,
        "Size": f"{size_text(metadata.size)}, {size_text(contents.unpacked)} unpacked, "
        f"{len(contents.entries)} entries",
        "Created": metadata.created_at,
        "Stack": metadata.stack,
        "Commit": " ".join(filter(None, (metadata.commit, metadata.commit_description))),
        "Buildpack": metadata.buildpack_provided_description,
    }
    for name, text in facts.items():
        if text:
            click.echo(f"{name + ':':<12}{text}")
    if contents.ignored:
        click.echo(f"{'Ignored:':<12}{contents.ignored} entries outside ./app/")
    for name, command in metadata.process_types.items():
        click.echo(f"{'Type:':<12}{name}: {command}")
    for path, size in largest(contents, number):
        click.echo(f"{size_text(size):>11} {shown(path)}")


@slug.command(short_help="Unpack a slug.")
@click.argument("file")
@click.argument("directory", type=click.Path(path_type=Path))
@common_options
@click.pass_context
def extract(ctx: click.Context, /, file: str, directory: Path, **options: object) -> None:
    """Verify the slug FILE and unpack its app into DIRECTORY, which must be new or empty."""
    from procman.runtime.slugs.file import extract, find
    from procman.runtime.slugs.store import SlugStore

    store = SlugStore(app_root(ctx, options))
    with progress_bar("Extracting") as progress:
        count = extract(find(store, file), directory, progress)
    click.echo(f"{count} entries in {directory}", err=True)


@slug.command("list", short_help="List the app's slugs.")
@click.option("--json", "as_json", is_flag=True, help="Print the metadata as JSON.")
@common_options
@click.pass_context
def list_slugs(ctx: click.Context, /, as_json: bool, **options: object) -> None:
    """List the slugs below .procman/slugs, the newest first."""
    from procman.runtime.slugs.store import SlugStore, summary

    slugs = SlugStore(app_root(ctx, options)).all()
    if as_json:
        click.echo("[" + ",\n".join(one.to_json().rstrip() for one in slugs) + "]")
        return
    for one in slugs:
        click.echo(summary(one))


@slug.command(short_help="Delete slugs that no release needs.")
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Keep the slugs of this many releases.",
)
@common_options
@click.pass_context
def prune(ctx: click.Context, /, keep: int, **options: object) -> None:
    """Delete the slugs that the last releases do not need, and list them.

    Kept as well are the newest slug, those that dynos run from, and that of the running release,
    from which they boot.
    """
    from procman.cli.released import running_release
    from procman.core.release import find, kept_slugs
    from procman.runtime.releases.ledger import Ledger
    from procman.runtime.slugs.overlay import Copies
    from procman.runtime.slugs.store import SlugStore, summary

    root = app_root(ctx, options)
    store = SlugStore(root)
    releases = Ledger(store).read()
    kept = kept_slugs(releases, keep) | {one.id for one in store.all()[:1]}
    running = running_release(root)
    if running is not None and (slug := find(releases, running).slug) is not None:
        kept |= {slug}
    for one in store.prune(kept):
        click.echo(f"deleted {summary(one)}")
    Copies(store).sweep()


@contextmanager
def progress_bar(label: str) -> Iterator[Progress | None]:
    """A bar on standard error while something long goes on; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as shown:
        bar = click.progressbar(length=0, label=f"       {label}", file=sys.stderr)

        def progress(done: int, total: int) -> None:
            if bar.length != total:
                bar.length = total
                shown.enter_context(bar)
            bar.update(done - bar.pos)
            if done >= total:
                shown.close()

        yield progress
