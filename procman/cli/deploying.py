"""What `deploy`, `rollback` and a pushed commit have in common: a slug becomes the live release."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from procman.cli.options import OPTION_NAMES
from procman.cli.problems import show_problems
from procman.cli.released import inputs_of
from procman.cli.slug import progress_bar
from procman.core.environment import dyno_environment
from procman.core.formation import RELEASE
from procman.core.release import Release
from procman.core.settings import TypeSettings
from procman.core.slug import Metadata
from procman.errors import InputError, NotRunningError
from procman.runtime.boots import cookie_of
from procman.runtime.client import connect, converse
from procman.runtime.inputs import Inputs, read_inputs
from procman.runtime.releases.deploy import Deploy
from procman.runtime.releases.git import OF_A_REPOSITORY
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.file import adopt, find
from procman.runtime.slugs.overlay import Copies
from procman.runtime.slugs.store import SlugStore

NOT_RUNNING = "The app is not running; `procman start --release` runs it"
NOT_RELEASED = "The app runs from its directory; `procman start --release` would run the release"


def read_app(command_line: Mapping[str, object]) -> Inputs:
    """The app that is deployed; its Procfile is read from the slug."""
    inputs = read_inputs(command_line, os.environ, OPTION_NAMES, need_procfile=False)
    named = inputs.settings.text("procfile")
    if named is not None and os.path.basename(named) != "Procfile":
        raise InputError(f"{named}: a slug has the process types of its Procfile, of no other file")
    return inputs


def config_vars_of(inputs: Inputs) -> dict[str, str]:
    """Those that a release keeps: what the .env files name, not all of our environment."""
    return {name: inputs.config_vars[name] for name in inputs.from_files}


def find_slug(store: SlugStore, name: str) -> Metadata:
    """The slug of the store that was named, or the file, taken into the store."""
    file = find(store, name)
    return store.get(file.stem) if file.parent == store.slugs else adopt(store, file, show_problems)


def order_of(
    inputs: Inputs,
    git: str | None = None,
    *,
    repository: Path | None = None,
    buildpacks: Sequence[Path] = (),
    output: Path | None = None,
) -> Order:
    """What to build of an app: buildpacks get its config vars, and no slug the files of these."""
    return Order(
        git,
        repository,
        tuple(pack.absolute() for pack in buildpacks),
        config_vars=config_vars_of(inputs),
        output=output,
        env_files=tuple(map(Path, inputs.env_files)),
    )


def build_slug(store: SlugStore, order: Order) -> Metadata:
    """Build, and show the compile log, where the Procfile's problems are among the warnings."""
    log = Log(say)
    with progress_bar("Compressing") as progress:
        return build(
            store, order, log, progress, lambda procfile: show_problems(procfile, log.warning)
        )


def release_slug(
    inputs: Inputs,
    slug_in: Callable[[SlugStore], Metadata],
    message: str | None = None,
    *,
    newest: int | None = None,
) -> None:
    """Release the slug that `slug_in` gives of a store; raises ProcmanError when it is not live.

    It is none when there is a release after the `newest` meanwhile.
    """
    with deploying(inputs) as deploy:
        slug = slug_in(deploy.store)
        if not set(slug.process_types) - {RELEASE}:
            raise InputError(
                "the slug has no process types: there would be nothing to run",
                hint="a Procfile has lines such as `web: python app.py`",
            )
        made = deploy.deploy(slug, config_vars_of(inputs), message, newest=newest)
    click.echo(f"Deploying {name_of(inputs.root)}... done, {made.name}")


@contextmanager
def deploying(inputs: Inputs) -> Iterator[Deploy]:
    """What a deploy is done with, and at the end the tidying up.

    A running app that has moved over looks into the ledger when the block ends, and goes back
    unless the release is live there.
    """
    store = SlugStore(inputs.root)
    copies, log = Copies(store), Log(say)
    try:
        with ExitStack() as connections:

            def go_live(release: Release) -> None:
                log.heading("Launching...")
                try:
                    connection = connections.enter_context(connect(inputs.root))
                except NotRunningError:
                    log.line(NOT_RUNNING)
                else:
                    answer = converse(connection, "release", name=release.name)
                    log.line(NOT_RELEASED if answer.get("release") is None else _up(answer))
                log.line(f"Release {release.name}")

            def settings_of(release: Release) -> TypeSettings:
                return inputs_of(inputs, release).per_type().get(RELEASE, TypeSettings())

            yield Deploy(
                store,
                copies,
                log,
                lambda release: environment_of(release, settings_of(release).env),
                go_live,
                phase_of=lambda release: (
                    settings_of(release).command or release.process_types[RELEASE]
                ),
            )
    finally:
        copies.sweep()


def environment_of(release: Release, extra: Mapping[str, str] | None) -> dict[str, str]:
    """Of the release phase: ours without what git told us as its hook, the config vars, and
    `extra` of the type's settings.
    """
    ours = {name: text for name, text in os.environ.items() if name not in OF_A_REPOSITORY}
    return dyno_environment(
        {**ours, **release.config_vars},
        dyno=f"{RELEASE}.1",
        cookie=cookie_of(os.urandom(16).hex(), f"{RELEASE}.1", release.version),
        port=None,
        type_ports={},
        release=release.name,
        extra=extra,
    )


def name_of(root: str) -> str:
    """The app's name: its directory's."""
    return os.path.basename(root)


def say(text: str) -> None:
    """The compile log, beside what the command itself prints."""
    click.echo(text, nl=False, err=True)


def _up(answer: Mapping[str, object]) -> str:
    dynos = answer.get("dynos")
    names = dynos if isinstance(dynos, list) else []
    return f"{', '.join(map(str, names)) or 'no dynos'} up"
