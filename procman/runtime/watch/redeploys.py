"""Turns what happens to an app's files into decisions to redeploy, and arms the one timer for it.

The order matters. An event is only noted. When the quiet has come the files are read: a save whose
content is as before is no change. Then who wrote them is asked, and only then it is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass

from procman.core.debounce import Contents, Debounce, Phase
from procman.core.self_writing import SelfWriting
from procman.core.watch_rules import Subject, TypeGlobs, summary
from procman.runtime.releases.git_lock import find_git_lock, is_held
from procman.runtime.watch.digests import read_baseline, read_digests, start_of_watching
from procman.runtime.watch.watcher import Changes, LimitReached, Watcher
from procman.runtime.watch.writers import open_for_writing, written_here

OWN = frozenset({Subject.CONFIG, Subject.PROCFILE, Subject.SETTINGS})  # say how the app runs
MANY = 50  # files; reading more of them would hold up the router, and goes to a thread


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do: restart `types` for new code; read anew what `subjects` names besides it."""

    paths: tuple[str, ...]
    types: tuple[str, ...]
    subjects: frozenset[Subject]

    @property
    def message(self) -> str:
        """The log line: `app.py and 2 more changed, redeploying web, worker`."""
        what = f", redeploying {', '.join(self.types)}" if self.types else ""
        return f"{summary(self.paths)} changed{what}"


