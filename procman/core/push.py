"""What of a push is deployed: the commit that main, or master, is to be; and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from procman.errors import ProcmanError

BRANCHES = ("main", "master")  # as on Heroku
HEADS, TAGS = "refs/heads/", "refs/tags/"


@dataclass(frozen=True, slots=True)
class Update:
    """One line that git gives its pre-receive hook."""

    old: str
    new: str
    reference: str

    @property
    def is_deletion(self) -> bool:
        """git writes an id of zeros, of whatever length ids have, for nothing."""
        return not self.new.strip("0")


def parse_updates(text: str) -> list[Update]:
    """`OLD NEW REFERENCE` a line."""
    return [Update(*line.split(" ", 2)) for line in text.splitlines() if line.count(" ") >= 2]


def pushed_commit(updates: Iterable[Update]) -> str | None:
    """The commit to deploy; None for a push of tags alone, which are taken and deploy nothing.

    Raises ProcmanError, for a push is taken as a whole or not at all.
    """
    branches = [update for update in updates if not update.reference.startswith(TAGS)]
    for update in branches:
        name = update.reference.removeprefix(HEADS)
        if name not in BRANCHES or name == update.reference:
            raise ProcmanError(
                f"{name} is not deployed, {' and '.join(BRANCHES)} are",
                hint=f"git push procman {name}:{BRANCHES[0]}",
            )
        if update.is_deletion:
            raise ProcmanError(f"{name} cannot be deleted: it is what was deployed")
    if len(branches) > 1:
        raise ProcmanError(f"push one of {' and '.join(BRANCHES)}: one app runs one of them")
    return branches[0].new if branches else None
