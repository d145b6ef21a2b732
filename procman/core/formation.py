"""How many dynos of each process type, and which of them, as typed on a command line.

A wrong type, number or target raises InputError: the same text may stand in a settings file or in
`PROCMAN_CONCURRENCY`, where it is no call at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from procman.errors import InputError

ALL = "all"
RELEASE = "release"  # Heroku runs it once before a release goes live, never as a dyno

# A guard against slips: `web=10000` would stall the machine before anyone could stop it.
MOST = 1000

_ENTRY = re.compile(r"([A-Za-z0-9_-]+)=([0-9]+)")
# Heroku's, `^([\w-]+)([=+-]\d+)(?::([\w-]+))?$`, and a sign after the `=`. The name is greedy, so
# `worker-1` takes one away and `my-worker-1` does so from `my-worker`.
_CHANGE = re.compile(r"([A-Za-z0-9_-]+)(=|=?[+-])([0-9]+)")
_SIZED = re.compile(r"(\S+[=+-][0-9]+):[A-Za-z0-9_-]+")
_GLOB = re.compile(r"[*?\[]")


def parse_formation(text: str, types: Sequence[str]) -> dict[str, int]:
    """The quantity of every type in `types`, in their order, from `web=2,worker=3`.

    Commas, blanks or both separate the entries, and blanks may surround `=`. A type not listed
    keeps 1, `=0` leaves one out, and `all=2` is for those not listed, wherever it stands. Raises
    InputError for an unknown type, a number that is none or above 1000, or a type with two numbers.
    """
    given: dict[str, int] = {}
    tight = "=".join(part.strip() for part in text.split("="))
    for entry in tight.replace(",", " ").split():
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise _bad_entry(entry, types)
        name = match[1]
        if name != ALL and name not in types:
            raise unknown_type(name, types)
        quantity = _quantity(match[2], entry)
        if given.setdefault(name, quantity) != quantity:
            hint = f"keep one of {name}={given[name]} and {name}={quantity}"
            raise InputError(f"{name!r} has two quantities", hint=hint)
    rest = given.get(ALL, 1)
    explicit = {name: quantity for name, quantity in given.items() if name != ALL or ALL in types}
    return {name: explicit.get(name, rest) for name in types}


def parse_scale(args: Sequence[str], current: Mapping[str, int]) -> dict[str, int]:
    """The new quantities of the types that `args` name, in the order of `current`.

    `current` holds every type of the app, those at 0 too. The grammar is Heroku's: `worker=3`,
    `web+1`, `worker-1`, several in one argument with commas, and `web=+2` for `web+2`. `all` goes
    first wherever it stands, and then the others from left to right, each from what the one before
    left; it means no `release`, which may be named for its 0 only. Nothing is changed here: an
    InputError for one argument is an error for all of them.
    """
    changes = [_parse_change(arg, current) for given in args for arg in _split(given)]
    changed: dict[str, int] = {}
    for name, sign, number, arg in sorted(changes, key=lambda change: change[0] != ALL):
        for target in _dyno_types(current) if name == ALL else (name,):
            before = changed.get(target, current[target])
            quantity = {"+": before + number, "-": before - number}.get(sign, number)
            if quantity < 0:
                message = f"{arg!r}: {target} is at {before}, it cannot go below 0"
                raise InputError(message, hint=f"{target}=0 stops all of them")
            if quantity > MOST:
                raise _too_many(arg)
            if target == RELEASE and quantity:
                message = f"{arg!r}: the release type runs once before a release, never by scale"
                raise InputError(message, hint="`procman deploy` runs it")
            changed[target] = quantity
    return {name: changed[name] for name in current if name in changed}


def format_formation(formation: Mapping[str, int]) -> str:
    """`web=2 worker=3`: what scale and start read."""
    return " ".join(f"{name}={quantity}" for name, quantity in formation.items())


def match_targets(
    targets: Sequence[str], dynos: Sequence[str], types: Collection[str] = ()
) -> list[str]:
    """The dynos that the targets mean, in the order of `dynos`; no targets mean all.

    A target is a dyno, `web.1`, a type, `web`, or a glob over either, `'work*'`. Raises InputError
    for a target that matches nothing; `types` are those that the app has, at 0 as well.
    """
    if not targets:
        return list(dynos)
    meant: set[str] = set()
    for target in targets:
        found = _match(target, dynos)
        if not found:
            raise _no_dyno(target, dynos, types)
        meant.update(found)
    return [dyno for dyno in dynos if dyno in meant]


def unknown_type(name: str, types: Collection[str]) -> InputError:
    """The error for a process type that there is not, with the nearest right name."""
    return InputError(f"unknown process type {name!r}", hint=_nearest_hint(name, types))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant: other case, an abbreviation, a slip; None if none is near.

    An abbreviation counts when only one name begins with it.
    """
    by_folded: dict[str, str] = {}
    for right in names:
        by_folded.setdefault(right.casefold(), right)
    folded = name.casefold()
    if folded in by_folded:
        return by_folded[folded]
    longer = [full for full in by_folded if folded and full.startswith(folded)]
    if len(longer) == 1:
        return by_folded[longer[0]]
    if len(name) > 128:  # no type or option is longer, and difflib is quadratic
        return None
    from difflib import get_close_matches  # 2 ms that only a mistake costs

    close = get_close_matches(folded, by_folded, n=1)
    return by_folded[close[0]] if close else None