class Redeploys:
    """From `start` to `close`. `decide` is called on the loop; after it, say `ended` when the new
    processes are spawned, or nothing is decided any more. `say` takes a line for the log, `decided`
    is called when `is_undecided` may have become false.

    `pids` gives the processes of each dyno, by name.
    """

    def __init__(
        self,
        root: str,
        *,
        always: Mapping[str, Subject],
        types: TypeGlobs,
        pids: Callable[[], Mapping[str, Iterable[int]]],
        decide: Callable[[Decision], None],
        decided: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._types = types
        self._pids = pids
        self._decide = decide
        self._decided = decided
        self._say = say
        self._debounce = Debounce()
        self._contents = Contents()
        self._self_writing = SelfWriting()
        self._subjects: dict[str, Subject] = {}
        self._vain: set[str] = set()  # what nothing was redeployed for when it changed last
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_judging = False
        self._git_lock = find_git_lock(root)
        self._watcher = Watcher(
            root,
            self._loop,
            self._noticed,
            self._limited,
            decided,
            always=always,
            ours=written_here(),
        )

    async def start(self) -> None:
        """Watch, then learn in a thread what the files are like (10 µs a file)."""
        since = start_of_watching()
        files = await asyncio.to_thread(self._watcher.start)
        self._spawn(self._learn(files, since))

    def close(self) -> None:
        """Watch and decide nothing any longer."""
        self._watcher.close()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    @property
    def is_undecided(self) -> bool:
        """Whether something was saved and it is not decided yet what to redeploy for it: what a
        process answers now may be old. What a dyno writes itself, and nothing is restarted for, is
        no save.

        Asked for each request; takes 1 µs when nothing happens.
        """
        match self._debounce.phase:
            case Phase.GATHERING | Phase.AGAIN:
                saved = (path for path in self._debounce.waiting if path not in self._vain)
                waits = not self._self_writing.has_put_off(saved)
            case Phase.RESTING | Phase.REDEPLOYING:
                waits = self._is_judging
        return waits or self._watcher.has_news()

    def set_types(self, types: TypeGlobs) -> None:
        """The Procfile or the settings changed."""
        self._types = types

    def spawned(self) -> None:
        """The processes of a start, a restart or a redeploy were spawned."""
        self._self_writing.spawned(self._loop.time())

    def came_up(self) -> None:
        """They are ready, or crashed, or have nothing to be ready by."""
        self._self_writing.came_up()

    def ended(self) -> None:
        """The redeploy is done; what changed meanwhile makes one more."""
        self._debounce.ended()
        self._arm()
        self._decided()

    # On the loop.

    def _noticed(self, changes: Changes) -> None:
        self._self_writing.seen(changes.subjects)
        self._subjects.update(changes.subjects)
        self._debounce.changed(changes.subjects, self._loop.time())
        self._arm()

    def _limited(self, limit: LimitReached) -> None:
        self._say(limit.message)

    def _arm(self) -> None:
        """The timer that runs is moved only when it would be late: a stream of events costs none.
        One that is early finds nothing due and is armed again."""
        deadline = self._deadline()
        if deadline is None:
            return
        if self._timer is not None and not self._timer.cancelled():
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._due)

    def _deadline(self) -> float | None:
        match self._debounce.phase:
            case Phase.REDEPLOYING | Phase.AGAIN:
                return None
            case Phase.RESTING | Phase.GATHERING:
                deadlines = (self._debounce.deadline, self._self_writing.deadline)
                return min((one for one in deadlines if one is not None), default=None)

    def _due(self) -> None:
        self._timer = None
        deadline = self._deadline()
        now = self._loop.time()
        if deadline is not None and deadline <= now and self._goes_on(now):
            deadline = self._deadline()
        if deadline is None or deadline > now:
            self._arm()
            return
        paths = self._debounce.take(now)
        if not paths:
            self._debounce.began()
        rested = self._self_writing.take(now)
        self._is_judging = True
        if len(paths) > MANY:
            self._spawn(self._judge_later(paths, rested))
        else:
            self._judge(read_digests(paths, self._watcher.absolute), rested)

    def _goes_on(self, now: float) -> bool:
        """Whether changes are still being made, or told, of which this is but the beginning."""
        if self._git_lock is not None and is_held(self._git_lock):
            self._debounce.hold(now)
            return True
        if self._watcher.has_news():
            self._debounce.stir(now)
            return True
        return False

    async def _judge_later(self, paths: tuple[str, ...], rested: tuple[str, ...]) -> None:
        digests = await asyncio.to_thread(read_digests, paths, self._watcher.absolute)
        self._judge(digests, rested)

    def _judge(self, digests: Mapping[str, bytes | None], rested: tuple[str, ...]) -> None:
        changed = self._contents.changed(digests)
        self._self_writing.unchanged(digests.keys() - set(changed))
        own = {path for path in changed if self._subjects.get(path, Subject.CODE) in OWN}
        writers = self._writers(changed)
        verdict = self._self_writing.judge(changed, self._loop.time(), writers, own)
        for notice in verdict.notices:
            self._say(f"warning: {notice.message}")
        paths = tuple(dict.fromkeys((*rested, *verdict.go)))
        subjects = {path: self._subjects.pop(path, Subject.CODE) for path in paths}
        types = self._affected(subjects, verdict.spared)
        others = frozenset(subjects.values()) - {Subject.CODE}
        is_vain = not types and not others
        self._vain = self._vain | {*paths} if is_vain else self._vain - {*paths}
        self._is_judging = False
        if not is_vain:
            self._decide(Decision(paths, types, frozenset(subjects.values())))
            self._decided()
        else:
            self.ended()

    def _affected(
        self, subjects: Mapping[str, Subject], spared: Mapping[str, str]
    ) -> tuple[str, ...]:
        """The types to restart for code; one that wrote a file itself not for that file."""
        code = [path for path, what in subjects.items() if what is Subject.CODE]
        wanted = set(self._types.affected(path for path in code if path not in spared))
        for path in spared.keys() & set(code):
            writer = spared[path].rpartition(".")[0]
            wanted |= {name for name in self._types.affected([path]) if name != writer}
        return tuple(name for name in self._types.affected(code) if name in wanted)

    def _writers(self, paths: tuple[str, ...]) -> dict[str, str]:
        """The dynos caught with one of these open for writing. Not for thousands: then it was git,
        or an editor's replace-all."""
        if not paths or len(paths) > MANY:
            return {}
        places = {self._watcher.absolute(path): path for path in paths}
        found = open_for_writing(places, self._pids())
        return {places[place]: dyno for place, dyno in found.items()}

    async def _learn(self, files: list[str], since: int) -> None:
        digests: dict[str, bytes] = {}
        for at in range(0, len(files), MANY):  # in portions: the loop goes on in between
            part = files[at : at + MANY]
            digests |= await asyncio.to_thread(read_baseline, part, self._watcher.absolute, since)
        self._contents.learn(digests)

    def _spawn(self, story: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(story)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
