"""How a dyno of a slug begins: `.profile.d/*.sh` and `.profile` are sourced, then the command runs.

Buildpacks leave in the first what the app needs to find what they installed; the second is the
app's own, and either may be there alone. They are for bash, and take HOME for the app's directory,
as it is on Heroku; so HOME is that, where there are any. Config vars come first, then `.profile.d`,
then `.profile`: Heroku's "Dyno startup behavior".
"""

from __future__ import annotations

from collections.abc import Sequence

DIRECTORY = ".profile.d"
FILE = ".profile"
SHELL = "/bin/sh"
# "$@" is the command, to which bash leaves its place; a script may `set --` what it likes.
SOURCE = (
    'export HOME="$PWD"; procman_command=("$@"); set --; for script in .profile.d/*.sh .profile; do'
    ' if [ -r "$script" ]; then . "./$script"; fi; done; exec "${procman_command[@]}"'
)


def argv_in_slug(command: str, *, has_profile: bool) -> list[str]:
    """The argv of a Procfile command in a copy of a slug; `has_profile`: it has either of them."""
    return in_slug([SHELL, "-c", command], has_profile=has_profile)


def in_slug(argv: Sequence[str], *, has_profile: bool) -> list[str]:
    """The same for a command that is an argv."""
    return ["/usr/bin/env", "bash", "-c", SOURCE, "procman", *argv] if has_profile else list(argv)
