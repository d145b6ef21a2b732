"""The live table of `procman top`: readings of each dyno go in, lines of text come out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from procman.core.durations import format_duration
from procman.core.sizes import format_bytes

BARS = "▁▂▃▄▅▆▇█"
KEPT = 12  # readings shown: at one a second, the last 12 s

HEADINGS = ("DYNO", "STATE", "PID", "CPU", "MEMORY", "RESTARTS", "FOR", "LAST EXIT", "COMMAND")
_NUMBERS = {"PID", "CPU", "MEMORY", "RESTARTS"}


@dataclass(slots=True)
class Gauge:
    """The last readings of one dyno: shares of a processor, and bytes."""

    pid: int | None = None
    used: float = 0.0
    at: float = 0.0
    shares: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    bytes: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))

    def read(self, pid: int | None, used: float, size: int, now: float) -> None:
        """Take in the processor seconds used so far and the memory; a new boot begins at 0."""
        known = pid is not None and pid == self.pid and now > self.at
        share = max(0.0, used - self.used) / (now - self.at) if known else 0.0
        self.shares.append(share)
        self.bytes.append(size)
        self.pid, self.used, self.at = pid, used, now


class Top:
    """What the table remembers between two looks."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}
        self._dynos: Sequence[Mapping[str, object]] = ()

    def look(self, dynos: Sequence[Mapping[str, object]], now: float) -> None:
        """Take in the rows of `ps`, with `cpu` and `rss`; `now` is any steady clock."""
        self._dynos = dynos
        names = {str(dyno["dyno"]) for dyno in dynos}
        self._gauges = {name: g for name, g in self._gauges.items() if name in names}
        for dyno in dynos:
            gauge = self._gauges.setdefault(str(dyno["dyno"]), Gauge())
            pid, cpu, rss = dyno["pid"], dyno["cpu"], dyno["rss"]
            gauge.read(
                pid if isinstance(pid, int) else None,
                cpu if isinstance(cpu, (int, float)) else 0.0,
                rss if isinstance(rss, int) else 0,
                now,
            )

    def lines(
        self, title: str, wall: float, window: tuple[int, int], first: int = 0
    ) -> tuple[list[str], int]:
        """The screen of this size (rows, columns), and from which dyno on it shows them: `first`,
        or less when fewer are left.
        """
        height, width = max(4, window[0]), max(20, window[1])
        room = height - 3  # title, headings, the last line
        first = max(0, min(first, len(self._dynos) - room))
        largest = max((max(g.bytes, default=0) for g in self._gauges.values()), default=0)
        cells = [self._cells(dyno, largest, wall) for dyno in self._dynos]
        widths = [max(len(row[i]) for row in [HEADINGS, *cells]) for i in range(len(HEADINGS))]
        shown = cells[first : first + room]
        rows = [_line(row, widths, width) for row in [HEADINGS, *shown]]
        last = "q quits"
        if len(cells) > room:
            last += f"; {first + 1}-{first + len(shown)} of {len(cells)}, j and k scroll"
        return [self._title(title)[:width], *rows, last[:width]], first

    def _title(self, title: str) -> str:
        states = Counter(str(dyno["state"]) for dyno in self._dynos)
        share = sum(g.shares[-1] for g in self._gauges.values() if g.shares)
        size = sum(g.bytes[-1] for g in self._gauges.values() if g.bytes)
        counts = ", ".join(f"{count} {state}" for state, count in states.items()) or "no dynos"
        return f"{title}   {counts}   CPU {share:.0%}   memory {format_bytes(size)}"

    def _cells(self, dyno: Mapping[str, object], largest: int, wall: float) -> tuple[str, ...]:
        gauge = self._gauges[str(dyno["dyno"])]
        since, retry = dyno["since"], dyno["retry_in"]
        last = str(dyno["last_exit"] or "-")
        if isinstance(retry, float):
            last += f", retry in {format_duration(retry)}"
        lives = dyno["cpu"] is not None
        return (
            str(dyno["dyno"]),
            str(dyno["state"]),
            "-" if dyno["pid"] is None else str(dyno["pid"]),
            f"{bars(gauge.shares, 1.0)} {gauge.shares[-1]:5.0%}" if lives else "-",
            f"{bars(gauge.bytes, largest)} {format_bytes(gauge.bytes[-1]):>5}" if lives else "-",
            str(dyno["restarts"]),
            format_duration(max(0.0, wall - since)) if isinstance(since, float) else "-",
            last,
            "".join(c if c.isprintable() else "?" for c in str(dyno["command"])),
        )


def bars(readings: Sequence[float] | deque[float] | deque[int], full: float) -> str:
    """One bar for each reading, the newest at the right; `full` and more is the highest."""
    steps = len(BARS) - 1
    drawn = [BARS[min(steps, round(r / full * steps)) if full else 0] for r in readings]
    return "".join(drawn).rjust(KEPT)


def _line(row: Sequence[str], widths: Sequence[int], width: int) -> str:
    cells = [
        cell.rjust(size) if heading in _NUMBERS else cell.ljust(size)
        for cell, size, heading in zip(row, widths, HEADINGS, strict=True)
    ]
    return "  ".join(cells).rstrip()[:width]
