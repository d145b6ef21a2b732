"""A release as an app that runs: its process types and config vars, in place of the directory's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from procman.cli.plan import plan, unsaid
from procman.cli.release_option import CURRENT
from procman.core.procfile import Procfile
from procman.core.release import Release, current, find
from procman.errors import NotRunningError, ProcmanError
from procman.runtime.releases.ledger import Ledger
from procman.runtime.releases.released import Released, expand_release
from procman.runtime.slugs.store import SlugStore

if TYPE_CHECKING:
    from procman.runtime.blueprint import App
    from procman.runtime.inputs import Inputs


def find_release(root: str, name: str) -> Release:
    """The release that `--release` asks for; raises ProcmanError when it cannot be run."""
    releases = Ledger(SlugStore(root)).read()
    if name != CURRENT:
        return find(releases, name)
    release = current(releases)
    if release is None:
        raise ProcmanError("nothing has been released yet", hint="`procman deploy` does it")
    return release


def inputs_of(inputs: Inputs, release: Release) -> Inputs:
    """The release's process types and config vars in place of the working tree's.

    Its config vars beat the environment: they are part of what was released. The settings are the
    working tree's, which may have types that the release lacks, or another release has.
    """
    releases = Ledger(SlugStore(inputs.root)).read()
    elsewhere = dict.fromkeys(name for one in releases for name in one.process_types)
    return replace(
        inputs,
        procfile=Procfile(release.name, dict(release.process_types), {}, ()),
        config_vars={**os.environ, **release.config_vars},
        from_files=release.config_vars,
        elsewhere=[*inputs.procfile.commands, *elsewhere],
    )


def expand(root: str, release: Release) -> Released:
    """Expand the release's slug, with a bar where that takes long."""
    from procman.cli.slug import progress_bar

    with progress_bar("Expanding") as progress:
        return expand_release(SlugStore(root), release, progress)


def running_release(root: str) -> str | None:
    """The release that the app runs from; None when it does not run, or from its directory."""
    from procman.runtime.client import ask

    try:
        release = ask(root, "ps").get("release")
    except NotRunningError:
        return None
    return release if isinstance(release, str) else None


def plan_release(inputs: Inputs, asked: Sequence[str], name: str) -> App:
    """What `start --release TYPE…` runs: expands the slug, with a bar where that takes long.

    Raises ProcmanError when the release of this name cannot be run.
    """
    release = find_release(inputs.root, name)
    released = expand(inputs.root, release)

    def plan_it(release: Release, released: Released, *, before: App | None) -> App:
        # The release type has run: that it is left out now is nothing to be told.
        app = plan(inputs_of(inputs, release), asked, before=before, say=unsaid)
        another = partial(plan_it, before=before or app)
        return replace(app, released=released, plan_release=another)

    app = plan_it(release, released, before=None)
    return replace(app, follows_current=name == CURRENT)
