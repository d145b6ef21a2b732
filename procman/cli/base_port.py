"""Where the ports of an app begin: what `start`, `smoke` and `export` agree on."""

from __future__ import annotations

import os

from procman.core.ports import parse_base_port
from procman.runtime.inputs import Inputs

DEFAULT_PORT = 5000  # foreman's
AUTO = "auto"


def find_base_port(inputs: Inputs, *, any_port: bool = False) -> int | None:
    """`-p` beats PROCMAN_PORT beats PORT of the environment beats `.env` beats settings; with
    `--env-override`, `.env` beats the environment here as well.

    None is any free port: for `auto`, and with `any_port` where none of the first two says more.
    Raises InputError for what is no port.
    """
    found = inputs.settings.find("port")
    named = found if found is not None and found[1].startswith(("--", "PROCMAN_")) else None
    if named is None and any_port:
        return None
    places = [(os.environ, "PORT"), (inputs.from_files, "PORT in .env")]
    if inputs.settings.flag("env_override"):
        places.reverse()
    for variables, origin in places:
        if named is None and "PORT" in variables:
            named = variables["PORT"], origin
    value, origin = named or found or (str(DEFAULT_PORT), "default")
    return None if value == AUTO else parse_base_port(str(value), origin)
