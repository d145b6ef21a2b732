"""Packing, expanding and copying a slug against tar with gzip, pigz and zstd.

    python -m benchmarks.slugs [--rounds N] [--files N] [--megabytes N] [--directory DIR]

The tree is made of this Python's own library, repeated. The contestants take turns within each
round, with a sync before each, and medians are shown. Nothing is deleted before the end: ext4
avoids inodes deleted lately, which makes the next extraction several times slower.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeVar

from benchmarks.measure import unwind_on_sigterm
from procman.core.slug import MiB
from procman.errors import SlugError
from procman.runtime.slugs.file import adopt
from procman.runtime.slugs.overlay import Copies, Means
from procman.runtime.slugs.pack import pack
from procman.runtime.slugs.scratch import remove_tree
from procman.runtime.slugs.store import SlugStore

T = TypeVar("T")


@dataclass
class Row:
    """One contestant's times in seconds, and the size it made."""

    name: str
    seconds: list[float] = field(default_factory=list)
    size: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def make_tree(target: Path, files: int, size: int) -> tuple[int, int]:
    """Copy library files, over and over, small and large in turn, to so many of such a size."""
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib")]
    pool = [
        path
        for root in dict.fromkeys(roots)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc"
    ]
    sizes = {path: path.stat().st_size for path in pool}
    average = size // files
    small = cycle([path for path in pool if sizes[path] <= average])
    large = cycle([path for path in pool if average < sizes[path] <= 8 * MiB])
    total = 0
    for number in range(files):
        path = next(large if total < number * average else small)
        where = target / f"part{number // 2000}" / f"{number // 20:04}"
        where.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, where / f"{number}-{path.name}")
        total += sizes[path]
    return files, total


def in_turn(contestants: dict[str, T], number: int) -> list[tuple[str, T]]:
    """All of them, each round another one first: the disk remembers who came before."""
    names = list(contestants.items())
    first = number % len(names)
    return names[first:] + names[:first]


def timed(row: Row, work: Callable[[], object]) -> None:
    """Add one time; what earlier ones left to be written is written first."""
    os.sync()
    begin = time.perf_counter()
    work()
    row.seconds.append(time.perf_counter() - begin)


def shell(script: str, *arguments: str | Path) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-ec", script, "-", *map(str, arguments)], check=True)


def pack_ours(tree: Path, file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        pack(tree, descriptor)
    finally:
        os.close(descriptor)


def bench_packing(tree: Path, place: Path, rounds: int) -> dict[str, Row]:
    """Everybody packs to a file in `place`."""
    compressors = {"gzip -6": "gz", "pigz -6": "pigz.gz", "pigz -1": "p1.gz", "zstd -3 -T0": "zst"}
    contestants: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "procman": (place / "ours.tgz", partial(pack_ours, tree))
    }
    for command, ending in compressors.items():
        if shutil.which(command.split()[0]) is None:
            print(f"({command.split()[0]} is not installed)")
            continue
        script = f'tar -C "$1" -c . | {command} > "$2"'
        contestants[f"tar | {command}"] = (
            place / f"tar.{ending}",
            partial(shell, script, tree),
        )
    rows = {name: Row(name) for name in contestants}
    for number in range(rounds):
        for name, (file, work) in in_turn(contestants, number):
            file.unlink(missing_ok=True)
            timed(rows[name], partial(work, file))
            rows[name].size = file.stat().st_size
    return rows


def bench_expanding(place: Path, rounds: int) -> dict[str, Row]:
    """Everybody expands into directories never used before; ours verifies the checksum as well."""
    ours = place / "ours.tgz"
    scripts = {
        "tar -xzf": (ours, 'tar -C "$2" -xzf "$1"'),
        "pigz -dc | tar -x": (ours, 'pigz -dc "$1" | tar -C "$2" -x'),
        "zstd -dc | tar -x": (place / "tar.zst", 'zstd -qdc "$1" | tar -C "$2" -x'),
    }
    contestants: dict[str, Callable[[Path], object]] = {"procman": partial(_by_store, ours)}
    for name, (file, script) in scripts.items():
        if file.exists() and shutil.which(script.split()[0]) is not None:
            contestants[name] = partial(shell, script, file)
    contestants["tarfile"] = partial(_by_tarfile, ours)
    rows = {name: Row(name) for name in contestants}
    for number in range(rounds):
        for name, work in in_turn(contestants, number):
            target = Path(tempfile.mkdtemp(dir=place))
            if name == "procman":
                adopt(SlugStore(target), ours)
            timed(rows[name], partial(work, target))
    return rows