def _dyno_types(types: Iterable[str]) -> list[str]:
    """Those that run as dynos."""
    return [name for name in types if name != RELEASE]


def _split(given: str) -> list[str]:
    """At its commas; an empty argument stays, to be refused: a shell variable was not set."""
    return [arg for arg in given.split(",") if arg.strip()] or [given]


def _parse_change(arg: str, current: Mapping[str, int]) -> tuple[str, str, int, str]:
    """An argument of scale as name, `=`, `+` or `-`, number, and itself."""
    match = _CHANGE.fullmatch(arg.strip())
    if match is None:
        sized = _SIZED.fullmatch(arg)
        if sized is not None:
            raise InputError(f"{arg!r}: dynos have no sizes here", hint=f"write {sized[1]}")
        raise _bad_entry(arg, current, and_relative=True)
    name = match[1]
    if name != ALL and name not in current:
        raise unknown_type(name, current)
    return name, match[2][-1], _quantity(match[3], arg), arg


def _quantity(digits: str, entry: str) -> int:
    """Checked by length first: Python refuses to read numbers of thousands of digits."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > len(str(MOST)) or int(digits) > MOST:
        raise _too_many(entry)
    return int(digits)


def _too_many(entry: str) -> InputError:
    return InputError(f"{_cut(entry)} is more than procman runs", hint=f"the most is {MOST}")


def _bad_entry(entry: str, types: Collection[str], and_relative: bool = False) -> InputError:
    """The nearest reading of what is no entry: a known name is kept in the example."""
    name = re.split(r"[=:+-]", entry, maxsplit=1)[0]
    name = entry if entry in types else name
    close = name if name in (*types, ALL) else nearest(name, types) or next(iter(types), "web")
    example = f"{close}=2, {close}+1 or {close}-1" if and_relative else f"{close}=2"
    return InputError(f"{_cut(entry)} is not a quantity of dynos", hint=f"write {example}")


def _match(target: str, dynos: Sequence[str]) -> list[str]:
    if not _GLOB.search(target):
        return [dyno for dyno in dynos if target in (dyno, _type_of(dyno))]
    from fnmatch import fnmatchcase

    return [
        dyno for dyno in dynos if fnmatchcase(dyno, target) or fnmatchcase(_type_of(dyno), target)
    ]


def _type_of(dyno: str) -> str:
    return dyno.rpartition(".")[0]


def _no_dyno(target: str, dynos: Sequence[str], known: Collection[str]) -> InputError:
    types = list(dict.fromkeys(_type_of(dyno) for dyno in dynos))
    message = f"no dyno matches {_cut(target)}"
    if target == RELEASE and target in known:
        hint = "the release type runs once before a release, never as a dyno"
        return InputError(message, hint=hint)
    if target in known:
        hint = f"{target} is at 0, `procman scale {target}=1` starts one"
        return InputError(message, hint=hint)
    names = dynos if "." in target else types
    return InputError(message, hint=_nearest_hint(target, names) if dynos else "there are no dynos")


def _nearest_hint(name: str, names: Collection[str]) -> str:
    close = nearest(name, names)
    if close is not None:
        return f"did you mean {close!r}?"
    return f"there are: {', '.join(list(names)[:20])}" if names else "there are none"


def _cut(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:56] + "…")
