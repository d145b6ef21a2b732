"""Compiles a copy of the source with classic buildpacks, or with the app's own `bin/compile`."""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from procman.core.buildpack import (
    COMPILE_LIMIT,
    DETECT_LIMIT,
    Said,
    environment,
    parse_release,
)
from procman.core.environment import COOKIE
from procman.errors import ProcmanError, SlugError
from procman.runtime.boots import cookie_of
from procman.runtime.slugs.build_step import Output, ended, run
from procman.runtime.slugs.tree_copy import copy_tree
from procman.runtime.slugs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from procman.core.slug_rules import Rules

# Source the `export` files of earlier buildpacks, then become the program.
WITH_EXPORTS = 'n=$1; shift; while [ "$n" -gt 0 ]; do . "$1"; shift; n=$((n-1)); done; exec "$@"'


@dataclass(frozen=True, slots=True)
class Built:
    """The compiled tree, and what the buildpacks say of it."""

    directory: Path
    process_types: Mapping[str, str]
    description: str


@dataclass(frozen=True, slots=True)
class Compilation:
    """Where one build takes place, and by what."""

    buildpacks: tuple[Path, ...]  # none: the app's own bin/compile
    config_vars: Mapping[str, str]
    cache: Path
    work: Path
    stack: str
    commit: str | None = None
    limit: float = COMPILE_LIMIT  # seconds


def compile_app(
    source: Path, rules: Rules, plan: Compilation, write: Callable[[str], object]
) -> Built:
    """Copy what `rules` let in, and run the buildpacks on the copy, one after the other.

    Raises ProcmanError when one does not take the app, fails, or takes too long; its output has
    been written by then.
    """
    build = plan.work / "app"
    build.mkdir(mode=0o755)
    tree = walk(os.fsencode(source), rules)
    for warning in tree.warnings:
        write(f" !     {warning}\n")
    copy_tree(os.fsencode(source), tree.found, os.fsencode(build))
    config = plan.work / "env"
    _write_config_vars(config, plan.config_vars)
    variables = environment(os.environ, stack=plan.stack, commit=plan.commit)
    variables[COOKIE] = cookie_of(os.urandom(16).hex(), "build", 1)
    exports: list[str] = []
    names = []
    said = Said()
    with _cache_of_our_own(plan.cache):
        for pack in plan.buildpacks or (build,):
            names.append(_detect(pack, build, variables))
            write(f"-----> {names[-1]} app detected\n")
            cache = plan.cache / _cache_name(pack, build)
            cache.mkdir(mode=0o700, exist_ok=True)
            argv = [str(pack / "bin/compile"), str(build), str(cache), str(config)]
            _compile(names[-1], _after(exports, argv), build, variables, plan.limit, write)
            if os.path.exists(pack / "export"):
                exports.append(str(pack / "export"))
            said = _release(pack, build, variables) or said
    return Built(build, said.process_types, ", ".join(names))


def is_inline(source: Path) -> bool:
    """Whether the app brings a buildpack of its own, in `bin/`."""
    return all(os.access(source / "bin" / name, os.X_OK) for name in ("detect", "compile"))


def _detect(pack: Path, build: Path, variables: Mapping[str, str]) -> str:
    collected = bytearray()
    argv = [str(pack / "bin/detect"), str(build)]
    status = run(argv, build, variables, DETECT_LIMIT, collected.extend)
    text = collected.decode("utf-8", "replace").strip()
    if status != 0:
        raise ProcmanError(
            f"the buildpack {pack.name} does not take this app (bin/detect: {ended(status)})",
            hint=text or None,
        )
    return text.splitlines()[0] if text else pack.name


def _compile(
    name: str,
    argv: Sequence[str],
    build: Path,
    variables: Mapping[str, str],
    limit: float,
    write: Callable[[str], object],
) -> None:
    output = Output(write)
    status = run(argv, build, variables, limit, output)
    output.end()
    if status is None:
        raise ProcmanError(f"the buildpack {name} took longer than {limit / 60:g} minutes")
    if status != 0:
        raise ProcmanError(f"the buildpack {name} failed: bin/compile {ended(status)}")


def _release(pack: Path, build: Path, variables: Mapping[str, str]) -> Said | None:
    program = pack / "bin/release"
    if not os.access(program, os.X_OK):
        return None
    collected = bytearray()
    status = run([str(program), str(build)], build, variables, DETECT_LIMIT, collected.extend)
    if status != 0:
        raise ProcmanError(f"the buildpack {pack.name} failed: bin/release {ended(status)}")
    return parse_release(collected.decode("utf-8", "replace"), path=f"{pack.name}/bin/release")


def _after(exports: Sequence[str], argv: Sequence[str]) -> list[str]:
    if not exports:
        return list(argv)
    return ["bash", "-c", WITH_EXPORTS, "buildpack", str(len(exports)), *exports, *argv]


def _write_config_vars(directory: Path, config_vars: Mapping[str, str]) -> None:
    """One file a variable, as ENV_DIR is; gone with the build."""
    directory.mkdir(mode=0o700)
    for name, text in config_vars.items():
        if "/" in name or name in ("", ".", ".."):
            continue  # no shell could read it either
        (directory / name).write_text(text, encoding="utf-8")


def _cache_name(pack: Path, build: Path) -> str:
    if pack == build:
        return "inline"
    place = hashlib.sha256(os.fsencode(pack.absolute())).hexdigest()[:8]
    return f"{pack.name}-{place}"


@contextmanager
def _cache_of_our_own(cache: Path) -> Iterator[None]:
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(cache, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SlugError("another build of this app is going on", hint="wait for it") from None
    finally:
        os.close(descriptor)
