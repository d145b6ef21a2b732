"""The fleet as stories in virtual time: facts and intents go in, effects come out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from procman.core.dyno import (
    Drain,
    Drained,
    Effects,
    Exited,
    Freeze,
    Idle,
    Kill,
    Policy,
    Ready,
    Restart,
    Say,
    Signal,
    Spawn,
    State,
    Thaw,
    Want,
)
from procman.core.fleet import BROKEN_AFTER, Ends, Fleet, ProcessType
from procman.core.status import why_not_up

SIGTERM, SIGKILL = 15, 9
Answer = Callable[[str, int], int | None]


def obedient(_dyno: str, number: int) -> int | None:
    """A process that dies of what it is sent."""
    return -number


def stubborn(_dyno: str, number: int) -> int | None:
    """A process that ignores everything but SIGKILL."""
    return -number if number == SIGKILL else None


class World:
    """A fleet, a clock, and processes: spawned ones are ready at once and answer signals."""

    def __init__(self, fleet: Fleet, answer: Answer = obedient) -> None:
        self.fleet = fleet
        self.answer = answer
        self.now = 0.0
        self.alive: dict[str, int] = {}
        self.told: list[str] = []
        self.doomed: dict[str, int] = {}  # dynos whose boots exit at once, and with what

    def do(self, effects: Effects) -> None:
        """Perform, and report what comes of it."""
        for effect in effects:
            match effect:
                case Spawn(dyno, boot):
                    assert dyno not in self.alive, f"two processes in {dyno}"
                    self.alive[dyno] = boot
                    self.told.append(f"spawn {dyno}")
                    self.do(self.fleet.observe(Ready(dyno, boot), self.now))
                    if dyno in self.doomed:
                        self.exit(dyno, self.doomed[dyno])
                case Signal(dyno, boot, number):
                    assert self.alive.get(dyno) == boot, "a signal to nobody"
                    self.told.append(f"signal {dyno}")
                    self._send(dyno, number)
                case Kill(dyno, boot):
                    assert self.alive.get(dyno) == boot, "a kill of nobody"
                    self.told.append(f"kill {dyno}")
                    self._send(dyno, SIGKILL)
                case Drain(dyno, boot):
                    self.do(self.fleet.observe(Drained(dyno, boot), self.now))
                case Say(dyno, text):
                    self.told.append(f"say {dyno} {text}")
                case Freeze() | Thaw():
                    pass

    def _send(self, dyno: str, number: int) -> None:
        status = self.answer(dyno, number)
        if status is not None:
            self.exit(dyno, status)

    def exit(self, dyno: str, status: int) -> None:
        """The dyno's process ends."""
        boot = self.alive.pop(dyno)
        self.do(self.fleet.observe(Exited(dyno, boot, status), self.now))

    def runs(self) -> bool:
        """Whether nothing has ended the app."""
        return not self.fleet.is_ending

    def is_over(self) -> bool:
        """Whether it has ended and nothing is left."""
        return self.fleet.is_over

    def scale(self, **quantities: int) -> None:
        """`procman scale`."""
        self.do(self.fleet.scale(quantities, self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        until = self.now + seconds
        while self.fleet.deadline is not None and self.fleet.deadline <= until:
            self.now = max(self.now, self.fleet.deadline)
            self.do(self.fleet.tick(self.now))
        self.now = until

    def heard(self) -> list[str]:
        """What happened since the last time, without the words."""
        told = [what for what in self.told if not what.startswith("say")]
        self.told = []
        return told

    def states(self) -> dict[str, str]:
        """Each dyno's state."""
        return {name: dyno.state.value for name, dyno in self.fleet.dynos.items()}


def world(
    *names: str,
    answer: Answer = obedient,
    policy: Policy = Policy(boot_timeout=None),  # noqa: B008  # frozen
    fail_fast: bool = False,
    ends: Ends = Ends.BROKEN,
    after: dict[str, tuple[str, ...]] | None = None,
) -> World:
    """An app of these process types, at nothing yet."""
    types = {
        name: ProcessType(name, f"run {name}", policy, (after or {}).get(name, ()))
        for name in names
    }
    return World(Fleet(types, fail_fast=fail_fast, ends=ends), answer)


# --- scale ---


def test_scaling_starts_in_order_and_stops_the_highest_numbers_first() -> None:
    """web.1 is the last to go."""
    app = world("web", "worker")
    app.scale(web=3, worker=1)
    assert app.heard() == ["spawn web.1", "spawn web.2", "spawn web.3", "spawn worker.1"]
    app.scale(web=1)
    assert app.heard() == ["signal web.3", "signal web.2"]
    assert app.states() == {"web.1": "up", "worker.1": "up"}
    app.scale(web=2, worker=2)
    assert app.heard() == ["spawn web.2", "spawn worker.2"]
    assert list(app.fleet.dynos) == ["web.1", "web.2", "worker.1", "worker.2"]


def test_what_was_not_named_is_left_alone() -> None:
    """Not even restarted."""
    app = world("web", "worker")
    app.scale(web=1, worker=2)
    app.heard()
    app.scale(web=1)
    assert app.heard() == []


def test_ten_dynos_are_numbered_in_order_not_in_the_alphabets() -> None:
    """web.10 follows web.9."""
    app = world("web")
    app.scale(web=11)
    assert list(app.fleet.dynos)[-2:] == ["web.10", "web.11"]
    app.heard()
    app.scale(web=9)
    assert app.heard() == ["signal web.11", "signal web.10"]


def test_a_scale_through_zero_forgives_and_begins_afresh() -> None:
    """The back-off of a crashed dyno is over, and the app does not end for being empty."""
    app = world("web", ends=Ends.DONE)
    app.doomed = {"web.1": 1}
    app.scale(web=1)
    app.wait(100.0)
    assert app.fleet.dynos["web.1"].crashes > 4
    app.scale(web=0)
    assert app.states() == {}
    assert app.runs()
    app.doomed = {}
    app.scale(web=1)
    assert app.states() == {"web.1": "up"}
    assert app.fleet.dynos["web.1"].crashes == 0


def test_scaled_up_again_while_it_stops_a_dyno_boots_when_the_old_process_is_gone() -> None:
    """Never two processes."""
    app = world("web", answer=stubborn)
    app.scale(web=2)
    app.scale(web=1)
    app.scale(web=2)
    app.heard()
    assert app.fleet.dynos["web.2"].state is State.STOPPING
    app.wait(11.0)
    assert app.heard() == ["kill web.2", "spawn web.2"]
    assert app.states() == {"web.1": "up", "web.2": "up"}


def test_a_restart_does_not_bring_back_what_was_scaled_away() -> None:
    """It stops yet when somebody restarts everything: the formation is what was asked for."""
    app = world("web", answer=stubborn)
    app.scale(web=2)
    app.scale(web=1)
    app.heard()
    app.do(app.fleet.restart(["web.1", "web.2"], app.now))
    app.wait(30.0)
    assert app.states() == {"web.1": "up"}
    assert app.fleet.formation == {"web": 1}


# --- restart and stop ---


def test_a_restart_boots_each_dyno_anew() -> None:
    """The old process goes before the new one comes."""
    app = world("web")
    app.scale(web=2)
    app.heard()
    app.do(app.fleet.restart(["web.1", "web.2"], app.now))
    assert sorted(app.heard()) == ["signal web.1", "signal web.2", "spawn web.1", "spawn web.2"]
    assert [dyno.boot for dyno in app.fleet.dynos.values()] == [2, 2]


def test_a_stopped_dyno_stays_down_until_it_is_wanted_again() -> None:
    """Hours later it is still down; its neighbours are not touched, and the app does not end."""
    app = world("web")
    app.scale(web=2)
    app.do(app.fleet.stop(["web.1"], app.now))
    app.wait(36_000.0)
    assert app.states() == {"web.1": "down", "web.2": "up"}
    app.do(app.fleet.restart(["web.1"], app.now))
    assert app.states() == {"web.1": "up", "web.2": "up"}


def test_all_stopped_by_hand_is_not_the_end() -> None:
    """Somebody stopped them and may start them again."""
    app = world("web")
    app.scale(web=1)
    app.do(app.fleet.stop(["web.1"], app.now))
    assert app.runs()


def test_killed_now_nobody_is_asked_or_waited_for() -> None:
    """`procman stop --now`, `restart --now`, and the end of the app by the first or the last."""
    app = world("web", answer=stubborn)
    app.scale(web=1)
    app.heard()
    app.do(app.fleet.restart(["web.1"], app.now, kill=True))
    assert app.heard() == ["kill web.1", "spawn web.1"]
    assert app.states() == {"web.1": "up"}
    assert app.fleet.dynos["web.1"].boot == 2
    app.do(app.fleet.stop(["web.1"], app.now, kill=True))
    assert app.heard() == ["kill web.1"]
    assert app.states() == {"web.1": "down"}
    app.do(app.fleet.restart(["web.1"], app.now))
    app.heard()
    app.do(app.fleet.end(143, app.now, kill=True))
    assert app.heard() == ["kill web.1"]


def test_a_restart_mends_what_has_crashed_and_what_has_finished() -> None:
    """It is booted, whatever it was waiting for."""
    app = world("web", "worker", "clock")
    app.scale(web=1, worker=1, clock=1)
    app.exit("worker.1", 0)
    app.doomed = {"web.1": 1}
    app.exit("web.1", 1)
    assert app.states() == {"web.1": "crashed", "worker.1": "finished", "clock.1": "up"}
    app.doomed = {}
    app.do(app.fleet.restart(["web.1", "worker.1"], app.now))
    assert set(app.states().values()) == {"up"}


# --- the end ---


def test_the_end_asks_then_kills_and_the_first_status_stays() -> None:
    """A second end kills at once."""
    app = world("web", "worker", answer=stubborn)
    app.scale(web=1, worker=1)
    app.heard()
    app.do(app.fleet.end(130, app.now))
    assert app.heard() == ["signal worker.1", "signal web.1"]
    assert not app.is_over()
    app.do(app.fleet.end(143, app.now, kill=True))
    assert app.heard() == ["kill worker.1", "kill web.1"]
    assert app.is_over()
    assert app.fleet.status == 130


def test_the_end_waits_no_longer_than_the_grace() -> None:
    """SIGTERM, ten seconds, SIGKILL."""
    app = world("web", answer=stubborn)
    app.scale(web=1)
    app.do(app.fleet.end(143, app.now))
    app.wait(9.9)
    assert not app.is_over()
    app.wait(0.2)
    assert app.is_over()


def test_nothing_boots_once_the_end_has_begun() -> None:
    """Not a crashed dyno at its deadline, not one that is scaled up."""
    app = world("web", "worker", answer=stubborn)
    app.scale(web=1, worker=1)
    app.do(app.fleet.end(143, app.now))
    app.heard()
    app.exit("worker.1", 1)
    app.scale(web=3, worker=2)
    app.wait(100.0)
    assert "spawn" not in " ".join(app.heard())
    assert app.is_over()


def test_when_all_have_finished_the_app_ends_with_success() -> None:
    """Nothing pending."""
    app = world("a", "b")
    app.scale(a=1, b=1)
    app.exit("a.1", 0)
    assert app.runs()
    app.exit("b.1", 0)
    assert app.is_over()
    assert app.fleet.status == 0


def test_the_status_is_that_of_the_first_that_failed_for_good() -> None:
    """In time, not in the Procfile's order; a death by signal n is 128 + n."""
    app = world("a", "b", "c", policy=Policy(restart=Restart.NEVER))
    app.scale(a=1, b=1, c=1)
    app.wait(1.0)
    app.exit("b.1", -11)
    app.wait(1.0)
    app.exit("a.1", 3)
    app.wait(1.0)
    app.exit("c.1", 0)
    assert app.is_over()
    assert app.fleet.status == 139


def test_fail_fast_ends_the_app_with_the_first_exit() -> None:
    """With its status, be it 0; others are asked to stop, and nothing is booted once more."""
    for restart in Restart:
        for status, wanted in ((3, 3), (0, 0), (-11, 139)):
            app = world("a", "b", fail_fast=True, policy=Policy(restart=restart))
            app.scale(a=1, b=1)
            app.exit("a.1", status)
            assert app.is_over()
            assert app.fleet.status == wanted
            assert app.heard() == ["spawn a.1", "spawn b.1", "signal b.1"]


def test_fail_fast_is_about_exits_of_their_own_accord() -> None:
    """A restart or a scale down is no failure."""
    app = world("a", "b", fail_fast=True)
    app.scale(a=2, b=1)
    app.do(app.fleet.restart(["b.1"], app.now))
    app.scale(a=1)
    assert app.runs()
    assert app.states() == {"a.1": "up", "b.1": "up"}


# --- what keeps crashing ---


def test_an_app_of_which_everything_keeps_crashing_gives_up_with_its_status() -> None:
    """`a: exit 3` in a CI log does not loop for ever; its back-off is seen."""
    app = world("a", "b")
    app.doomed = {"a.1": 3, "b.1": 0}
    app.scale(a=1, b=1)
    app.wait(3600.0)
    assert app.is_over()
    assert app.fleet.status == 3
    assert app.heard().count("spawn a.1") == BROKEN_AFTER


def test_while_anything_else_runs_a_crash_loop_goes_on() -> None:
    """Hours of it: a minute apart, never given up."""
    app = world("a", "b")
    app.doomed = {"a.1": 3}
    app.scale(a=1, b=1)
    app.wait(36_000.0)
    assert app.runs()
    assert 36_000 / 60 < app.heard().count("spawn a.1") < 36_000 / 40


def test_always_restarts_for_ever_even_what_ends_with_success() -> None:
    """Heroku's rule."""
    app = world("a", policy=Policy(restart=Restart.ALWAYS))
    app.doomed = {"a.1": 0}
    app.scale(a=1)
    app.wait(36_000.0)
    assert app.runs()
    assert app.heard().count("spawn a.1") > 600


def test_max_restarts_gives_up_for_good() -> None:
    """Two restarts, then its status is the app's."""
    app = world("a", policy=Policy(max_restarts=2))
    app.doomed = {"a.1": 5}
    app.scale(a=1)
    app.wait(3600.0)
    assert app.heard().count("spawn a.1") == 3
    assert app.is_over()
    assert app.fleet.status == 5


@pytest.mark.parametrize("ends", [Ends.DONE, Ends.ASKED])
def test_an_app_that_somebody_looks_after_never_ends_for_being_broken(ends: Ends) -> None:
    """Somebody may mend the file that makes it crash."""
    app = world("a", ends=ends)
    app.doomed = {"a.1": 3}
    app.scale(a=1)
    app.wait(3600.0)
    assert app.runs()
    app.doomed = {}
    app.wait(61.0)
    assert app.states() == {"a.1": "up"}


def test_an_app_that_the_next_save_boots_again_is_never_done() -> None:
    """All have finished, and one that is restarted runs again."""
    app = world("a", ends=Ends.ASKED)
    app.doomed = {"a.1": 0}
    app.scale(a=1)
    assert app.states() == {"a.1": "finished"}
    assert app.runs()
    app.doomed = {}
    app.do(app.fleet.restart(["a.1"], app.now))
    assert app.states() == {"a.1": "up"}


def test_hours_of_crash_loop_of_a_formation_are_arithmetic() -> None:
    """Three hours, thirty dynos, all but one crashing; they do not retry in step."""
    app = world("a", "b", "c")
    app.doomed = {f"{of}.{n}": 1 for of in ("a", "b", "c") for n in range(1, 11)}
    del app.doomed["c.10"]
    app.scale(a=10, b=10, c=10)
    app.wait(10_800.0)
    spawns = app.heard()
    assert len(spawns) > 29 * 180
    deadlines = {dyno.deadline for dyno in app.fleet.dynos.values()}
    assert len(deadlines) == 30


# --- after ---


def test_a_type_waits_for_those_it_comes_after() -> None:
    """The worker boots when the database is up."""
    app = world("worker", "db", after={"worker": ("db",)})
    app.scale(worker=1, db=1)
    assert app.heard() == ["spawn db.1", "spawn worker.1"]


def test_a_type_that_comes_after_one_that_finishes_waits_for_its_success() -> None:
    """As for a migration; a crash of it lets nobody go on."""
    app = world("migrate", "web", after={"web": ("migrate",)})
    app.doomed = {"migrate.1": 0}
    app.scale(migrate=1, web=1)
    assert app.states() == {"migrate.1": "finished", "web.1": "up"}


def test_what_waits_for_something_that_failed_for_good_does_not_hold_the_app() -> None:
    """It would wait for ever."""
    app = world("migrate", "web", policy=Policy(restart=Restart.NEVER), after={"web": ("migrate",)})
    migrate = app.fleet
    assert migrate.scale({"migrate": 1, "web": 1}, 0.0) == (Spawn("migrate.1", 1),)
    assert migrate.dynos["web.1"].state is State.DOWN
    app.do(migrate.observe(Exited("migrate.1", 1, 4), 1.0))
    assert migrate.is_over
    assert migrate.status == 4


def test_a_type_that_nobody_asked_for_holds_nobody_up() -> None:
    """`procman start web` does not wait for a worker that is not started."""
    app = world("db", "web", after={"web": ("db",)})
    app.scale(db=0, web=1)
    assert app.states() == {"web.1": "up"}


def test_a_dyno_boots_when_the_one_that_had_its_port_has_ended() -> None:
    """Not before, whether it is new or restarted; one that runs on is not waited for."""
    app = world("web", "worker", "mailer", answer=stubborn)
    app.scale(web=1, worker=1)
    app.heard()
    app.fleet.behind = {"web.1": ("worker.1", 1), "mailer.1": ("worker.1", 1)}
    app.do(app.fleet.restart(["web.1", "worker.1"], app.now))
    app.scale(mailer=1)
    app.exit("web.1", 0)
    assert app.heard() == ["signal web.1", "signal worker.1"]
    assert app.states() == {"web.1": "down", "worker.1": "stopping", "mailer.1": "down"}
    why = why_not_up(app.fleet, app.fleet.dynos["mailer.1"])
    assert why == "waits for worker.1 to leave its port"
    app.exit("worker.1", 0)
    assert sorted(app.heard()) == ["spawn mailer.1", "spawn web.1", "spawn worker.1"]
    app.do(app.fleet.restart(["web.1"], app.now))
    app.exit("web.1", 0)
    assert app.heard() == ["signal web.1", "spawn web.1"]


def test_a_fact_about_a_dyno_that_is_no_more_is_ignored() -> None:
    """Scaled away meanwhile."""
    app = world("web")
    app.scale(web=1)
    assert app.fleet.observe(Exited("web.7", 1, 1), 0.0) == ()
    assert app.fleet.observe(Exited("web.1", 7, 1), 0.0) == ()


# --- any history ---

NAMES = ("web", "worker", "clock")


class Histories(RuleBasedStateMachine):
    """Random intents and facts, against a model that remembers what was asked last."""

    def __init__(self) -> None:
        super().__init__()
        types = {
            "web": ProcessType("web", "w", Policy(routed=True, idle=Idle.SUSPEND)),
            "worker": ProcessType("worker", "k", Policy(boot_timeout=None)),
            "clock": ProcessType("clock", "c", Policy(restart=Restart.ALWAYS), after=("web",)),
        }
        self.fleet = Fleet(types, ends=Ends.DONE)
        self.now = 0.0
        self.alive: dict[str, int] = {}
        self.asked: dict[str, int] = {}  # quantities
        self.stopped: set[str] = set()
        self.ended = False

    def perform(self, effects: Effects) -> None:
        """As the supervisor would, but processes do nothing of themselves."""
        for effect in effects:
            match effect:
                case Spawn(dyno, boot):
                    assert dyno not in self.alive, "two processes in one dyno"
                    assert not self.ended, "a boot after the end"
                    self.alive[dyno] = boot
                case Say():
                    pass
                case Signal(dyno, boot) | Kill(dyno, boot) | Drain(dyno, boot):
                    assert self.alive.get(dyno) == boot, "to a process that does not live"
                case Freeze(dyno, boot) | Thaw(dyno, boot):
                    assert self.alive.get(dyno) == boot, "to a process that does not live"

    @rule(name=st.sampled_from(NAMES), quantity=st.integers(0, 3))
    def scale(self, name: str, quantity: int) -> None:
        """`procman scale`."""
        self.asked[name] = quantity
        self.stopped = {dyno for dyno in self.stopped if not dyno.startswith(f"{name}.")}
        self.perform(self.fleet.scale({name: quantity}, self.now))

    @precondition(lambda self: self.fleet.dynos)
    @rule(data=st.data(), kill=st.booleans())
    def restart(self, data: st.DataObject, kill: bool) -> None:
        """`procman restart`, of dynos that are asked for."""
        names = [name for name in self.fleet.dynos if self.is_asked(name)]
        chosen = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
        self.stopped -= set(chosen)
        self.perform(self.fleet.restart(chosen, self.now, kill=kill))

    @precondition(lambda self: self.fleet.dynos)
    @rule(data=st.data(), kill=st.booleans())
    def stop(self, data: st.DataObject, kill: bool) -> None:
        """`procman stop`."""
        name = data.draw(st.sampled_from(sorted(self.fleet.dynos)))
        self.stopped.add(name)
        self.perform(self.fleet.stop([name], self.now, kill=kill))

    @precondition(lambda self: self.fleet.dynos)
    @rule(data=st.data())
    def sleep(self, data: st.DataObject) -> None:
        """`procman idle`."""
        name = data.draw(st.sampled_from(sorted(self.fleet.dynos)))
        self.perform(self.fleet.idle([name], self.now))

    @rule()
    def wake(self) -> None:
        """A request."""
        self.perform(self.fleet.wake(self.now))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), status=st.sampled_from([0, 1, -9]))
    def exits(self, data: st.DataObject, status: int) -> None:
        """Any process may end at any time."""
        name = data.draw(st.sampled_from(sorted(self.alive)))
        boot = self.alive.pop(name)
        self.perform(self.fleet.observe(Exited(name, boot, status), self.now))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), late=st.integers(0, 1))
    def ready(self, data: st.DataObject, late: int) -> None:
        """Ready, or a boot that is past."""
        name = data.draw(st.sampled_from(sorted(self.alive)))
        self.perform(self.fleet.observe(Ready(name, self.alive[name] - late), self.now))

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 40.0, 4000.0]))
    def pass_time(self, seconds: float) -> None:
        """Late ticks are harmless: time may jump over many deadlines."""
        self.now += seconds
        self.perform(self.fleet.tick(self.now))

    @rule()
    def end(self) -> None:
        """Ctrl-C, once or many times."""
        again, self.ended = self.ended, True
        self.perform(self.fleet.end(130, self.now, kill=again))

    def is_asked(self, name: str) -> bool:
        """Whether the formation has it."""
        of_type, _, number = name.rpartition(".")
        return int(number) <= self.asked.get(of_type, 0)

    @invariant()
    def who_lives_is_known(self) -> None:
        """The fleet's live dynos are exactly those with a process."""
        live = {name: d.boot for name, d in self.fleet.dynos.items() if d.is_live}
        assert live == self.alive

    @invariant()
    def what_waits_has_a_deadline(self) -> None:
        """Nothing is stuck for want of a tick."""
        for dyno in self.fleet.dynos.values():
            if dyno.state in (State.STOPPING, State.CRASHED) and dyno.want is Want.UP:
                assert dyno.deadline is not None
        if self.fleet.is_ending and not self.ended:  # all have finished
            assert self.fleet.status == 0
            assert not self.alive
            self.ended = True
        assert self.fleet.is_over == (self.ended and not self.alive)

    def teardown(self) -> None:
        """Left alone with well-behaved processes, it settles at what was asked last."""
        self.perform(self.fleet.wake(self.now))
        for _ in range(40):
            for name, boot in tuple(self.alive.items()):
                if self.fleet.dynos[name].state is State.STOPPING:
                    del self.alive[name]
                    self.perform(self.fleet.observe(Exited(name, boot, 0), self.now))
                else:
                    self.perform(self.fleet.observe(Ready(name, boot), self.now))
            if self.fleet.deadline is not None:
                self.now = max(self.now, self.fleet.deadline)
                self.perform(self.fleet.tick(self.now))
        if self.fleet.is_ending:  # it was asked to, or all that was left has finished
            assert self.fleet.is_over
            return
        for name in self.fleet.dynos:
            dyno = self.fleet.dynos[name]
            if not self.is_asked(name) or name in self.stopped:
                assert dyno.state is State.DOWN, dyno
            elif dyno.type != "clock":
                assert dyno.state in (State.UP, State.FINISHED), dyno
        for of_type, quantity in self.asked.items():
            assert len(self.fleet.names(of_type)) == quantity


Histories.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
test_any_history_keeps_the_invariants_and_settles_at_what_was_asked_last = Histories.TestCase


def test_hundreds_of_dynos_are_no_burden() -> None:
    """Scaled, restarted and ended, in a bearable number of effects."""
    app = world("a")
    app.scale(a=300)
    app.do(app.fleet.restart(app.fleet.names(), app.now))
    app.do(app.fleet.end(143, app.now))
    assert app.is_over()
    assert len(app.heard()) == 1200


@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_before_the_first_boot_boots_once(kill: bool) -> None:
    """It is down, and boots when it may."""
    app = world("web")
    app.scale(web=1)
    app.do(app.fleet.stop(["web.1"], app.now))
    app.heard()
    app.do(app.fleet.restart(["web.1"], app.now, kill=kill))
    assert app.heard() == ["spawn web.1"]
