"""Which port a dyno gets: foreman's rule, made free of collisions.

base + 100 x (index of the type in the whole Procfile) + (number - 1), as in foreman's engine.rb, so
that `start worker` keeps 5100. foreman's 101st dyno of a type would get the first port of the next;
here numbers above 100 go, interleaved, above all types' hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence

from procman.errors import InputError, wrong_value

STEP = 100
HIGHEST = 65535


def dyno_port(base: int, types: Sequence[str], of_type: str, number: int) -> int:
    """The port of dyno `number` (from 1) of a type; InputError past 65535."""
    index = types.index(of_type)
    if number <= STEP:
        port = base + STEP * index + number - 1
    else:
        port = base + STEP * len(types) + (number - STEP - 1) * len(types) + index
    if port > HIGHEST:
        raise InputError(
            f"{of_type}.{number} would get port {port}, above {HIGHEST}",
            hint="start from a lower base port with -p",
        )
    return port


def parse_base_port(text: str, origin: str) -> int:
    """A base port from 1 to 65535; `origin` is where it was given, for the error, which is of
    `wrong_value`.
    """
    # Python refuses to read numbers of thousands of digits: the length is looked at first.
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= HIGHEST:
        return int(text)
    raise wrong_value(
        origin,
        f"{text[:20]!r} is not a port",
        hint=f"a number from 1 to {HIGHEST}, or 'auto' for free ones",
    )
