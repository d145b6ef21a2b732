"""Which formats there are: our four, and those that other packages bring by entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from procman.errors import ProcmanError, UsageError

if TYPE_CHECKING:
    from procman.export.base import Exporter

BUILT_IN = ("runit", "supervisord", "systemd", "upstart")
# honcho registers its own four in its group; ours stand before them.
OUR_GROUP, HONCHO_GROUP = "procman_exporters", "honcho_exporters"


def formats() -> dict[str, EntryPoint]:
    """All formats by name. A package can replace a built-in one only by our group, on purpose."""
    found = {entry.name: entry for entry in entry_points(group=HONCHO_GROUP)}
    for name in BUILT_IN:
        found[name] = EntryPoint(name, f"procman.export.{name}:Export", OUR_GROUP)
    found.update((entry.name, entry) for entry in entry_points(group=OUR_GROUP))
    return dict(sorted(found.items()))


def load(name: str, template_dir: str | None) -> Exporter:
    """The exporter of a format. Raises UsageError for an unknown one, ProcmanError for a broken."""
    found = formats()
    if name not in found:
        from procman.core.formation import nearest

        close = nearest(name, list(found))
        raise UsageError(
            f"there is no export format {name!r}",
            hint=f"did you mean {close}?" if close else f"one of {', '.join(found)}",
        )
    try:
        exporter: Exporter = found[name].load()(template_dir=template_dir)
    except (ImportError, AttributeError, TypeError) as error:
        raise ProcmanError(
            f"the exporter {name} ({found[name].value}) cannot be used: {error}"
        ) from error
    return exporter
