"""Dataclasses for what a start needs, at a quarter of the cost of defining them.

The standard decorator compiles six functions for each class: 10 of the 50 ms to the first dyno
(measured, 25 classes, Python 3.11). Here only `__init__` is compiled, the others are shared. For
type checkers it is the standard one, and `replace`, `fields`, `asdict` and `match` take its classes
as such; but all have slots, and know no options beyond those below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    import dataclasses
    from dataclasses import MISSING, Field, FrozenInstanceError, field, replace

    def dataclass(*, slots, frozen=False, eq=True):
        """As the standard decorator with `slots=True`, which has to be said for its readers."""
        if slots is not True:
            raise TypeError("a record has slots")
        return lambda cls: _define(cls, frozen, eq)

    def _define(cls, frozen, eq):
        inherited = {}
        for base in reversed(cls.__mro__[1:]):
            inherited |= getattr(base, "__dataclass_fields__", {})
        own = {
            name: _field_of(cls, name, annotation)
            for name, annotation in cls.__annotations__.items()
        }
        found = {**inherited, **own}
        namespace = {name: value for name, value in vars(cls).items() if name not in own}
        namespace.pop("__dict__", None)
        namespace.pop("__weakref__", None)
        namespace |= {
            "__slots__": tuple(name for name in own if name not in inherited),
            "__dataclass_fields__": found,
            "__match_args__": tuple(found),
            "__init__": _initializer(found, frozen),
            "__getstate__": _values,
            "__setstate__": _set_state,
        }
        namespace.setdefault("__repr__", _show)
        if eq and "__eq__" not in namespace:
            namespace |= {"__eq__": _equals, "__hash__": _hash if frozen else None}
        if frozen:
            namespace |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
        made = type(cls)(cls.__name__, cls.__bases__, namespace)
        made.__qualname__ = cls.__qualname__
        return made

    def _field_of(cls, name, annotation):
        default = cls.__dict__.get(name, MISSING)
        described = default if isinstance(default, Field) else field(default=default)
        described.name, described.type = name, annotation
        described._field_type = dataclasses._FIELD
        return described

    def _initializer(found, frozen):
        """One function, compiled, so that a wrong call is told as Python tells it."""
        known = {"_set": object.__setattr__, "_missing": MISSING}
        parameters, lines = [], []
        for name, described in found.items():
            value, default = name, f"_default_{name}"
            if described.default is not MISSING:
                known[default] = described.default
                parameters.append(f"{name}={default}")
            elif described.default_factory is not MISSING:
                known[default] = described.default_factory
                parameters.append(f"{name}=_missing")
                value = f"{default}() if {name} is _missing else {name}"
            else:
                parameters.append(name)
            lines.append(f" _set(self,{name!r},{value})" if frozen else f" self.{name}={value}")
        exec(f"def __init__({','.join(['self', *parameters])}):\n" + "\n".join(lines), known)
        return known["__init__"]

    def _values(self):
        return tuple([getattr(self, name) for name in self.__dataclass_fields__])

    def _set_state(self, values):
        for name, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, name, value)

    def _show(self):
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _equals(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _values(self) == _values(other)

    def _hash(self):
        return hash(_values(self))

    def _refuse_to_set(self, name, value):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_to_delete(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")


__all__ = ["dataclass", "field", "replace"]
