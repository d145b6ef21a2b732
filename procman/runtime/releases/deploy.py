"""Makes a release of a slug: entered in the ledger, release phase run, taken live, settled.

How the running app moves over is not known here: `go_live` does it, and raises when the new
release does not come up. Whatever fails, the release is settled as failed and the old one stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from procman.core.formation import RELEASE
from procman.core.profile import argv_in_slug
from procman.core.release import Release, Status, draft, rollback
from procman.errors import ProcmanError
from procman.runtime.releases.ledger import INTERRUPTED, Ledger, LedgerWriter, now
from procman.runtime.releases.released import has_profile
from procman.runtime.slugs.build import Log
from procman.runtime.slugs.build_step import ended, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from procman.core.slug import Metadata
    from procman.runtime.slugs.overlay import Copies
    from procman.runtime.slugs.store import SlugStore

RELEASE_LIMIT = 3600.0  # seconds, Heroku's


@dataclass(frozen=True, slots=True)
class Deploy:
    """What every deploy and rollback of one app is done with; `phase_of` gives the command of the
    release phase.
    """

    store: SlugStore
    copies: Copies
    log: Log
    environment_of: Callable[[Release], Mapping[str, str]] = field(repr=False)
    go_live: Callable[[Release], None]
    limit: float = RELEASE_LIMIT
    phase_of: Callable[[Release], str] = lambda release: release.process_types[RELEASE]

    def deploy(
        self,
        slug: Metadata,
        config_vars: Mapping[str, str],
        description: str | None = None,
        *,
        newest: int | None = None,
    ) -> Release:
        """Release `slug`; returns when it is live, raises ProcmanError when it is not, or when
        there is a release after the `newest` that was known.
        """
        with Ledger(self.store).writing() as writer:
            if newest is not None and len(writer.releases) > newest:
                raise ProcmanError(
                    f"{writer.releases[-1].name} was made meanwhile", hint="fetch, and push again"
                )
            release = draft(
                writer.releases,
                slug=slug.id,
                config_vars=config_vars,
                process_types=slug.process_types,
                description=description or f"Deploy {(slug.commit or slug.id)[:7]}",
                at=now(),
            )
            return self._release(writer, release)

    def roll_back(self, name: str | None = None) -> Release:
        """Release the slug and the config vars of an old release once more."""
        with Ledger(self.store).writing() as writer:
            return self._release(writer, rollback(writer.releases, name, at=now()))

    def _release(self, writer: LedgerWriter, release: Release) -> Release:
        writer.add(release)
        try:
            if release.slug is not None:
                tree = self.store.expanded(release.slug)  # before any old dyno is stopped
                if RELEASE in release.process_types:
                    self._run_release_phase(release, release.slug, tree)
            self.go_live(release)
        except ProcmanError as problem:
            writer.settle(release, Status.FAILED, reason=problem.message)
            raise
        except BaseException:
            writer.settle(release, Status.FAILED, reason=INTERRUPTED)
            raise
        return writer.settle(release, Status.SUCCEEDED)

    def _run_release_phase(self, release: Release, digest: str, tree: Path) -> None:
        self.log.heading("Running release phase...")
        argv = argv_in_slug(self.phase_of(release), has_profile=has_profile(tree))
        output = self.log.output()
        copy = self.copies.copy_for(digest, f"{RELEASE}.1", release.version)
        try:
            status = run(
                [*copy.argv_prefix, *argv],
                self.store.root,
                self.environment_of(release),
                self.limit,
                output,
            )
            output.end()
        finally:
            copy.close()
        if status != 0:
            raise ProcmanError(
                f"the release phase of {release.name} failed: {ended(status)}",
                hint="the release before it stays live",
            )
