"""What `start --watch` watches besides the code, and how it is read anew when it changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from procman.cli.options import OPTION_NAMES
from procman.cli.plan import plan, unsaid
from procman.cli.problems import show_problems
from procman.core.watch_rules import Subject
from procman.runtime.blueprint import App, Watch
from procman.runtime.inputs import STDIN, Inputs, read_inputs

SETTINGS_FILES = ("procman.toml", "pyproject.toml")


def watching(app: App, inputs: Inputs, asked: Mapping[str, object], types: Sequence[str]) -> App:
    """The same app, following its files. `asked` and `types` are the call's, and hold again."""
    settings = inputs.settings
    is_piped = settings.text("procfile") == STDIN
    procfile = None if is_piped else _inside(inputs.procfile.path, inputs.root)
    places = [os.path.join(inputs.settings_in, name) for name in SETTINGS_FILES]
    settings_files = [_inside(place, inputs.root) for place in places]
    named = [_inside(file, inputs.root) for file in inputs.env_files]
    # procman works in the app's root from now on: what was named from elsewhere is so from there.
    again = {**asked, "app_root": inputs.root, "procfile": procfile, "env": tuple(named)}
    always = {
        **dict.fromkeys(settings_files, Subject.SETTINGS),
        **dict.fromkeys(named or [".env"], Subject.CONFIG),
    }
    if procfile is not None:
        always[procfile] = Subject.PROCFILE

    def plan_again(say: Callable[[str], None]) -> App:
        fresh = read_inputs(
            again,
            os.environ,
            OPTION_NAMES,
            need_procfile=not is_piped,
            settings_in=inputs.settings_in,
        )
        if is_piped:
            fresh = replace(fresh, procfile=inputs.procfile)
        fresh.procfile.require_valid()
        show_problems(fresh.procfile, say)
        fresh = replace(fresh, elsewhere=list(inputs.procfile.commands))
        new = plan(fresh, types, before=app, say=unsaid)
        return replace(new, watch=follow(fresh))

    def follow(seen: Inputs) -> Watch:
        globs = {name: own.watch for name, own in seen.per_type().items() if own.watch is not None}
        return Watch(always, globs, plan_again)

    return replace(app, watch=follow(inputs))


def _inside(path: str, root: str) -> str:
    return os.path.relpath(os.path.abspath(path), root)
