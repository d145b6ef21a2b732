"""Gives each boot of a dyno a copy of its slug's tree, its own to write to and gone with it.

The tree is expanded once. A copy is an overlay on it: mounted by root, or, for anyone else, by a
few milliseconds of program before the dyno's command; where neither is to be had, the files are
copied, sharing their blocks if the file system can.
"""

from __future__ import annotations

import os
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from procman.errors import SlugError
from procman.runtime.slugs import overlay_mount
from procman.runtime.slugs.scratch import GONE, TRASH, Claim, discard, sweep

if TYPE_CHECKING:
    from procman.runtime.slugs.store import SlugStore


# posix_spawn has no working directory, so a millisecond of shell enters it.
ENTER = ("/bin/sh", "-c", 'cd "$0" && unset OLDPWD && exec "$@"')


class Means(Enum):
    """How copies are made, the best first."""

    MOUNT = "overlay"
    NAMESPACE = "overlay in a user namespace"
    FILES = "file by file"


class Copy:
    """One boot's copy. Run `[*argv_prefix, *command]`, once, from anywhere: it begins in `path`.

    Under Means.NAMESPACE `path` is empty for everybody else: the mount is the dyno's alone.
    """

    def __init__(
        self, claim: Claim, argv_prefix: tuple[str, ...], graveyard: Path, *, is_large: bool
    ) -> None:
        self.path = claim.path / "app"
        self.argv_prefix = argv_prefix
        self._claim = claim
        self._graveyard = graveyard
        self._prefix = TRASH if is_large else GONE

    def close(self) -> None:
        """Take the copy away at once; what it held is deleted by the next `Copies.sweep`.

        To be called when the dyno's processes have gone; twice does no harm.
        """
        overlay_mount.unmount(str(self.path))
        try:
            discard(self._claim.path, self._graveyard, self._prefix)
        except OSError:
            pass  # then the next sweep finds it where it is
        self._claim.leave()


class Copies:
    """Makes the copies of one app. `means` is found out with the first unless given."""

    def __init__(self, store: SlugStore, means: Means | None = None) -> None:
        self._store = store
        self.means = means

    def copy_for(self, digest: str, dyno: str, boot: int) -> Copy:
        """A fresh copy of the slug `digest`; raises SlugError when the slug or the disk is bad.

        Quick under an overlay if the slug is expanded (`SlugStore.expanded`), so expand it before
        the old dynos are stopped.
        """
        with self._store.locked(shared=True):  # nobody may prune what we are about to use
            lower = self._store.expanded(digest)
            if self.means is None:
                self.means = self._find_means(lower)
            claim = Claim(self._store.copies, f"{dyno}.{boot}-")
            try:
                (claim.path / "slug").write_text(digest, encoding="ascii")
                prefix = self._make(self.means, lower, claim.path)
            except OSError as problem:
                overlay_mount.unmount(str(claim.path / "app"))
                claim.close()
                raise SlugError(f"cannot make a copy for {dyno}: {problem.strerror}") from None
            except BaseException:
                claim.close()
                raise
            is_large = self.means is Means.FILES
            return Copy(claim, prefix, self._store.temporary, is_large=is_large)

    def sweep(self) -> None:
        """Unmount and delete what closed copies and killed commands have left; may take long."""
        sweep(self._store.copies, before=_unmount)
        self._store.sweep()

    def _make(self, means: Means, lower: Path, place: Path) -> tuple[str, ...]:
        target = place / "app"
        target.mkdir()
        target.chmod(0o755)  # whatever the umask is
        match means:
            case Means.MOUNT:
                overlay_mount.mount_overlay(*_places(lower, place))
                return (*ENTER, str(target))
            case Means.NAMESPACE:
                program = overlay_mount.__file__
                return (sys.executable, "-I", "-S", program, *_places(lower, place))
            case Means.FILES:
                from procman.runtime.slugs.tree_copy import copy_tree
                from procman.runtime.slugs.walk import walk

                source = os.fsencode(lower)
                copy_tree(source, walk(source, None).found, os.fsencode(target))
                return (*ENTER, str(target))

    def _find_means(self, lower: Path) -> Means:
        if not sys.platform.startswith("linux"):
            return Means.FILES
        for means in (Means.MOUNT, Means.NAMESPACE):
            if means is Means.MOUNT and os.geteuid() != 0:
                continue
            with Claim(self._store.copies, "probe-") as place:  # where a sweep unmounts
                try:
                    prefix = self._make(means, lower, place)
                    subprocess.run([*prefix, "true"], check=True, capture_output=True)
                except (OSError, subprocess.CalledProcessError):
                    continue
                finally:
                    _unmount(place)
                return means
        return Means.FILES


def _places(lower: Path, place: Path) -> tuple[str, str, str, str]:
    """Overlay's four directories; made open to others as the slug's own root is."""
    upper, work = place / "upper", place / "work"
    for directory in (upper, work):
        directory.mkdir()
        directory.chmod(0o755)  # whatever the umask is
    return str(lower), str(upper), str(work), str(place / "app")


def _unmount(place: Path) -> None:
    overlay_mount.unmount(str(place / "app"))
