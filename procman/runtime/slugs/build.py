"""Turns a source into a slug: checkout, buildpacks, process types, packing, in Heroku's words."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from procman.core.buildpack import COMPILE_LIMIT
from procman.core.slug import MAX_PACKED, Metadata, size_text
from procman.core.slug_rules import Rules
from procman.runtime.releases.git import Commit, current_commit, export, find_commit
from procman.runtime.slugs.build_step import Output
from procman.runtime.slugs.buildpack import Compilation, compile_app, is_inline
from procman.runtime.slugs.file import files_of, procfile_of
from procman.runtime.slugs.pack import pack, read_slugignore
from procman.runtime.slugs.scratch import discard
from procman.runtime.slugs.store import SlugStore, describe, stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from procman.core.procfile import Procfile
    from procman.runtime.slugs.pack import Packed, Progress


@dataclass(frozen=True, slots=True)
class Order:
    """What to build: the working tree, or a commit, with these buildpacks."""

    git: str | None = None
    repository: Path | None = None  # of the commit, bare or not; None: the app's own
    buildpacks: tuple[Path, ...] = ()
    config_vars: Mapping[str, str] = field(default_factory=dict, repr=False)
    limit: int = MAX_PACKED  # bytes, packed
    compile_limit: float = COMPILE_LIMIT  # seconds, each buildpack
    output: Path | None = None  # where a copy is to be written, perhaps in the working tree
    env_files: tuple[Path, ...] = ()  # what config vars are read from, perhaps in the tree as well


class Log:
    """Heroku's compile log: headings, and below them what is said, seven columns in."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """`write` is given text with its newlines."""
        self._write = write

    def text(self, text: str) -> None:
        """What a buildpack prints, which has the form already."""
        self._write(text)

    def output(self) -> Output:
        """The same, as bytes that come in any pieces."""
        return Output(self._write)

    def heading(self, text: str) -> None:
        """`-----> Compressing...`"""
        self._write(f"-----> {text}\n")

    def line(self, text: str) -> None:
        """`       Done: 12.3 MB`"""
        self._write(f"       {text}\n")

    def warning(self, text: str) -> None:
        """` !     app/socket is a socket and is left out`"""
        self._write(f" !     {text}\n")


def build(
    store: SlugStore,
    order: Order,
    log: Log,
    progress: Progress | None = None,
    tell: Callable[[Procfile], object] | None = None,
) -> Metadata:
    """Build a slug into the store; raises ProcmanError, and then there is no slug.

    `tell` is given the Procfile, where there is one: it may have lines that declare nothing. The
    trees it was made of are left to `SlugStore.sweep`, for the end of the command.
    """
    with store.claim("build-") as work, _discarded(store, work):
        commit, source, rules = _source(store.root, order, log, work)
        types: dict[str, str] = {}
        buildpack: str | None = None
        if order.buildpacks or is_inline(source):
            plan = Compilation(
                order.buildpacks,
                order.config_vars,
                store.build_cache,
                work,
                stack(),
                commit.id if commit else None,
                order.compile_limit,
            )
            built = compile_app(source, rules, plan, log.text)
            source, rules = built.directory, Rules(conveniences=False)
            types, buildpack = dict(built.process_types), built.description
        log.heading("Discovering process types")
        procfile = procfile_of(source)
        types = _discovered(procfile, types, log)
        if procfile is not None and tell is not None:
            tell(procfile)
        log.heading("Compressing...")
        file = work / "slug.tgz"
        packed = _pack(source, file, rules, progress, order.limit)
        for warning in packed.warnings:
            log.warning(warning)
        log.line(f"Done: {size_text(packed.size)}, {packed.entries} entries")
        metadata = describe(
            packed.digest,
            packed.size,
            types,
            commit=commit.id if commit else None,
            commit_description=commit.subject if commit else None,
            buildpack=buildpack,
        )
        return store.add(file, metadata)


@contextmanager
def _discarded(store: SlugStore, work: Path) -> Iterator[None]:
    """Delete large trees late; the claim deletes the rest at once, config vars among it. After a
    failure it deletes all of it: the disk may be full.
    """
    yield
    for name in ("source", "app"):
        if (work / name).exists():
            discard(work / name, store.temporary)


def _source(root: Path, order: Order, log: Log, work: Path) -> tuple[Commit | None, Path, Rules]:
    secrets = _paths_below(root, order.env_files)
    outputs = [] if order.output is None else files_of(order.output)
    if order.git is None:
        never = [*secrets, *_paths_below(root, outputs)]
        return current_commit(root), root, Rules(read_slugignore(os.fsencode(root)), never=never)
    repository = order.repository if order.repository is not None else root
    commit = find_commit(repository, order.git)
    log.heading(f"Checking out {order.git} ({commit.id[:12]}: {commit.subject})")
    source = work / "source"
    source.mkdir()
    export(repository, commit.id, source)
    return commit, source, Rules(read_slugignore(os.fsencode(source)), never=secrets)


def _paths_below(root: Path, files: Iterable[Path]) -> list[bytes]:
    """Relative to the root, each as it is named, and what it leads to; some lie outside."""
    top = os.path.realpath(root)
    ways = [way for file in files for way in (os.path.abspath(file), os.path.realpath(file))]
    return [os.fsencode(os.path.relpath(way, top)) for way in ways]


def _discovered(procfile: Procfile | None, defaults: Mapping[str, str], log: Log) -> dict[str, str]:
    """The Procfile's, in its order, which ports are given in; then a buildpack's `defaults`."""
    types = {} if procfile is None else procfile.commands
    said = f"Procfile declares types -> {', '.join(types)}" if types else "No Procfile"
    log.line(said)
    more = {name: command for name, command in defaults.items() if name not in types}
    if more:
        log.line(f"Default types for buildpack -> {', '.join(more)}")
    return {**types, **more}


def _pack(source: Path, file: Path, rules: Rules, progress: Progress | None, limit: int) -> Packed:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return pack(source, descriptor, rules=rules, progress=progress, limit=limit)
    finally:
        os.close(descriptor)
