"""How a dyno of a slug begins: `.profile.d/*.sh` is sourced, then the command runs.

Buildpacks leave there what the app needs to find what they installed. The scripts are for bash,
and take HOME for the app's directory, as it is on Heroku; so HOME is that, where there are any.
Config vars come first, then `.profile.d`, then `.profile`: Heroku's "Dyno startup behavior".
"""

from __future__ import annotations

DIRECTORY = ".profile.d"
SHELL = "/bin/sh"
# $0 is the command: bash sources, and leaves its place to the shell that any command gets.
SOURCE = (
    'export HOME="$PWD"; for script in .profile.d/*.sh .profile; do'
    ' if [ -r "$script" ]; then . "./$script"; fi; done; exec /bin/sh -c "$0"'
)


def argv_in_slug(command: str, *, has_profile: bool) -> list[str]:
    """The argv of a Procfile command in a copy of a slug; `has_profile`: it has a `.profile.d`."""
    if not has_profile:
        return [SHELL, "-c", command]
    return ["/usr/bin/env", "bash", "-c", SOURCE, command]
