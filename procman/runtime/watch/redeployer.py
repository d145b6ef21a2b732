"""Carries out what a save of the app's files means: restarts, types that come and go.

A request that comes after a save waits at the router until it is decided what the save means, and
then, as ever, until a dyno is up: so it is answered by the new code. Under `--preboot` the old code
answers until the new is up, as that says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from procman.core.dyno import Effects, State
from procman.core.fleet import WEB
from procman.core.moving import movable, newest
from procman.core.replan import Difference, Planned, compare
from procman.core.watch_rules import Subject, TypeGlobs, summary
from procman.errors import InputError, ProcmanError
from procman.runtime.takeover import forget, take_over
from procman.runtime.tree import tree
from procman.runtime.watch.redeploys import Decision, Redeploys
from procman.runtime.watch.stale_bytecode import remove_stale_bytecode

if TYPE_CHECKING:
    from procman.runtime.blueprint import App, Blueprint, Watch
    from procman.runtime.loghub import LogHub
    from procman.runtime.supervisor import Supervisor
    from procman.runtime.web import Web

_NOTHING = Difference((), {}, ())


class Redeployer:
    """Of one running app that follows its files."""

    def __init__(
        self, supervisor: Supervisor, blueprint: Blueprint, hub: LogHub, web: Web | None
    ) -> None:
        self._supervisor = supervisor
        self._fleet = supervisor.fleet
        self._blueprint = blueprint
        self._hub = hub
        self._web = web
        self._tasks = asyncio.TaskGroup()
        self._stories: set[asyncio.Task[None]] = set()
        watch = self._watch
        self._redeploys = Redeploys(
            blueprint.app.root,
            always=watch.always,
            types=_globs(blueprint.app),
            pids=self._pids,
            decide=self._decide,
            decided=self._let_in,
            say=hub.say,
        )

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow the files for as long as this lasts."""
        async with self._tasks:
            await self._redeploys.start()
            self._redeploys.spawned()
            self._begin(self._follow_up(list(self._fleet.dynos)))
            self._hub.say("watching for changes")
            if self._web is not None and not self._blueprint.app.preboot:
                self._web.router.holds = lambda: self._redeploys.is_undecided
            try:
                yield
            finally:
                if self._web is not None:
                    self._web.router.holds = None
                self._redeploys.close()
                for story in self._stories:
                    story.cancel()

    @property
    def _watch(self) -> Watch:
        watch = self._blueprint.app.watch
        assert watch is not None
        return watch

    def _pids(self) -> Mapping[str, Iterable[int]]:
        processes = self._supervisor.boots.by_pid.values()
        return {process.dyno: tree(process.pid) for process in processes}

    def _let_in(self) -> None:
        """Requests that waited for a decision may go on."""
        if self._web is not None:
            self._web.router.refresh()

    def _decide(self, decision: Decision) -> None:
        """Perform what it means, and go on watching once the old processes are gone."""
        if self._fleet.is_ending:
            return
        difference = _NOTHING
        if decision.subjects != {Subject.CODE}:
            try:
                difference = self._read_again()
            except ProcmanError as problem:
                self._hub.say(f"{summary(decision.paths)} changed, but not the app: {problem}")
                if problem.hint:
                    self._hub.say(f"  hint: {problem.hint}")
        remove_stale_bytecode(self._blueprint.app.root, decision.paths)
        web, others = movable(self._fleet)
        wanted = {*decision.types, *difference.restart} - {*difference.gone}
        wanted &= {self._fleet.dynos[name].type for name in (*web, *others)}
        types = [name for name in self._fleet.types if name in wanted]
        if types or difference.scale:
            self._hub.say(_sentence(decision.paths, types, difference))
        web = [n for n in web if WEB in types and self._fleet.dynos[n].state is not State.IDLE]
        others = [name for name in others if name.rpartition(".")[0] in types]
        before = newest(self._fleet, [*web, *others])
        self._supervisor.perform(self._effects(web, others, difference))
        self._begin(self._go_on(before, difference.gone))

    def _effects(self, web: list[str], others: list[str], difference: Difference) -> Effects:
        now = self._supervisor.now
        if self._blueprint.app.preboot:
            effects = self._fleet.preboot(web, now) + self._fleet.restart(others, now)
        else:
            effects = self._fleet.restart([*web, *others], now)
        return effects + self._fleet.scale(difference.scale, now)

    def _read_again(self) -> Difference:
        """Make the running app what its files now say it is. Raises ProcmanError, and then it stays
        as it was.
        """
        old = self._blueprint.app
        new = _as_it_runs(self._watch.plan_again(self._hub.say), old)
        difference = compare(_planned(old), _planned(new))
        take_over(self._supervisor, self._blueprint, new)
        self._redeploys.set_types(_globs(new))
        return difference

    async def _go_on(self, before: Mapping[str, int], gone: Sequence[str]) -> None:
        """The next decision may come when no process of the old code is left to wait for."""
        await self._supervisor.until(lambda: not self._any_old(before))
        self._redeploys.spawned()
        self._redeploys.ended()
        if gone:
            self._begin(forget(self._supervisor, self._blueprint, gone))
        await self._follow_up(list(before))

    async def _follow_up(self, names: Sequence[str]) -> None:
        """Say when they are up: who writes to a file before that is likely one of them."""
        starting = (State.STARTING, State.STOPPING)

        def are_decided() -> bool:
            dynos = [self._fleet.dynos[name] for name in names if name in self._fleet.dynos]
            return all(dyno.state not in starting for dyno in dynos)

        await self._supervisor.until(are_decided)
        self._redeploys.came_up()

    def _any_old(self, before: Mapping[str, int]) -> bool:
        """Whether a dyno still stops whose next boot is to run the new code."""
        dynos = [(self._fleet.dynos.get(name), boot) for name, boot in before.items()]
        return any(
            dyno is not None and dyno.state is State.STOPPING and dyno.boot <= boot
            for dyno, boot in dynos
        )

    def _begin(self, story: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(story)
        self._stories.add(task)
        task.add_done_callback(self._stories.discard)


def _globs(app: App) -> TypeGlobs:
    assert app.watch is not None
    return TypeGlobs(list(app.types), app.watch.globs)


def _as_it_runs(new: App, old: App) -> App:
    """The new plan, but for what stays while the app runs: where it listens, how it is shown.

    Raises ProcmanError when its web dynos cannot do without another way to them.
    """
    ways = [(app.front is not None, app.shared is not None) for app in (old, new)]
    if WEB in new.types and ways[0] != ways[1] and (WEB in old.types or any(ways[1])):
        raise ProcmanError(
            "the way to its web dynos is another now", hint="stop the app, and start it again"
        )
    return replace(
        old,
        types=new.types,
        extra=new.extra,
        formation=new.formation,
        config_vars=new.config_vars,
        port_of=new.port_of,
        watch=new.watch,
    )


def _planned(app: App) -> Planned:
    ports: dict[str, int] = {}
    for name in app.types:
        with suppress(InputError):  # past the last port: it does not run
            ports[name] = app.port_of(name, 1)
    return Planned(app.types, app.formation, app.config_vars, app.extra, ports)


def _sentence(paths: Sequence[str], types: Sequence[str], difference: Difference) -> str:
    """`app.py and 2 more changed, redeploying web, worker`."""
    parts = [f"{summary(paths)} changed"]
    if types:
        parts.append(f"redeploying {', '.join(types)}")
    scaled = difference.scale.items()
    parts += [f"{name} is at {n} now" for name, n in scaled if name not in difference.gone]
    parts += [f"{name} is gone" for name in difference.gone]
    return ", ".join(parts)
