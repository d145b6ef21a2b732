"""The sink that remembers: appends every line to the app's history on disk, rotated and bounded."""

from __future__ import annotations

import os
from collections.abc import Callable

from procman.core.history import KEPT, ROTATE_AT, file_name, first_line_of
from procman.core.style import for_history
from procman.runtime.dot_procman import NAME, make_dot_procman
from procman.runtime.loghub import Source

READ_SIZE = 256 * 1024


def log_directory(root: str) -> str:
    """Where the history of the app in `root` lies."""
    return os.path.join(root, NAME, "log")


def first_lines(directory: str) -> list[int]:
    """The numbers of the first lines of all files, ascending."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(first for name in names if (first := first_line_of(name)) is not None)


def why_none(root: str) -> str | None:
    """Why the app in `root` can keep no history just now; None when it can. For the holder of the
    app's lock: it is tried.
    """
    troubles: list[str] = []
    History(root, troubles.append).close()
    return troubles[0] if troubles else None


class History:
    """The history of the app in `root`. Only the holder of the app's lock may write it.

    A batch is one write: nothing is held back, and no line is lost when procman is killed. Nothing
    is forced to the disk. `on_write` is called when lines were added. When the disk refuses, the
    app runs on, `on_trouble` is told why, once, and the disk is tried again with the lines of every
    new second; those between are not kept.
    """

    def __init__(self, root: str, on_trouble: Callable[[str], None]) -> None:
        self.on_write: Callable[[], None] = _nothing
        self._on_trouble = on_trouble
        self._root = root
        self._directory = log_directory(root)
        self._file: int | None = None
        self._first = 0  # the number of the open file's first line
        self._size = 0
        self._looked_at = 0  # the second in which the file was last seen to be there
        self._is_refused = False
        try:
            self._begin()
        except OSError as error:
            self._give_up(error)

    def write(self, source: Source, lines: bytes, now: float) -> None:
        """Append whole lines."""
        is_new_second = int(now) != self._looked_at
        if self._file is None and not is_new_second:
            return
        try:
            data = for_history(lines, source.name, now)
            if is_new_second:
                self._looked_at = int(now)
                self._require_a_name()
            if self._size + len(data) <= ROTATE_AT:
                self._append(data)
            else:
                self._append_in_parts(data)
        except OSError as error:
            self._give_up(error)
        else:
            self.on_write()
            if self._is_refused:
                self._is_refused = False
                self._on_trouble(f"the history goes on, {self._directory}")

    def close(self) -> None:
        """Nothing is held back: only the file is closed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:  # a full disk takes a part, and refuses the rest
            written = os.write(self._file, view)
            self._size += written
            view = view[written:]

    def _append_in_parts(self, data: bytes) -> None:
        """Fill files up to their size; only a single line may go beyond."""
        begin = 0
        while begin < len(data):
            end = data.rfind(b"\n", begin, begin + max(0, ROTATE_AT - self._size)) + 1
            if not end:
                if self._size:
                    self._rotate()
                    continue
                end = data.index(b"\n", begin) + 1
            self._append(data[begin:end])
            begin = end

    def _require_a_name(self) -> None:
        """Begin anew where somebody has cleaned up (`git clean -fdx`), or the disk has refused:
        what comes can be kept.
        """
        if self._file is None:
            self._begin()
        elif not os.fstat(self._file).st_nlink:
            self._rotate()

    def _begin(self) -> None:
        """Go on in the newest file."""
        known = first_lines(self._directory)
        self._open(known[-1] if known else 0)
        self._mend()

    def _open(self, first: int) -> None:
        make_dot_procman(self._root)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        path = os.path.join(self._directory, file_name(first))
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._first = first
        self._size = os.fstat(self._file).st_size

    def _rotate(self) -> None:
        assert self._file is not None
        first = self._first + count_lines(self._file)
        os.close(self._file)
        self._file = None
        self._open(first)
        for old in first_lines(self._directory)[:-KEPT]:
            os.unlink(os.path.join(self._directory, file_name(old)))

    def _mend(self) -> None:
        """Cut off a last line that has no end: a killed procman's, or a full disk's."""
        assert self._file is not None
        end = self._size
        while end:
            begin = max(0, end - READ_SIZE)
            whole = os.pread(self._file, end - begin, begin).rfind(b"\n") + 1
            end = begin + whole if whole else begin
            if whole:
                break
        if end < self._size:
            os.ftruncate(self._file, end)
            self._size = end

    def _give_up(self, error: OSError) -> None:
        if self._file is not None:
            try:
                self._mend()
            except OSError:
                pass  # the next run tries again
        self.close()
        if not self._is_refused:
            self._is_refused = True
            self._on_trouble(f"no history from here on, {self._directory}: {error.strerror}")


def count_lines(file: int) -> int:
    """How many lines an open file has, read from its beginning."""
    lines = offset = 0
    while data := os.pread(file, READ_SIZE, offset):
        lines += data.count(b"\n")
        offset += len(data)
    return lines


def _nothing() -> None:
    """Nobody follows."""
