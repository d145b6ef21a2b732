"""Tar's headers, written and read: the format alone, without what a slug allows.

`tarfile` spends 70 µs on a member, more than the kernel does on the file, so a slug's tar is
written here: ustar, with GNU's long names where ustar's fields are too short (a pax path must be
UTF-8; GNU's, like the kernel's, may be any bytes). Read is what GNU tar, bsdtar and `tarfile`
write: ustar, GNU long names and base-256 sizes, pax `path`, `linkpath` and `size`.
Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from procman.core.slug import MAX_UNPACKED, ROOT, Entry, Kind, MiB, shown
from procman.errors import SlugError

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_EXTENSION = MiB  # of a long name or a pax header; PATH_MAX is 4 KiB


class Type(Enum):
    """The type flags a slug can hold."""

    FILE = b"0"
    OLD_FILE = b"\0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    DIRECTORY = b"5"
    CONTIGUOUS = b"7"


FOREIGN = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"S": "a sparse file",
    b"D": "a directory dump of an incremental backup",
    b"M": "the continuation of a file on another volume",
    b"V": "a volume header",
}

LONG_NAME, LONG_TARGET, PAX, PAX_GLOBAL = b"L", b"K", b"x", b"g"
TYPE_OF = {Kind.FILE: Type.FILE, Kind.DIRECTORY: Type.DIRECTORY, Kind.SYMLINK: Type.SYMLINK}
OWNER = b"0000000\0" * 2  # uid and gid: never the packer's
MAGIC = b"ustar\x0000" + bytes(64)  # version 00; no user's and no group's name
DEVICE = b"0000000\0" * 2


@dataclass(frozen=True, slots=True)
class Member:
    """One header as it stands in the archive, unjudged."""

    name: bytes
    type: bytes
    mode: int
    size: int
    target: bytes


# --- writing ---------------------------------------------------------------------------------


def header(entry: Entry) -> bytes:
    """The blocks before an entry's content: the same bytes for the same entry, always."""
    if entry.kind is Kind.HARDLINK:
        raise ValueError("a slug of ours has no hard links")
    name = b"./" + ROOT + b"/" + entry.path
    if entry.kind is Kind.DIRECTORY:
        mode = 0o755
        if entry.path:
            name += b"/"
    elif entry.kind is Kind.SYMLINK:
        mode = 0o777
    else:
        mode = 0o755 if entry.executable else 0o644
    flag = TYPE_OF[entry.kind].value
    before = b""
    prefix = b""
    if len(name) > 100:
        split = _split(name)
        if split is None:
            before += _long(LONG_NAME, name)
            name = name[:100]
        else:
            prefix, name = split
    target = entry.target
    if len(target) > 100:
        before += _long(LONG_TARGET, target)
        target = target[:100]
    return before + _block(name, mode, entry.size, flag, target, prefix)


def padding(size: int) -> int:
    """How many zero bytes follow a content of `size` bytes."""
    return -size % BLOCK


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Cut a long name at a slash into ustar's two fields, 155 and 100 bytes, where it can be."""
    if len(name) > 256:
        return None
    cut = name.find(b"/", len(name) - 101, len(name) - 1)
    return None if cut < 1 or cut > 155 else (name[:cut], name[cut + 1 :])


def _long(flag: bytes, text: bytes) -> bytes:
    data = text + b"\0"
    head = _block(b"././@LongLink", 0o644, len(data), flag, b"", b"")
    return head + data + bytes(padding(len(data)))


def _block(name: bytes, mode: int, size: int, flag: bytes, target: bytes, prefix: bytes) -> bytes:
    head = b"%s%07o\0%s%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, OWNER, size, 0)
    tail = b"%s%s%s%s%s" % (
        flag,
        target.ljust(100, b"\0"),
        MAGIC,
        DEVICE,
        prefix.ljust(167, b"\0"),
    )
    checksum = sum(head) + sum(tail) + 8 * 32  # the field itself counts as spaces
    return b"%s%06o\0 %s" % (head, checksum, tail)


