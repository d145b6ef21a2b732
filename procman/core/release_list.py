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
    told = [_told(one) for one in releases]
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


def _told(release: Release) -> str:
    description = _one_line(release.description)
    match release.status:
        case Status.SUCCEEDED:
            return _shortened(description, LONGEST)
        case Status.PENDING:
            return _marked(description, "pending")
        case Status.FAILED:
            reason = "" if release.reason is None else f": {_one_line(release.reason)}"
            return _marked(description, f"failed{reason}")


def _marked(description: str, mark: str) -> str:
    """Both are shortened, but a mark always shows: a release that failed must not look good.

    The mark has the room that the description leaves, and half of it in any case.
    """
    room = LONGEST - len(" ()")
    mark = _shortened(mark, max(room - len(description), room // 2))
    return f"{_shortened(description, room - len(mark))} ({mark})"


def _one_line(text: str) -> str:
    return shown(text.encode("utf-8", "surrogateescape"))


def _shortened(line: str, longest: int) -> str:
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def _time(text: str) -> str:
    """`2026/11/23 11:20:00 +0000` of `2026-11-23T11:20:00.123456Z`."""
    date, _, time = text.partition("T")
    return f"{date.replace('-', '/')} {time[:8]} +0000"
