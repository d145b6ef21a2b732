"""Which requests the router's log tells of."""

from __future__ import annotations

from enum import Enum


class RouterLog(Enum):
    """The values of `--router-log`."""

    ERRORS = "errors"
    ALL = "all"
    OFF = "off"