# --- reading ---------------------------------------------------------------------------------


class TarReader:
    """Members one after the other from `read`, which returns fewer bytes only at the end.

    Raises SlugError for what is no tar and for one that ends in the middle; whatever `read`
    raises passes through.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = 0  # of the current member's content and padding

    def next(self) -> Member | None:
        """The next member, None after the last; content not read is passed over."""
        self.skip()
        name = target = b""
        size: int | None = None
        while True:
            block = self._exactly(BLOCK)
            if block.count(0) == BLOCK:
                return None
            member = _parse(block)
            match member.type:
                case b"L":
                    name = self._extension(member).rstrip(b"\0")
                case b"K":
                    target = self._extension(member).rstrip(b"\0")
                case b"x":
                    said = _pax(self._extension(member))
                    name = said.get(b"path", name)
                    target = said.get(b"linkpath", target)
                    size = _pax_size(said)
                case b"g":
                    self._extension(member)  # a comment, such as git's commit id
                case _:
                    break
        if name or target or size is not None:
            member = Member(
                name or member.name,
                member.type,
                member.mode,
                member.size if size is None else size,
                target or member.target,
            )
        if member.size > MAX_UNPACKED:
            raise SlugError(f"refused: {shown(member.name)} says it has {member.size} bytes")
        # A link's size is that of the file it names in some old tars: it has no content itself.
        has_content = member.type not in (Type.HARDLINK.value, Type.SYMLINK.value, b"5")
        self._left = member.size + padding(member.size) if has_content else 0
        return member

    def content(self, size: int) -> bytes:
        """The next `size` bytes of the current member's content."""
        data = self._exactly(size)
        self._left -= size
        return data

    def whole(self, size: int) -> bytes:
        """The whole content of the current member and its padding, read at once."""
        data = self._exactly(self._left)
        self._left = 0
        return data[:size] if len(data) != size else data

    def skip(self) -> None:
        """Pass over what is left of the current member."""
        while self._left:
            self._left -= len(self._exactly(min(self._left, MiB)))

    def _extension(self, member: Member) -> bytes:
        if member.size > MAX_EXTENSION:
            raise SlugError("refused: a name longer than any path")
        data = self._exactly(member.size + padding(member.size))
        return data[: member.size]

    def _exactly(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise SlugError("the slug is truncated: it ends in the middle of its tar")
        return data


def _parse(block: bytes) -> Member:
    said = _number(block[148:156])
    counted = sum(block[:148]) + sum(block[156:]) + 8 * 32
    if said != counted:
        raise SlugError("not a slug: a tar header's checksum is wrong")
    name = _text(block[0:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = _text(block[345:500]) + b"/" + name
    return Member(
        name,
        block[156:157],
        _number(block[100:108]) & 0o7777,
        _number(block[124:136]),
        _text(block[157:257]),
    )


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU: base 256 for what octal digits cannot say
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    if digits.strip(b"01234567"):
        raise SlugError("not a slug: a tar header has a number that is none")
    return int(digits or b"0", 8)


def _pax(data: bytes) -> dict[bytes, bytes]:
    """Records of `LENGTH KEY=VALUE\\n`, LENGTH counting all of it."""
    said = {}
    while data:
        digits, space, _ = data.partition(b" ")
        if not space or not digits.isdigit() or len(digits) > 7:
            raise SlugError("not a slug: a broken pax header")
        length = int(digits)
        record = data[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or length > len(data):
            raise SlugError("not a slug: a broken pax header")
        if key.startswith(b"GNU.sparse"):
            raise SlugError("refused: a sparse file")
        said[key] = value[:-1]
        data = data[length:]
    return said


def _pax_size(said: dict[bytes, bytes]) -> int | None:
    text = said.get(b"size")
    if text is None:
        return None
    if not text.isdigit() or len(text) > 20:
        raise SlugError("not a slug: a broken pax header")
    return int(text)