def _by_store(file: Path, target: Path) -> None:
    store = SlugStore(target)
    store.expanded(store.all()[0].id)


def _by_tarfile(file: Path, target: Path) -> None:
    with tarfile.open(file) as tar:
        tar.extractall(target, filter="data")


def bench_copies(place: Path, rounds: int) -> dict[str, Row]:
    """From asking for one more copy to the end of `true` in it, by each means there is."""
    store = SlugStore(place / "copies")
    store.root.mkdir()
    slug = adopt(store, place / "ours.tgz")
    store.expanded(slug.id)
    rows: dict[str, Row] = {}
    for means in Means:
        copies = Copies(store, means)
        row = Row(means.value)
        for number in range(rounds if means is not Means.FILES else 3):
            os.sync()
            begin = time.perf_counter()
            try:
                copy = copies.copy_for(slug.id, "web.1", number)
            except SlugError as problem:
                print(f"({means.value}: {problem})")
                break
            status = subprocess.run([*copy.argv_prefix, "true"], check=False)
            took = time.perf_counter() - begin
            copy.close()
            if status.returncode != 0:
                print(f"({means.value}: not to be had here)")
                break
            row.seconds.append(took)
        if row.seconds:
            rows[row.name] = row
    return rows


def bench_deploys(place: Path, rounds: int) -> dict[str, Row]:
    """The next expansion when the last tree is moved aside, and when it is deleted first."""
    rows = {name: Row(name) for name in ("old one moved aside", "old one deleted first")}
    for name, row in rows.items():
        store = SlugStore(place / name.replace(" ", "-"))
        store.root.mkdir()
        slug = adopt(store, place / "ours.tgz")
        store.expanded(slug.id)
        for _ in range(rounds):
            if name == "old one moved aside":
                (store.expansions / slug.id / "boot").write_text("")
            else:
                remove_tree(store.expansions / slug.id)
            timed(row, partial(store.expanded, slug.id))
    return rows


def show(title: str, rows: dict[str, Row], time_of: str, size_of: str | None = None) -> None:
    """A table, with each time as a share of one contestant's, and each size of another's."""
    print(f"\n{title}")
    reference = rows.get(time_of)
    sized = rows.get(size_of) if size_of is not None else None
    for row in rows.values():
        text = f"  {row.name:<28}{row.median * 1000:9.1f} ms"
        if reference is not None:
            text += f"   {row.median / reference.median:5.2f} x {time_of}"
        if sized is not None:
            text += f"   {row.size / MiB:7.1f} MiB   {row.size / sized.size:5.3f} x {size_of}"
        print(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slugs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--directory", type=Path, help="on the disk to be measured")
    given = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="procman-slugs-", dir=given.directory))
    try:
        tree = place / "tree"
        count, total = make_tree(tree, given.files, given.megabytes * MiB)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        print(
            f"{count} files, {total / MiB:.0f} MiB; {given.rounds} rounds, medians; "
            f"{cores} cores; Python {sys.version.split()[0]}"
        )
        packing = bench_packing(tree, place, given.rounds)
        show("packing", packing, "tar | pigz -6", "tar | gzip -6")
        expanding = bench_expanding(place, given.rounds)
        show("first expansion, checksum and all", expanding, "tar -xzf")
        copies = bench_copies(place, max(given.rounds, 20))
        show("one more dyno, until its first command has run", copies, Means.FILES.value)
        deploys = bench_deploys(place, given.rounds)
        show("the next deploy's expansion", deploys, "old one moved aside")
    finally:
        remove_tree(place)


if __name__ == "__main__":
    unwind_on_sigterm()
    main()
