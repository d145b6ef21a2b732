"""Answers what other terminals ask: checks it, tells the fleet, and waits where asked to."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from procman.core.bedtime import why_awake
from procman.core.dyno import Dyno, State, Want
from procman.core.fleet import WEB
from procman.core.formation import match_targets, parse_scale
from procman.core.moving import lost_successor, newest
from procman.core.status import PATIENCE, is_hopeless, row, steady_at, unsettled
from procman.core.wire import Request
from procman.errors import InputError, ProcmanError, ProtocolError
from procman.runtime.boots import Boots
from procman.runtime.process import Process
from procman.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from procman.core.routing import Stats

ASLEEP = (State.SUSPENDED, State.IDLE)

Answer = Mapping[str, object]


class Desk:
    """One app's answers. `describe` gives what the app as a whole is: its name, url, release.

    `end(kill)` ends it; `require_room(formation)` raises ProcmanError for more than fit; `preboot`:
    how dynos are restarted where nobody says otherwise.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        boots: Boots,
        describe: Callable[[], Mapping[str, object]],
        end: Callable[[bool], None],
        *,
        require_room: Callable[[Mapping[str, int]], None],
        preboot: bool = False,
    ) -> None:
        self._supervisor = supervisor
        self._fleet = supervisor.fleet
        self._boots = boots
        self._describe = describe
        self._end = end
        self._require_room = require_room
        self._preboot = preboot

    async def answer(self, request: Request) -> Answer:
        """Do what is asked. Raises ProcmanError, which the asker gets as it is."""
        match request.do:
            case "ps":
                return self._ps(request)
            case "scale":
                return await self._scale(request)
            case "restart":
                return await self._restart(request)
            case "stop":
                return await self._stop(request)
            case "signal":
                return self._signal(request)
            case "idle":
                return await self._idle(request)
            case "wake":
                return await self._wake(request)
            case "wait":
                return await self._wait(request)
            case _:
                raise ProtocolError(f"{request.do} is not for this desk")

    def _ps(self, request: Request) -> Answer:
        now, wall = self._supervisor.now, time.time()
        described = self._describe()
        release = described.get("release")
        current = release if isinstance(release, str) else None
        front = self._supervisor.front
        counts = {} if front is None else front.stats()
        rows = []
        for name in self._targets(request):
            process = self._process_of(name)
            shown = row(
                self._fleet,
                self._fleet.dynos[name],
                now=now,
                wall=wall,
                pid=None if process is None else process.pid,
                port=self._port_of(name),
                release=current if process is None else process.release,
            )
            rows.append({**asdict(shown), **requests_of(counts.get(name))})
        return {
            **described,
            "pid": os.getpid(),
            "formation": dict(self._fleet.formation),
            "dynos": rows,
        }

    async def _scale(self, request: Request) -> Answer:
        changed = parse_scale(request.words("changes"), self._formation())
        if changed:
            self._require_no_end()
            for name, quantity in changed.items():
                if quantity:  # a port past 65535 is an error before anything changes
                    self._boots.port_of(f"{name}.{quantity}")
            self._require_room({**self._formation(), **changed})
            self._supervisor.perform(self._fleet.scale(changed, self._supervisor.now))
        waiting: Mapping[str, str] = {}
        if request.flag("wait"):
            names = [n for n, d in self._fleet.dynos.items() if d.type in changed]
            kept = [n for n in names if int(n.rpartition(".")[2]) <= changed[n.rpartition(".")[0]]]
            waiting = await self._until_settled(kept, PATIENCE)
            gone = set(names) - set(kept)
            await self._supervisor.until(lambda: not self._any_leaving(gone))
        return {"changed": changed, "formation": self._formation(), "unsettled": waiting}

    async def _restart(self, request: Request) -> Answer:
        names = [name for name in self._targets(request) if not self._fleet.is_leaving(name)]
        self._require_no_end()
        boots = newest(self._fleet, names)
        kill, now = request.flag("now"), self._supervisor.now
        asked = request.fields.get("preboot")
        if (self._preboot if asked is None else asked is True) and not kill:
            effects = self._fleet.preboot(names, now)
        else:
            effects = self._fleet.restart(names, now, kill=kill)
        self._supervisor.perform(effects)
        waiting: Mapping[str, str] = {}
        if request.flag("wait"):
            waiting = await self._until_settled(names, PATIENCE, newer_than=boots)
        return {"dynos": names, "unsettled": waiting}

    async def _stop(self, request: Request) -> Answer:
        names = self._targets(request)
        now, kill = self._supervisor.now, request.flag("now")
        if request.words("targets"):
            self._supervisor.perform(self._fleet.stop(names, now, kill=kill))
            if request.flag("wait"):
                await self._supervisor.until(lambda: not self._any_stopping(names))
        else:
            # The answer goes out first: the client that asked sees the end as the socket's end.
            asyncio.get_running_loop().call_soon(self._end, kill)
        return {"dynos": names}

    async def _idle(self, request: Request) -> Answer:
        """Refused as a whole when one of them may not sleep."""
        names = self._web_targets(request)
        for name in names:
            reason = why_awake(self._fleet, name) or self._supervisor.keeps_awake(name)
            if reason is not None and self._fleet.dynos[name].state not in ASLEEP:
                raise InputError(f"{name} may not sleep now: {reason}")
        self._supervisor.perform(self._fleet.idle(names, self._supervisor.now))
        if request.flag("wait"):
            await self._supervisor.until(lambda: not self._fall_asleep(names))
        return {"dynos": names}

    async def _wake(self, request: Request) -> Answer:
        names = self._web_targets(request)
        self._require_no_end()
        self._supervisor.perform(self._fleet.wake(self._supervisor.now, names))
        waiting: Mapping[str, str] = {}
        if request.flag("wait"):
            waiting = await self._until_settled(names, PATIENCE)
        return {"dynos": names, "unsettled": waiting}

    def _require_no_end(self) -> None:
        """Nothing boots any more once the app is to end."""
        if self._fleet.is_ending:
            raise ProcmanError(
                "the app is being stopped", hint="`procman stop --wait` returns when it is gone"
            )

    def _web_targets(self, request: Request) -> list[str]:
        """Without targets the web dynos: the others never sleep."""
        names = self._targets(request)
        if request.words("targets"):
            return names
        web = [name for name in names if self._fleet.dynos[name].type == WEB]
        if not web:
            raise InputError("the app has no web dynos, and the others never sleep")
        return web

    def _fall_asleep(self, names: Iterable[str]) -> bool:
        """Whether some are on their way, neither asleep nor wanted up again."""
        dynos = [self._fleet.dynos[name] for name in names if name in self._fleet.dynos]
        return any(d.want is Want.ASLEEP and d.state not in ASLEEP for d in dynos)

    def _process_of(self, name: str) -> Process | None:
        """Of the boot whose state the dyno has; a new one may come up beside it."""
        return self._boots.find(name, self._fleet.dynos[name].boot)

    def _port_of(self, name: str) -> int | None:
        """Where it was found to listen, else where it was told to."""
        process = self._process_of(name)
        if process is None or process.reached_at is None:
            return self._boots.port_of(name)
        return process.reached_at[1]

    def _signal(self, request: Request) -> Answer:
        number = int(request.number("number") or 0)
        if number not in set(signal.Signals):
            raise InputError(f"there is no signal {number}")
        names = [name for name in self._targets(request) if name in self._boots.by_dyno]
        self._supervisor.perform(self._fleet.wake(self._supervisor.now, names))
        for name in names:
            self._supervisor.send(name, number)
        return {"dynos": names}

    async def _wait(self, request: Request) -> Answer:
        timeout = request.number("timeout")
        names = self._targets(request)
        wanted = [name for name in names if self._fleet.dynos[name].want is not Want.DOWN]
        if not request.words("targets"):
            names = wanted
        waiting = await self._until_settled(names, PATIENCE if timeout is None else timeout)
        return {"dynos": names, "unsettled": waiting}

    async def _until_settled(
        self, names: Sequence[str], timeout: float, newer_than: Mapping[str, int] | None = None
    ) -> Mapping[str, str]:
        """Wait until all are up and seem to stay so, or one never will be, or the time is over;
        who is not, and why.
        """
        older = newer_than or {}

        def waiting() -> Mapping[str, str]:
            found = dict(unsettled(self._fleet, names))
            for name, boot in older.items():
                dyno = self._fleet.dynos.get(name)
                if dyno is not None and dyno.boot <= boot and name not in found:
                    is_lost = lost_successor(self._fleet, dyno, boot)
                    found[name] = "its new boot did not come up" if is_lost else "not restarted yet"
            return found

        def is_decided() -> bool:
            dynos = [self._fleet.dynos[name] for name in waiting()]
            return not dynos or any(is_hopeless(dyno) or is_lost(dyno) for dyno in dynos)

        def is_lost(dyno: Dyno) -> bool:
            return dyno.name in older and lost_successor(self._fleet, dyno, older[dyno.name])

        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self._supervisor.until(is_decided)
                    if not is_decided():
                        continue  # it crashed before we were told that it was up
                    left = steady_at(self._fleet, names) - self._supervisor.now
                    if left <= 0 or waiting():
                        break
                    await asyncio.sleep(left)
        except TimeoutError:
            pass
        return waiting()

    def _targets(self, request: Request) -> list[str]:
        return match_targets(request.words("targets"), list(self._fleet.dynos), self._fleet.types)

    def _formation(self) -> dict[str, int]:
        return {name: self._fleet.formation.get(name, 0) for name in self._fleet.types}

    def _any_stopping(self, names: Iterable[str]) -> bool:
        """Whether a process is yet to end; another terminal may have asked for it again."""
        dynos = [self._fleet.dynos[name] for name in names if name in self._fleet.dynos]
        return any(dyno.is_live and dyno.want is Want.DOWN for dyno in dynos)

    def _any_leaving(self, names: Iterable[str]) -> bool:
        return any(n in self._fleet.dynos and self._fleet.is_leaving(n) for n in names)


def requests_of(counts: Stats | None) -> Mapping[str, object]:
    """What the router counted of a dyno, as `ps --json` shows it; nothing where it counts not."""
    if counts is None:
        return {"in_flight": None, "served": None, "per_second": None}
    return {
        "in_flight": counts.in_flight,
        "served": counts.served,
        "per_second": round(counts.per_second, 1),
    }


__all__ = ["Answer", "Desk", "ProcmanError"]
