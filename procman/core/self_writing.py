"""Tells a process that writes into what is watched from a person who saves, so that it cannot loop.

Two kinds of evidence. A dyno's process that has the changed file open for writing is the writer:
its type is not restarted for it. Where nobody was caught, a file that changes after boot upon boot,
and sooner than people do, is put off: it is redeployed for once it was left alone for 5 s, then 10,
20 … 600 s. Nothing is dropped, so that a person wrongly suspected gets the last save all the same.

The limits are wide for what people write by hand (an editor that saves by itself meets a slow boot;
who looks for the right config var saves `.env` again and again) and narrow for other files. A test
that saves code, waits for the answer and saves again, hundreds of times, is never suspected: its
saves come after the boot is up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from procman.core.watch_rules import shown_path

FIRST_WAIT = 5.0
LONGEST_WAIT = 600.0

# What people write: code, templates, styles, settings. JSON and text are as often written by apps.
_SUFFIXES = """
astro bash c cc cfg cjs clj conf cpp cr cs css cts dart eex elm erb erl ex exs fish fs go graphql
h haml hbs heex hpp hs htm html ini j2 java jinja jinja2 jl js jsx kt kts less lhs lua md mjs ml
mts mustache nim php phtml pl pm proto ps1 pug py pyi pyx r rake rb rs ru sass scala scss sh slim
sql svelte swift tf tmpl toml tpl ts tsx twig vue xhtml yaml yml zig zsh
"""
BY_HAND = frozenset(_SUFFIXES.split())


@dataclass(frozen=True, slots=True)
class Limit:
    """How many boots in a row a file may change, before they are up or within some seconds."""

    before_up: int
    in_time: int | None  # None: never, whoever it is
    seconds: float


HAND = Limit(before_up=8, in_time=None, seconds=0.0)
OTHER = Limit(before_up=3, in_time=6, seconds=30.0)


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell the user, once for each file and way to know it."""

    path: str
    by: str | None  # the dyno that was caught, or nobody
    boots: int
    is_own: bool  # .env, the Procfile, the settings: no .gitignore makes these go unseen

    @property
    def message(self) -> str:
        """The log line."""
        path = shown_path(self.path)
        advice = f"if an app writes it, add {path} to .gitignore"
        if self.is_own:
            advice = "an app should not write what says how it runs"
        if self.by is not None:
            return f"{self.by} writes {path} itself and is not restarted for it: {advice}"
        return (
            f"{path} changed after each of the last {self.boots} starts: "
            f"redeploying only when it is left alone; {advice}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to redeploy for now. Of a path in `spared`, not the type of the dyno named there."""

    go: tuple[str, ...]
    spared: Mapping[str, str]
    notices: tuple[Notice, ...]


@dataclass(slots=True)
class _History:
    """One file: the boots in a row in which it changed, and how long it is put off next."""

    boot: int = -1
    in_a_row: int = 0
    early_in_a_row: int = 0
    wait: float = FIRST_WAIT


@dataclass(slots=True)
class SelfWriting:
    """What is known of the files that changed. Times are readings of one monotonic clock."""

    _boot: int = 0
    _spawned: float = 0.0
    _is_up: bool = True
    _files: dict[str, _History] = field(default_factory=dict)
    _early: dict[str, bool] = field(default_factory=dict)
    _put_off: dict[str, float] = field(default_factory=dict)
    _told: set[tuple[str, str | None]] = field(default_factory=set)

    def spawned(self, now: float) -> None:
        """A start or a redeploy spawned its processes."""
        self._boot += 1
        self._spawned = now
        self._is_up = False

    def came_up(self) -> None:
        """They are ready (or crashed, or have no readiness to wait for)."""
        self._is_up = True

    def seen(self, paths: Iterable[str]) -> None:
        """An event of these files came just now; the verdict on them may come much later."""
        for path in paths:
            self._early.setdefault(path, not self._is_up)

    def unchanged(self, paths: Iterable[str]) -> None:
        """They turned out to be as before: their events mean nothing."""
        for path in paths:
            self._early.pop(path, None)

    @property
    def deadline(self) -> float | None:
        """When `take` has something; None while nothing is put off."""
        return min(self._put_off.values(), default=None)

    def has_put_off(self, paths: Iterable[str]) -> bool:
        """Whether all of these are files that wait to be left alone."""
        return all(path in self._put_off for path in paths)

    def take(self, now: float) -> tuple[str, ...]:
        """The paths put off that were left alone long enough: to be redeployed for."""
        due = tuple(path for path, at in self._put_off.items() if at <= now)
        for path in due:
            del self._put_off[path]
            history = self._files[path]
            history.wait = min(LONGEST_WAIT, history.wait * 2)
        return due

    def judge(
        self,
        paths: Iterable[str],
        now: float,
        writers: Mapping[str, str],
        own: Collection[str] = (),
    ) -> Verdict:
        """Which of the changed paths to redeploy for; `writers` are the dynos caught, by path, and
        `own` the files that say how the app runs.
        """
        go, notices = [], []
        for path in paths:
            by = writers.get(path)
            if by is not None:
                notices.append(Notice(path, by, 0, path in own))
            early = self._early.pop(path, not self._is_up)
            if path in self._put_off:
                self._put_off[path] = now + self._files[path].wait
            elif self._is_suspect(path, now, is_early=early, is_own=path in own):
                notices.append(self._postpone(path, now, is_own=path in own))
            else:
                go.append(path)
        new = tuple(one for one in notices if (one.path, one.by) not in self._told)
        self._told.update((one.path, one.by) for one in new)
        spared = {path: writers[path] for path in go if path in writers}
        return Verdict(tuple(go), spared, new)

    def _is_suspect(self, path: str, now: float, *, is_early: bool, is_own: bool) -> bool:
        limit = HAND if is_own or path.rpartition(".")[2].lower() in BY_HAND else OTHER
        history = self._files.setdefault(path, _History())
        in_time = is_early or now - self._spawned <= limit.seconds
        if not in_time or history.boot < self._boot - 1:
            history.in_a_row = history.early_in_a_row = 0
            history.wait = FIRST_WAIT
        if history.boot != self._boot:
            history.boot = self._boot
            history.in_a_row += 1
            history.early_in_a_row = history.early_in_a_row + 1 if is_early else 0
        too_often = limit.in_time is not None and history.in_a_row >= limit.in_time
        return in_time and (history.early_in_a_row >= limit.before_up or too_often)

    def _postpone(self, path: str, now: float, *, is_own: bool) -> Notice:
        history = self._files[path]
        self._put_off[path] = now + history.wait
        return Notice(path, None, history.in_a_row, is_own)
