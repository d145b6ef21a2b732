"""What a slug is: its entries, its limits, and the facts written beside it.

A slug is a gzip'd tar of one app, everything under `./app/`, as Heroku's Platform API takes it.
Its id is the SHA-256 of the file. Paths are bytes, because the kernel's are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from procman.errors import SlugError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = b"app"  # the one directory of a slug that Heroku looks at
MiB = 1024 * 1024
WARN_PACKED = 300 * MiB  # Heroku's soft limit
MAX_PACKED = 500 * MiB  # Heroku's hard limit
MAX_UNPACKED = 8 * 1024 * MiB - 1  # what a plain tar header can say of one file; a bomb says more
MAX_ENTRIES = 1_000_000  # a tree of node_modules has 300,000; a bomb of empty files has more
MAX_PATH = 4096 - 256  # Linux's PATH_MAX, less room for where the tree is expanded
MAX_NAME = 255  # NAME_MAX
MAX_DEPTH = 400  # directories; rmtree and our own walks go down by recursion, of 1000 at most
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which JSON can write and UTF-8 not
UNFIT_FOR_COMMANDS = re.compile("[\0\n\r\ud800-\udfff]")  # as of no Procfile's entry


class Kind(Enum):
    """What an entry is. Nothing else gets into a slug, and nothing else comes out."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hard link"  # only in others' slugs; expanded as a copy


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a slug; `path` is relative to the app, `b""` is the app itself."""

    path: bytes
    kind: Kind
    size: int = 0
    executable: bool = False
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a slug, under the names of Heroku's Platform API (`GET /slugs/ID`)."""

    id: str  # 64 hex digits, the SHA-256 of the file
    size: int  # bytes, packed
    created_at: str  # ISO 8601, UTC
    stack: str  # "linux-x86_64": where the compiled parts of the slug can run
    process_types: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    commit_description: str | None = None
    buildpack_provided_description: str | None = None

    @property
    def checksum(self) -> str:
        """As Heroku writes it."""
        return f"SHA256:{self.id}"

    def problem(self) -> str | None:
        """Why it could not be kept, shown or run: from elsewhere, any text may be in it."""
        for name, command in self.process_types.items():
            if UNFIT_FOR_COMMANDS.search(command):
                return f"the command of {name!r} has a character that no Procfile's can have"
        others = (self.created_at, self.stack, *self.process_types)
        optional = (
            self.commit,
            self.commit_description,
            self.buildpack_provided_description,
        )
        if any(SURROGATE.search(text) for text in (*others, *filter(None, optional))):
            return "it has a lone surrogate, which is no character"
        return None

    def to_json(self) -> str:
        """One JSON object, with `checksum`, ending in a newline."""
        facts = {
            "id": self.id,
            "checksum": self.checksum,
            "size": self.size,
            "stack": self.stack,
            "created_at": self.created_at,
            "commit": self.commit,
            "commit_description": self.commit_description,
            "buildpack_provided_description": self.buildpack_provided_description,
            "process_types": dict(self.process_types),
        }
        return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, path: str) -> Metadata:
        """Read `to_json` back; raises SlugError, naming `path`, for anything else."""
        try:
            facts = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise SlugError(f"{path}: not a slug's metadata: {problem}") from None
        if not isinstance(facts, dict):
            raise SlugError(f"{path}: not a slug's metadata")
        checksum, size = facts.get("checksum"), facts.get("size")
        types = facts.get("process_types")
        if not isinstance(checksum, str) or not isinstance(size, int):
            raise SlugError(f"{path}: not a slug's metadata: no checksum or no size")
        if not isinstance(types, dict) or not all(isinstance(v, str) for v in types.values()):
            raise SlugError(f"{path}: not a slug's metadata: no process_types")
        metadata = cls(
            id=digest_of_checksum(checksum, path=path),
            size=size,
            created_at=str(facts.get("created_at") or ""),
            stack=str(facts.get("stack") or ""),
            process_types=dict(types),
            commit=_text_or_none(facts.get("commit")),
            commit_description=_text_or_none(facts.get("commit_description")),
            buildpack_provided_description=_text_or_none(
                facts.get("buildpack_provided_description")
            ),
        )
        if (unfit := metadata.problem()) is not None:
            raise SlugError(f"{path}: not a slug's metadata: {unfit}")
        return metadata


def digest_of_checksum(checksum: str, *, path: str) -> str:
    """`SHA256:<64 hex digits>` to the digits."""
    scheme, _, digest = checksum.partition(":")
    if scheme != "SHA256" or not is_digest(digest):
        raise SlugError(f"{path}: expected a checksum 'SHA256:<64 hex digits>', got {checksum!r}")
    return digest


def is_digest(text: str) -> bool:
    """Whether `text` can be a slug's id; anything else must never become a file's name."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)


def shown(path: bytes) -> str:
    """A path for a message: one line, whatever bytes it is made of."""
    text = path.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]


def size_text(size: int) -> str:
    """`89.2 MB`, in units of 1024, as Heroku prints slug sizes."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in ("KB", "MB"):
        amount /= 1024
        if amount < 1000:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} GB"


def packed_size_warning(size: int) -> str | None:
    """What to say of a slug of `size` packed bytes; raises SlugError from Heroku's hard limit."""
    if size >= MAX_PACKED:
        raise SlugError(
            f"the slug would be {size_text(size)} or more; the limit is {size_text(MAX_PACKED)}",
            hint="leave out what the app does not need with a .slugignore",
        )
    if size >= WARN_PACKED:
        limit = size_text(WARN_PACKED)
        return f"Your slug size ({size_text(size)}) exceeds our soft limit ({limit})"
    return None


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
