"""Moves the running app to another release, and back when it does not come up or is not kept.

The ledger says what is kept. Whoever asks for the move holds the connection until the release is
settled there; when the connection ends, also by kill -9, and the ledger does not call the release
live, the app goes back to the one before.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Collection, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from procman.core.dyno import Effects, backoff
from procman.core.fleet import WEB, Ends
from procman.core.moving import (
    Verdict,
    call_off,
    comes_after,
    complaint,
    movable,
    newest,
    verdicts,
)
from procman.core.readiness import Spawned
from procman.core.release import Release, Status, current, find
from procman.core.status import PATIENCE, STEADY
from procman.core.wire import Request, encode, error_answer
from procman.errors import ProcmanError
from procman.runtime.releases.ledger import Ledger
from procman.runtime.releases.released import expand_release
from procman.runtime.slugs.store import SlugStore
from procman.runtime.takeover import forget, take_over

if TYPE_CHECKING:
    from procman.runtime.blueprint import App, Blueprint
    from procman.runtime.loghub import LogHub
    from procman.runtime.supervisor import Supervisor


class Mover:
    """Of one running app; one move at a time."""

    def __init__(self, supervisor: Supervisor, blueprint: Blueprint, hub: LogHub) -> None:
        self._supervisor = supervisor
        self._fleet = supervisor.fleet
        self._blueprint = blueprint
        self._hub = hub
        self._lock = asyncio.Lock()
        self._let_gone: dict[str, int] = {}  # by this move: how many there were of each type

    async def serve(self, request: Request, connection: socket.socket) -> None:
        """Move to the release of this name; the answer comes when it is up.

        Or when it is not, and the old one has its place again. An app that runs from its working
        tree stays as it is: then the answer's release is null. Raises ProcmanError.
        """
        loop = asyncio.get_running_loop()
        if self._blueprint.app.released is None:
            await loop.sock_sendall(connection, encode({"ok": True, "release": None}))
            return
        name = request.text("name")
        async with self._lock:
            new = await asyncio.to_thread(self._plan, name)
            problem = await self._attempt(name, self._move_for(connection, new))
            kept = self._blueprint.app
        if problem is not None:
            with suppress(ConnectionError):  # the asker may be gone
                await loop.sock_sendall(connection, error_answer(problem))
            await self._bring_back(kept)

    @asynccontextmanager
    async def caught_up(self) -> AsyncIterator[None]:
        """With the release that is current by now. For an app that can be asked to move from now
        on: whoever deployed before found that it did not run. What could not go back at once, where
        that one did not come up, is tried meanwhile.
        """
        # No group: it would wrap what the block raises.
        task = asyncio.create_task(self._bring_back(await self._catch_up()))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _catch_up(self) -> App:
        """Move to the current release; the app that is kept, for `_bring_back`.

        It is over at the latest when the app ends. Where it fails, that is said, and the app stays.
        """
        async with self._lock:
            try:
                release = current(self._releases())
                if release is None or release.name == _name(self._blueprint.app):
                    return self._blueprint.app
                self._hub.say(f"{release.name} was released while the app was starting")
                new = await asyncio.to_thread(self._plan, release.name)
            except ProcmanError as error:
                self._hub.say(f"{_name(self._blueprint.app)} stays: {error}")
            else:
                await self._attempt(release.name, self._move_to(new))
            return self._blueprint.app

    async def _attempt(self, name: str, moving: Awaitable[None]) -> ProcmanError | None:
        """Move, and move back where that fails: then why it did."""
        old = self._blueprint.app
        self._let_gone = {}
        # What is let go may be all that has not finished: not the end, for there is more to come.
        ends, self._fleet.ends = self._fleet.ends, Ends.ASKED
        try:
            await moving
        except Exception as error:  # whatever it is, the app is to run as before
            problem = error if isinstance(error, ProcmanError) else ProcmanError(str(error))
            self._hub.say(f"{name} is not live: {problem}")
            await self._move_back(old)
            return problem
        finally:
            self._fleet.ends = ends
            self._supervisor.perform(self._fleet.tick(self._supervisor.now))
        self._hub.say(f"{name} is live")
        return None

    async def _move_for(self, connection: socket.socket, new: App) -> None:
        """Move, answer, and wait until the asker has settled that the release is live."""
        await _unless_gone(connection, self._move_to(new))
        web, others = movable(self._fleet)  # one stopped by hand stays down
        answer = {"ok": True, "release": _name(new), "dynos": [*web, *others]}
        await asyncio.get_running_loop().sock_sendall(connection, encode(answer))
        await _until_gone(connection)
        await asyncio.to_thread(self._require_live, _name(new))

    def _plan(self, name: str) -> App:
        """The app that runs now with what is the release's, its slug expanded."""
        app = self._blueprint.app
        assert app.plan_release is not None
        release = find(self._releases(), name)
        new = app.plan_release(release, expand_release(SlugStore(app.root), release))
        is_routed = any(of_type.policy.routed for of_type in new.types.values())
        if (is_routed and app.front is None) or (new.shared is not None and app.shared is None):
            raise ProcmanError(
                f"{name} has web dynos, and the app was started without",
                hint="stop the app, then `procman start --release`",
            )
        return replace(
            app,
            types=new.types,
            extra=new.extra,
            formation=new.formation,
            config_vars=new.config_vars,
            port_of=new.port_of,
            released=new.released,
        )

    def _releases(self) -> tuple[Release, ...]:
        return Ledger(SlugStore(self._blueprint.app.root)).read()

    def _require_live(self, name: str) -> None:
        release = find(self._releases(), name)
        if release.status is not Status.SUCCEEDED:
            raise ProcmanError("its deploy was interrupted")

    async def _move_to(self, new: App) -> None:
        """Web first, but for what is new and it comes after; only once it is up, the others stop,
        and first of them what is no more: its ports may be those of what is new, which is scaled as
        at a start. Web that waits until a port is left moves with the others.
        """
        before = self._blueprint.app
        added = [name for name in new.types if name not in before.types]
        gone = [name for name in before.types if name not in new.types]
        self._hub.say(f"moving to {_name(new)}")
        take_over(self._supervisor, self._blueprint, new)
        web, _ = movable(self._fleet)
        late = not self._fleet.behind.keys().isdisjoint(web)
        waiting = {_type(name) for name in self._fleet.behind}
        early = [n for n in added if n in comes_after(new.types, WEB) and n not in waiting]
        await self._wait(*self._scaled(new, early))
        first = [] if late else web
        numbers = newest(self._fleet, first)
        await self._wait(numbers, self._fleet.preboot(first, self._supervisor.now))
        self._let_gone = {name: self._fleet.formation.get(name, 0) for name in gone}
        await self._let_go(gone)
        # Asked only now: somebody may have scaled meanwhile, also what is new.
        moving = new.types.keys() & before.types.keys()
        web, others = movable(self._fleet)
        others = [name for name in (*(web if late else ()), *others) if _type(name) in moving]
        numbers = newest(self._fleet, others)
        effects = self._fleet.restart(others, self._supervisor.now)
        fresh, more = self._scaled(new, [name for name in added if name not in early])
        await self._wait({**numbers, **fresh}, effects + more)

    def _scaled(self, new: App, names: Iterable[str]) -> tuple[dict[str, int], Effects]:
        """Types that are new, as at a start or as somebody has asked; which dynos come up by it."""
        formation = {**new.formation, **self._fleet.formation}
        started = {name: formation.get(name, 0) for name in names}
        fresh = {f"{name}.{n + 1}": 0 for name, count in started.items() for n in range(count)}
        return fresh, self._fleet.scale(started, self._supervisor.now)

    async def _let_go(self, gone: Collection[str]) -> None:
        """Of types that are no more, until their last process has ended."""
        scaled = self._fleet.scale(dict.fromkeys(gone, 0), self._supervisor.now)
        self._supervisor.perform(scaled)
        await forget(self._supervisor, self._blueprint, gone)

    async def _move_back(self, old: App) -> None:
        """Bring back what has moved; whether it comes up is its own affair, as ever.

        Of the quantities only those that the move itself changed: the others are as somebody asked.
        """
        if self._is_ending():
            return
        tried = self._blueprint.app
        take_over(self._supervisor, self._blueprint, old)
        now = self._supervisor.now
        effects = call_off(self._fleet, now)
        web, _ = self._elsewhere(old)
        gone = [name for name in tried.types if name not in old.types]
        numbers = newest(self._fleet, web)
        self._supervisor.perform(effects + self._fleet.preboot(web, now))
        await self._let_go(gone)
        if self._is_ending():
            return
        others = [name for name in self._elsewhere(old)[1] if _type(name) in old.types]
        numbers |= newest(self._fleet, others)
        # One that is not at 0 was scaled up again while it was let go.
        back = {n: q for n, q in self._let_gone.items() if q and not self._fleet.formation.get(n)}
        now = self._supervisor.now
        effects = self._fleet.restart(others, now) + self._fleet.scale(back, now)
        with suppress(ProcmanError):
            await self._wait(numbers, effects)

    def _is_ending(self) -> bool:
        return self._fleet.is_ending

    async def _bring_back(self, kept: App) -> None:
        """Web dynos whose old release did not come up beside the new one, for want of room on the
        disk, say: they run on, and are tried again as what crashes is, until there is another move.
        """
        tries = 1
        while (web := self._elsewhere(kept)[0]) and not self._fleet.is_ending:
            tries += 1
            await asyncio.sleep(backoff(tries, web[0]))
            async with self._lock:
                if self._blueprint.app is not kept:
                    return
                web = self._elsewhere(kept)[0]
                numbers = newest(self._fleet, web)
                with suppress(ProcmanError):
                    await self._wait(numbers, self._fleet.preboot(web, self._supervisor.now))

    def _elsewhere(self, app: App) -> tuple[list[str], list[str]]:
        """The web dynos and the others that do not run what this app runs."""
        web, others = (
            [name for name in names if self._release_of(name) != _name(app)]
            for names in movable(self._fleet)
        )
        return web, others

    async def _wait(self, before: Mapping[str, int], effects: Effects) -> None:
        """Perform, then wait until all are up and stay so; raises ProcmanError when not."""
        fleet = self._fleet
        self._supervisor.perform(effects)

        def is_decided() -> bool:
            return verdicts(fleet, before) is not Verdict.WAITING or fleet.is_ending

        def is_disturbed() -> bool:
            return verdicts(fleet, before) is Verdict.FAILED or fleet.is_ending

        policies = [of_type.policy for of_type in fleet.types.values()]
        patience = max(PATIENCE, sum(policy.boot_timeout or 0.0 for policy in policies))
        patience += max((policy.stop_timeout for policy in policies), default=0.0)
        types = {fleet.dynos[name].type for name in before if name in fleet.dynos}
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._supervisor.until(is_decided)
            if any(isinstance(fleet.types[of_type].ready, Spawned) for of_type in types):
                async with asyncio.timeout(STEADY):
                    await self._supervisor.until(is_disturbed)
        if verdicts(fleet, before) is not Verdict.UP or fleet.is_ending:
            hint = "`procman logs` shows what it said; the release before it stays live"
            raise ProcmanError(complaint(fleet, before), hint=hint)

    def _release_of(self, name: str) -> str | None:
        """Of the dyno's own boot, not of a successor that was called off."""
        process = self._supervisor.boots.find(name, self._fleet.dynos[name].boot)
        return None if process is None else process.release


def _name(app: App) -> str:
    return "" if app.released is None else app.released.name


def _type(dyno: str) -> str:
    return dyno.rpartition(".")[0]


async def _until_gone(connection: socket.socket) -> None:
    """Until the asker has closed its end, or was killed; it has nothing more to say."""
    with suppress(ConnectionResetError):
        while await asyncio.get_running_loop().sock_recv(connection, 4096):
            pass


async def _unless_gone(connection: socket.socket, moving: Coroutine[None, None, None]) -> None:
    """Do it for as long as somebody waits for it; raises ProcmanError when nobody does any more."""
    asker = asyncio.create_task(_until_gone(connection))
    work = asyncio.create_task(moving)
    try:
        await asyncio.wait((asker, work), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ProcmanError("its deploy was interrupted")
        work.result()
    finally:
        for task in (asker, work):
            task.cancel()
        await asyncio.gather(asker, work, return_exceptions=True)
