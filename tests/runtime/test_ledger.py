"""The ledger has one writer, survives its death, and shows its secrets to its owner alone."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from procman.core.release import Release, Status, current, draft, rollback
from procman.errors import InputError, ProcmanError
from procman.runtime.releases.ledger import INTERRUPTED, Ledger, LedgerWriter, now
from procman.runtime.slugs.store import SlugStore

DIGEST = "ab" * 32


def ledger_in(root: Path) -> Ledger:
    return Ledger(SlugStore(root))


def deploy(writer: LedgerWriter, n: int, status: Status | None = Status.SUCCEEDED) -> Release:
    release = writer.add(
        draft(
            writer.releases,
            slug=DIGEST,
            config_vars={"SECRET": f"s{n}"},
            process_types={"web": "x"},
            description=f"Deploy {n}",
            at=now(),
        )
    )
    return release if status is None else writer.settle(release, status)


def test_releases_are_there_for_the_next_command(tmp_path: Path) -> None:
    """With everything a rollback needs."""
    with ledger_in(tmp_path).writing() as writer:
        assert deploy(writer, 1).status is Status.SUCCEEDED
        assert deploy(writer, 2, Status.FAILED).status is Status.FAILED
        deploy(writer, 3)
    with ledger_in(tmp_path).writing() as writer:
        back = writer.add(rollback(writer.releases, None, at=now()))
        writer.settle(back, Status.SUCCEEDED)
    releases = ledger_in(tmp_path).read()
    assert [release.name for release in releases] == ["v1", "v2", "v3", "v4"]
    live = current(releases)
    assert live is not None
    assert (live.description, live.config_vars) == ("Rollback to v1", {"SECRET": "s1"})


def test_an_app_without_releases_has_none(tmp_path: Path) -> None:
    """And reading makes no file."""
    assert ledger_in(tmp_path).read() == ()
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_is_its_owners_alone(tmp_path: Path) -> None:
    """0600, also when somebody has loosened it."""
    ledger = ledger_in(tmp_path)
    with ledger.writing() as writer:
        deploy(writer, 1)
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    ledger.path.chmod(0o644)
    with ledger.writing():
        assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_there_is_one_writer_at_a_time_and_readers_do_not_wait(tmp_path: Path) -> None:
    """A deploy that goes on is pending to them."""
    ledger = ledger_in(tmp_path)
    with ledger.writing() as writer:
        deploy(writer, 1, None)
        with (
            pytest.raises(ProcmanError, match="another deploy of this app is going on"),
            ledger_in(tmp_path).writing(),
        ):
            pass
        assert [release.status for release in ledger.read()] == [Status.PENDING]


def test_a_torn_line_is_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    """And was never seen by a reader."""
    ledger = ledger_in(tmp_path)
    with ledger.writing() as writer:
        deploy(writer, 1)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + b'{"release": 2, "slug')
    assert len(ledger.read()) == 1
    with ledger.writing() as writer:
        assert ledger.path.read_bytes() == whole
        deploy(writer, 2)
    assert [release.name for release in ledger.read()] == ["v1", "v2"]


def test_a_damaged_ledger_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    """The lock is given back as well."""
    ledger = ledger_in(tmp_path)
    with ledger.writing() as writer:
        deploy(writer, 1)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(b"garbage\n" + whole)
    for _ in range(2):
        with pytest.raises(InputError, match=r"releases\.jsonl:1: .*damaged"), ledger.writing():
            pass
    ledger.path.write_bytes(whole + whole)
    with pytest.raises(InputError, match="expected v2, found v1"):
        ledger.read()
    assert ledger.path.read_bytes() == whole + whole


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    """Half a line is taken back."""
    ledger = ledger_in(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ledger.writing() as writer:
        deploy(writer, 1)
        whole = ledger.path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, limits[1]))
        try:
            with pytest.raises(ProcmanError, match="cannot write"):
                deploy(writer, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert ledger.path.read_bytes() == whole
        assert deploy(writer, 2).name == "v2"


# The child deploys for ever and is killed at one of its writes, half of which it may have done.
KILLED = """
import os, random, signal, sys
from procman.core.release import Status, draft, rollback
from procman.runtime.releases.ledger import Ledger, now
from procman.runtime.slugs.store import SlugStore
left, chance, write = int(sys.argv[2]), random.Random(int(sys.argv[2])), os.write
def torn(descriptor, data):
    global left
    left -= 1
    if left == 0:
        write(descriptor, data[: chance.randrange(len(data) + 1)])
        os.kill(os.getpid(), signal.SIGKILL)
    written = write(descriptor, data)
    return written
os.write = torn
while True:
    with Ledger(SlugStore(sys.argv[1])).writing() as writer:
        if len(writer.releases) % 3 == 2:
            release = rollback(writer.releases, None, at=now())
        else:
            release = draft(writer.releases, slug="ab" * 32, config_vars={"A": "1" * 100},
                            process_types={"web": "x"}, description="Deploy", at=now())
        release = writer.add(release)
        print(release.name, flush=True)
        writer.settle(release, Status.SUCCEEDED)
        print("live", flush=True)
"""


@pytest.mark.parametrize("after", random.Random(4).sample(range(1, 40), 10))
def test_kill_9_loses_nothing_that_was_said_and_leaves_nothing_half(
    tmp_path: Path, after: int
) -> None:
    """What was told to be live is live; what was under way is settled as failed by the next."""
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(after)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == -9, result.stderr
    said = result.stdout.split()
    ledger = ledger_in(tmp_path)
    before = ledger.read()
    live = [release for release in before if release.status is Status.SUCCEEDED]
    assert len(live) - said.count("live") in (0, 1)  # 1: killed when the line was whole
    assert len(before) - (len(said) - said.count("live")) in (0, 1)
    with ledger.writing() as writer:
        reasons = {r.reason for r in writer.releases if r.status is Status.FAILED}
        assert reasons <= {INTERRUPTED}
        assert len(writer.releases) - len(live) <= 1
        deploy(writer, 99)
    assert os.path.getsize(ledger.path) == len(ledger.path.read_bytes().rstrip(b"\0"))
    assert ledger.read()[-1].description == "Deploy 99"
