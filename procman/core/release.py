"""The ledger of releases: what may be appended, and what its records add up to.

A release begins as pending. It is settled once, by a record of its own, as succeeded or failed;
nothing that is written is ever changed. Versions count up from v1. The current release is the
last that succeeded. Rolling back makes a new release of an old one's slug and config vars.

Config vars hold secrets: they are in the ledger, and in no message and no `repr`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, TypeGuard, assert_never

from procman.core.slug import is_digest
from procman.errors import InputError, ProcmanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KEPT_RELEASES = 10  # whose slugs `procman slug prune` keeps; ours: Heroku keeps all


class Status(Enum):
    """How far a release came; Heroku's words."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


SETTLED = {status.value: status for status in (Status.SUCCEEDED, Status.FAILED)}


@dataclass(frozen=True, slots=True)
class Release:
    """One release; `slug` is None when the working tree itself was released."""

    version: int
    slug: str | None
    process_types: Mapping[str, str]
    description: str
    created_at: str  # ISO 8601, UTC
    status: Status = Status.PENDING
    reason: str | None = None  # why it failed
    config_vars: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """`v7`."""
        return f"v{self.version}"


@dataclass(frozen=True, slots=True)
class Settled:
    """How a release ended."""

    version: int
    status: Status
    at: str  # ISO 8601, UTC
    reason: str | None = None


Record = Release | Settled


# --- rules -----------------------------------------------------------------------------------


def draft(
    releases: Sequence[Release],
    *,
    slug: str | None,
    config_vars: Mapping[str, str],
    process_types: Mapping[str, str],
    description: str,
    at: str,
) -> Release:
    """The next release, pending."""
    version = releases[-1].version + 1 if releases else 1
    return Release(
        version, slug, dict(process_types), description, at, config_vars=dict(config_vars)
    )


def rollback(releases: Sequence[Release], name: str | None, *, at: str) -> Release:
    """A new release, pending, of what `rollback_target` finds."""
    target = rollback_target(releases, name)
    return draft(
        releases,
        slug=target.slug,
        config_vars=target.config_vars,
        process_types=target.process_types,
        description=f"Rollback to {target.name}",
        at=at,
    )


def rollback_target(releases: Sequence[Release], name: str | None) -> Release:
    """The release `name`, else, as Heroku's, the last but one that succeeded.

    Raises ProcmanError when there is none, when it never went live, when it is the current one,
    and when it has no slug to go back to.
    """
    live = [release for release in releases if release.status is Status.SUCCEEDED]
    if name is None:
        if len(live) < 2:
            raise ProcmanError("there is no release to roll back to")
        target = live[-2]
    else:
        target = find(releases, name)
    if target.status is not Status.SUCCEEDED:
        raise ProcmanError(f"{target.name} never went live: it is {target.status.value}")
    if target is live[-1]:
        raise ProcmanError(f"{target.name} is the current release")
    if target.slug is None:
        raise ProcmanError(
            f"{target.name} has no slug: it was the working tree",
            hint="check out what it was, and deploy that",
        )
    return target


def current(releases: Iterable[Release]) -> Release | None:
    """The release that is live, or was when the app last ran."""
    last = None
    for release in releases:
        if release.status is Status.SUCCEEDED:
            last = release
    return last


def find(releases: Sequence[Release], name: str) -> Release:
    """The release that is called `v7` or `7`; raises ProcmanError when there is none."""
    digits = name.removeprefix("v")
    for release in releases:
        if digits == str(release.version):
            return release
    hint = f"the last is {releases[-1].name}" if releases else "nothing has been released yet"
    raise ProcmanError(f"there is no release {name}", hint=hint)


def unsettled(releases: Iterable[Release]) -> list[Release]:
    """Releases whose deploy is going on, or was killed."""
    return [release for release in releases if release.status is Status.PENDING]


