"""Reads the history: backwards to the last lines wanted, then forwards, block by block.

It is never loaded as a whole. A file stays open until it is read, so that what is rotated away
meanwhile can still be shown; only a reader that lags by more than all files misses lines.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from types import TracebackType

from procman.core.history import file_name
from procman.core.recall import Selection, begins_before
from procman.errors import ProcmanError
from procman.runtime.history import READ_SIZE, count_lines, first_lines, log_directory


class Recall:
    """The history of the app in `root`, as it is now, or with `follow` as it grows.

    `missed` counts the lines that were rotated away before they could be read.
    """

    def __init__(self, root: str, *, follow: bool = False) -> None:
        self.missed = 0
        self._directory = log_directory(root)
        self._follow = follow
        self._files: list[tuple[int, int]] = []  # number of the first line, descriptor
        self._offset = 0
        self._open_newer(-1)
        self._ends = {file: os.fstat(file).st_size for _, file in self._files}

    def __enter__(self) -> Recall:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._files:
            self._drop_first()

    @property
    def is_empty(self) -> bool:
        """Whether there is no history at all."""
        return not any(self._ends.values())

    def seek(self, selection: Selection, count: int | None) -> int:
        """Go back to where the last `count` wanted lines begin, or before; None means all.

        Returns how many wanted lines from there on come before them.
        """
        if not self._files or (count is None and not selection.since):
            return 0
        last = len(self._files) - 1
        if count == 0:
            begin, lines = _lines_before(self._files[last][1], self._ends[self._files[last][1]])
            self._start_at(last, begin + len(lines))
            return 0
        found, place = 0, (0, 0)
        for index, begin, lines in self._blocks_backwards():
            found, place = found + selection.count(lines), (index, begin)
            enough = count is not None and found >= count
            if enough or begins_before(lines, selection.since):
                break
        self._start_at(*place)
        return 0 if count is None else max(0, found - count)

    def read(self) -> bytes:
        """The next whole lines, some hundred kilobytes at most; `b""` when there are none now."""
        while self._files:
            first, file = self._files[0]
            is_last = len(self._files) == 1
            lines = self._lines_at_offset(file)
            if lines:
                self._offset += len(lines)
                return lines
            if not is_last:
                self._go_on(first, file)
            elif not self._follow or not self._open_newer(first):
                return b""
            # Else a newer file is there, so that this one is finished: look once more, then go on.
        if self._follow and self._open_newer(-1):
            return self.read()
        return b""

    def _lines_at_offset(self, file: int) -> bytes:
        size = READ_SIZE
        while True:
            wanted = size if self._follow else min(size, self._ends[file] - self._offset)
            data = os.pread(file, wanted, self._offset)
            end = data.rfind(b"\n") + 1
            if end or len(data) < size:
                return data[:end]
            size *= 2  # a line longer than that

    def _start_at(self, index: int, offset: int) -> None:
        for _ in range(index):
            self._drop_first()
        self._offset = offset

    def _blocks_backwards(self) -> Iterator[tuple[int, int, bytes]]:
        """The index of the file, the offset and the lines of each block, the last one first."""
        for index in range(len(self._files) - 1, -1, -1):
            file = self._files[index][1]
            end = self._ends[file]
            while end:
                end, lines = _lines_before(file, end)
                if lines:
                    yield index, end, lines

    def _go_on(self, first: int, file: int) -> None:
        """To the next file. What lies between was rotated away before we came to it."""
        self.missed += max(0, self._files[1][0] - (first + count_lines(file)))
        self._drop_first()
        self._offset = 0

    def _open_newer(self, than: int) -> bool:
        """Open the files that came since; whether there were any."""
        before = len(self._files)
        try:
            for first in first_lines(self._directory):
                if first > than:
                    path = os.path.join(self._directory, file_name(first))
                    try:
                        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    except FileNotFoundError:
                        continue  # rotated away just now
                    self._files.append((first, file))
        except PermissionError as error:
            raise ProcmanError(f"{error.filename}: cannot be read: {error.strerror}") from None
        return len(self._files) > before

    def _drop_first(self) -> None:
        os.close(self._files.pop(0)[1])


def wait_for_bell(connection: socket.socket, output: int) -> bool:
    """Wait until the app rings because it logged; False when it has ended.

    Raises BrokenPipeError when nobody reads `output` any more.
    """
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(output, 0)  # tells of its end only
    for descriptor, _ in poll.poll():
        if descriptor == output:
            raise BrokenPipeError
    try:
        return bool(connection.recv(65536))
    except ConnectionResetError:
        return False


def _lines_before(file: int, end: int) -> tuple[int, bytes]:
    """The whole lines that end at or before `end`, of one block, and where they begin."""
    size = READ_SIZE
    while True:
        begin = max(0, end - size)
        data = os.pread(file, end - begin, begin)
        data = data[: data.rfind(b"\n") + 1]
        start = data.find(b"\n") + 1 if begin else 0
        if start < len(data) or not begin:
            return begin + start, data[start:]
        size *= 2  # a line longer than that
