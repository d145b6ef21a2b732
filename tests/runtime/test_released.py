"""What runs of a release begins with the profile scripts of its slug, whichever there are."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from procman.core.environment import COOKIE
from procman.runtime.releases.deploy import Deploy
from procman.runtime.releases.released import expand_release
from procman.runtime.slugs.build import Log, Order, build
from procman.runtime.slugs.overlay import Copies
from procman.runtime.slugs.store import SlugStore


@pytest.mark.parametrize(
    ("scripts", "said"),
    [
        ((), "0"),
        ((".profile",), "0 .profile"),
        ((".profile.d/a.sh",), "0 .profile.d/a.sh"),
        ((".profile.d/a.sh", ".profile"), "0 .profile.d/a.sh .profile"),
    ],
)
def test_either_profile_is_sourced_without_the_other(
    tmp_path: Path, scripts: tuple[str, ...], said: str
) -> None:
    """By the release phase, and it is told to the dynos and one-offs."""
    (tmp_path / "Procfile").write_text('web: x\nrelease: echo "$N"\n')
    for script in scripts:
        (tmp_path / script).parent.mkdir(exist_ok=True)
        (tmp_path / script).write_text(f'export N="$N {script}"\n')
    store = SlugStore(tmp_path)
    log: list[str] = []
    cookie = f"{uuid.uuid4().hex}.release.1"
    deploys = Deploy(
        store,
        Copies(store),
        Log(log.append),
        lambda release: {**os.environ, COOKIE: cookie, **release.config_vars},
        lambda release: None,
    )
    release = deploys.deploy(build(store, Order(), Log(lambda text: None)), {"N": "0"})
    assert "".join(log).splitlines()[1] == said
    assert expand_release(store, release).has_profile is bool(scripts)
