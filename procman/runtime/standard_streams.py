"""Makes sure that 0, 1 and 2 are taken before anything else is opened."""

from __future__ import annotations

import os
import sys


def take_standard_streams() -> None:
    """Open those that our caller closed: a pipe of ours in their place would be a child's input, or
    be written into; and Python's own would not be there to be written to.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
