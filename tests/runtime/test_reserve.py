"""What is held back is there when everything else is used up."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from procman.runtime.descriptors import open_descriptors
from procman.runtime.reserve import hold_one_back, list_directory, read_file
from procman.runtime.tree import state_of, tree


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Not one more descriptor may be opened, after one was held back."""
    hold_one_back()
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 40, hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
        for descriptor in taken:
            os.close(descriptor)


@pytest.mark.usefixtures("nothing_left")
def test_processes_can_be_looked_at_again_and_again_when_no_descriptor_is_left() -> None:
    """A directory, a file, and what is not there: each gives its place back."""
    for _ in range(3):
        assert str(os.getpid()) in list_directory("/proc")
        assert read_file("/proc/self/stat").startswith(str(os.getpid()).encode())
        with pytest.raises(FileNotFoundError):
            read_file("/proc/self/there-is-none")
    with pytest.raises(OSError, match="Too many open files"):
        os.open(os.devnull, os.O_RDONLY)


@pytest.mark.usefixtures("nothing_left")
def test_a_tree_is_read_when_no_descriptor_is_left() -> None:
    """Whether a dyno is ready is asked of its tree: the answer must not end the app."""
    assert tree(os.getpid())[0] == os.getpid()
    assert state_of(os.getpid()) == "R"
    assert any(place.endswith("/0") for place, _ in open_descriptors(os.getpid()))
