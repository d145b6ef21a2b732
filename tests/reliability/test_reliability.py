"""Whatever happens to an app and to procman, what was promised holds afterwards.

Replay a failure with its seed: `PROCMAN_TEST_SEED=… pytest tests/reliability`.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.reliability.faults import FAULTS, Fault
from tests.reliability.invariants import require_all
from tests.reliability.load import Load
from tests.reliability.world import World

STEPS = 20  # of a random story
FIXED = (1, 2)  # seeds that always run; a fresh one runs besides
ENVIRONMENT = "PROCMAN_TEST_SEED"

NewWorld = Callable[[int, bool], World]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A small file system, where the system gives one: then it can be full."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def new_world(
    tmp_path: Path, disk: Path | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[NewWorld]:
    """An app that runs; whatever is left of it is killed afterwards."""
    worlds: list[World] = []

    def make(seed: int, is_released: bool) -> World:
        root = (disk or tmp_path) / "app"
        root.mkdir()
        chance = random.Random(seed)
        worlds.append(World(root, chance, is_released=is_released, has_disk=disk is not None))
        monkeypatch.setenv("XDG_RUNTIME_DIR", worlds[-1].environ["XDG_RUNTIME_DIR"])
        assert worlds[-1].run("deploy")[0] == 0
        worlds[-1].start()
        return worlds[-1]

    yield make
    for world in worlds:
        world.kill()


def tell(world: World, story: Sequence[Fault]) -> None:
    """Let the faults happen, one after the other, and look after each; then stop the app."""
    before = require_all(world, None)
    print(f"has {before}")
    for number, fault in enumerate(story, 1):
        print(f"{number}. {fault.name} …", flush=True)
        starts = world.starts
        load = Load(world.port, world.chance)
        said, answers = load.during(lambda: fault.happen(world))  # noqa: B023  # called at once
        right = sum(answer.said == "" for answer in answers)
        print(f"   {said}; {right} of {len(answers)} answers right")
        harm = fault.harm_to(world)
        harmed = [answer for answer in answers if not harm.allows(answer)]
        assert not harmed, harmed
        now = require_all(world, before if starts == world.starts else None)
        assert now.threads <= before.threads + THREADS, now
        before = now if starts != world.starts else before
    world.ask("stop")
    assert world.finish() == 0, world.text
    assert not world.processes()
    assert "Traceback" not in world.text
    assert "exception" not in world.text.lower()
    assert not (world.root / ".procman" / "copies").exists() or not os.listdir(
        world.root / ".procman" / "copies"
    )


THREADS = 8  # of asyncio's pool and the house-keeper of copies, which come when they are first used


def seeds() -> dict[str, int]:
    """Those of this run by their tests' names, which all that run side by side must agree on."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        return {given: int(given)}
    return {**{str(seed): seed for seed in FIXED}, "drawn": secrets.randbits(32)}


SEEDS = seeds()


@pytest.mark.parametrize("is_released", [False, True], ids=["directory", "release"])
def test_each_fault_leaves_the_app_as_it_was_asked_for(
    new_world: NewWorld, is_released: bool
) -> None:
    """One after the other, as the table has them."""
    world = new_world(0, is_released)
    tell(world, [fault for fault in FAULTS if fault.is_possible(world)])


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_whatever_comes_in_whatever_order_what_was_promised_holds(
    new_world: NewWorld, seed: int
) -> None:
    """Faults at random, those that are likely more often."""
    print(f"{ENVIRONMENT}={seed}")
    chance = random.Random(seed)
    world = new_world(seed, chance.random() < 0.5)
    possible = [fault for fault in FAULTS if fault.is_possible(world)]
    weights = [fault.weight for fault in possible]
    tell(world, chance.choices(possible, weights, k=STEPS))
