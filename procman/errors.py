"""What goes wrong in the user's words, printed once, at the edge.

    ProcmanError            1   anything the user can act on
    ├── InputError          1   a file or an option that cannot be understood: has a place
    ├── UsageError          2   a call that makes no sense
    ├── NotRunningError     3   the command needs a running app
    ├── ProtocolError       1   the other end of the control socket speaks nonsense
    └── SlugError           1   a slug that is unsafe, broken or too large

The number is the exit status.
"""

from __future__ import annotations


class ProcmanError(Exception):
    """An error with a message, an optional hint of what to do, and an exit status."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InputError(ProcmanError):
    """An input that cannot be understood; `path` and `line` (1-based) say where."""

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        place = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(place + message, hint=hint)
        self.path = path
        self.line = line


class UsageError(ProcmanError):
    """A call that makes no sense."""

    exit_code = 2


def wrong_value(origin: str, message: str, *, hint: str | None = None) -> ProcmanError:
    """The error for a setting's value: a wrong call where `origin` is an option that was typed,
    such as `--port`; else a variable or a file holds what cannot be understood.
    """
    of_origin = UsageError if origin.startswith("--") else InputError
    return of_origin(f"{origin}: {message}", hint=hint)


class NotRunningError(ProcmanError):
    """The command needs a running app, and there is none."""

    exit_code = 3


class ProtocolError(ProcmanError):
    """The other end of the control socket speaks nonsense, or a version we do not know."""


class SlugError(ProcmanError):
    """A slug that is unsafe, broken or too large; nothing was written."""
