"""What a running app has of a release: its slug's tree, and a copy of it for each boot of a dyno.

A copy takes milliseconds where there are overlays. Where files must be copied, one is always made
ahead, in a thread, and in the same thread is deleted what dynos leave: neither may hold up a wake.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from procman.core.profile import DIRECTORY, FILE
from procman.errors import ProcmanError
from procman.runtime.slugs.overlay import Copies, Copy, Means
from procman.runtime.slugs.store import SlugStore

if TYPE_CHECKING:
    from pathlib import Path

    from procman.core.release import Release
    from procman.runtime.slugs.pack import Progress


@dataclass(frozen=True, slots=True)
class Released:
    """The release that dynos run from; its slug is expanded."""

    name: str
    slug: str
    has_profile: bool


def expand_release(
    store: SlugStore, release: Release, progress: Progress | None = None
) -> Released:
    """Expand the release's slug, which may take long; at once when it is expanded already."""
    if release.slug is None:
        raise ProcmanError(
            f"{release.name} has no slug: it was the working tree", hint="deploy it first"
        )
    tree = store.expanded(release.slug, progress)
    return Released(release.name, release.slug, has_profile(tree))


def has_profile(tree: Path) -> bool:
    """Whether there is anything in a slug's `tree` that `in_slug` sources before a command."""
    return (tree / DIRECTORY).is_dir() or (tree / FILE).is_file()


class DynoCopy:
    """One boot's copy: the command, behind `argv_prefix`, begins in it."""

    def __init__(self, copy: Copy, closed: Callable[[], None]) -> None:
        self.argv_prefix: Sequence[str] = copy.argv_prefix
        self._copy = copy
        self._closed = closed

    def close(self) -> None:
        """The boot is gone, and so is what it wrote."""
        self._copy.close()
        self._closed()


class DynoCopies:
    """The copies of one run of an app."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._copies = Copies(SlugStore(root))
        self._spares: dict[str, Copy] = {}
        self._to_do = threading.Event()
        self._wanted: str | None = None
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def take(self, released: Released, dyno: str, boot: int) -> DynoCopy:
        """A copy for a boot; raises SlugError when the slug is gone or the disk is full."""
        copy = self._spares.pop(released.slug, None)
        if copy is None:
            copy = self._copies.copy_for(released.slug, dyno, boot)
        if self._copies.means is Means.FILES:
            self._wanted = released.slug
        if self._thread is None or self._wanted is not None:
            self._keep_house()  # at first: what killed runs have left
        return DynoCopy(copy, self._keep_house)

    def close(self) -> None:
        """When all dynos are gone: delete what they left, and what killed ones have."""
        self._is_closing = True
        if self._thread is not None:
            self._to_do.set()
            self._thread.join()
        for copy in self._spares.values():
            copy.close()
        self._copies.sweep()

    def _keep_house(self) -> None:
        if self._is_closing:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="copies", daemon=True)
            self._thread.start()
        self._to_do.set()

    def _run(self) -> None:
        while self._to_do.wait() and not self._is_closing:
            self._to_do.clear()
            try:
                self._make_spare()
                self._copies.sweep()
            except (OSError, ProcmanError):
                pass  # the next boot meets the same disk, and says so

    def _make_spare(self) -> None:
        """Only where copying takes long; those of other slugs are of no use any more."""
        wanted = self._wanted
        if wanted is None:
            return
        for slug in [slug for slug in self._spares if slug != wanted]:
            self._spares.pop(slug).close()
        if wanted not in self._spares:
            self._spares[wanted] = self._copies.copy_for(wanted, "spare", 0)
