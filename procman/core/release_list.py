"""The releases of an app as `procman releases` shows them, in Heroku's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from procman.core.release import Release, Status
from procman.core.slug import shown

LONGEST = 120  # characters of what is told of a release; --json has all of it


def table(app: str, releases: Sequence[Release], current: Release | None) -> list[str]:
    """`=== shop Releases - Current: v42`, and a line for each release."""
    live = "" if current is None else f" - Current: {current.name}"
    names = max((len(one.name) for one in releases), default=0)
    told = [_one_line(_told(one)) for one in releases]
    width = max(map(len, told), default=0)
    lines = [
        f"{one.name:<{names}}  {text:<{width}}  {_time(one.created_at)}"
        for one, text in zip(releases, told, strict=True)
    ]
    return [f"=== {app} Releases{live}", *lines] if lines else [f"{app} has no releases."]


def as_facts(release: Release, *, is_current: bool) -> Mapping[str, object]:
    """For `--json`. Config vars are secrets, and only their names are told."""
    return {
        "version": release.version,
        "status": release.status.value,
        "current": is_current,
        "description": release.description,
        "reason": release.reason,
        "created_at": release.created_at,
        "slug": release.slug,
        "process_types": dict(release.process_types),
        "config_vars": sorted(release.config_vars),
    }


def _one_line(text: str) -> str:
    line = shown(text.encode("utf-8", "surrogateescape"))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _told(release: Release) -> str:
    match release.status:
        case Status.SUCCEEDED:
            return release.description
        case Status.PENDING:
            return f"{release.description} (pending)"
        case Status.FAILED:
            reason = "" if release.reason is None else f": {release.reason}"
            return f"{release.description} (failed{reason})"


def _time(text: str) -> str:
    """`2026/11/23 11:20:00 +0000` of `2026-11-23T11:20:00.123456Z`."""
    date, _, time = text.partition("T")
    return f"{date.replace('-', '/')} {time[:8]} +0000"