def kept_slugs(releases: Sequence[Release], keep: int = KEPT_RELEASES) -> frozenset[str]:
    """The slugs that must not be pruned: those of the last `keep` live releases and of the pending.

    The current one's is among them whatever `keep` is.
    """
    live = [release for release in releases if release.status is Status.SUCCEEDED]
    wanted = live[-max(keep, 1) :] + unsettled(releases)
    return frozenset(release.slug for release in wanted if release.slug is not None)


# --- records ---------------------------------------------------------------------------------


def fold(records: Iterable[Record]) -> tuple[Release, ...]:
    """What the records add up to; raises ValueError for a record that cannot follow."""
    releases: list[Release] = []
    for record in records:
        match record:
            case Release():
                if record.version != len(releases) + 1:
                    raise ValueError(f"expected v{len(releases) + 1}, found {record.name}")
                releases.append(record)
            case Settled():
                if not 1 <= record.version <= len(releases):
                    raise ValueError(f"v{record.version} is settled before it began")
                index = record.version - 1
                if releases[index].status is not Status.PENDING:
                    raise ValueError(f"v{record.version} is settled twice")
                releases[index] = replace(
                    releases[index], status=record.status, reason=record.reason
                )
            case _:
                assert_never(record)
    return tuple(releases)


def encode(record: Record) -> bytes:
    """One line of JSON."""
    match record:
        case Release():
            facts: dict[str, object] = {
                "release": record.version,
                "slug": record.slug,
                "description": record.description,
                "created_at": record.created_at,
                "process_types": dict(record.process_types),
                "config_vars": dict(record.config_vars),
            }
        case Settled():
            facts = {"settled": record.version, "status": record.status.value, "at": record.at}
            if record.reason is not None:
                facts["reason"] = record.reason
        case _:
            assert_never(record)
    return json.dumps(facts).encode("ascii") + b"\n"


def decode(data: bytes, *, path: str) -> tuple[list[Record], int]:
    """The records, and how many bytes of `data` they take: the rest is a torn last line.

    Raises InputError for any other line that is no record, perhaps a later procman's: it says
    where, not what.
    """
    records: list[Record] = []
    good = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        facts = _json(line)
        if facts is None and number == len(lines) - 1 and not lines[-1]:
            break  # a power failure can leave garbage with its newline
        record = None if facts is None else _record(facts)
        if record is None:
            raise InputError("the ledger of releases is damaged", path=path, line=number)
        records.append(record)
        good += len(line) + 1
    return records, good


def _json(line: bytes) -> dict[str, object] | None:
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _record(facts: dict[str, object]) -> Record | None:
    if "release" in facts:
        return _release(facts)
    version, at, reason = facts.get("settled"), facts.get("at"), facts.get("reason")
    status = SETTLED.get(str(facts.get("status")))
    if not isinstance(version, int) or not isinstance(at, str) or status is None:
        return None
    if reason is not None and not _is_text(reason):
        return None
    return Settled(version, status, at, reason)


def _release(facts: dict[str, object]) -> Release | None:
    version, slug = facts["release"], facts.get("slug")
    description, created_at = facts.get("description"), facts.get("created_at")
    process_types = _texts(facts.get("process_types"))
    config_vars = _texts(facts.get("config_vars"))
    if not isinstance(version, int) or not isinstance(slug, str | None):
        return None
    if slug is not None and not is_digest(slug):
        return None
    if not _is_text(description) or not _is_text(created_at):
        return None
    if process_types is None or config_vars is None:
        return None
    return Release(version, slug, process_types, description, created_at, config_vars=config_vars)


def _texts(value: object) -> dict[str, str] | None:
    """Commands or config vars, which programs are given: the kernel takes no NUL."""
    if not isinstance(value, dict):
        return None
    for name, text in value.items():
        if not (_is_text(name) and _is_text(text)) or "\0" in name + text:
            return None
    return value


def _is_text(value: object) -> TypeGuard[str]:
    """Whether it stands for bytes: UTF-8, or others that were read by way of surrogateescape."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
