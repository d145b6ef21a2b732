"""Headers are written as every tar reads them, and read as others write them."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procman.core.slug import Entry, Kind
from procman.core.slug_tar import END, TarReader, header, padding
from procman.errors import SlugError

name = st.binary(min_size=1, max_size=255).map(
    lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"_")
)
path = st.lists(name, min_size=1, max_size=6).map(b"/".join)
entries = st.one_of(
    st.builds(
        Entry, path, st.just(Kind.FILE), size=st.integers(0, 2**33 - 1), executable=st.booleans()
    ),
    st.builds(Entry, path, st.just(Kind.DIRECTORY)),
    st.builds(Entry, path, st.just(Kind.SYMLINK), target=path),
)


def reader_of(archive: bytes) -> TarReader:
    return TarReader(io.BytesIO(archive).read)


def exhaust(reader: TarReader) -> None:
    while reader.next() is not None:
        pass


@given(entries)
def test_what_is_written_is_read_back(entry: Entry) -> None:
    """Whatever the bytes of a name, and however long it is."""
    member = reader_of(header(entry) + END).next()
    assert member is not None
    assert member.name.rstrip(b"/") == b"./app/" + entry.path.rstrip(b"/")
    assert member.size == entry.size
    assert member.target == entry.target
    assert bool(member.mode & 0o100) is (entry.executable or entry.kind is not Kind.FILE)


@given(entries.filter(lambda entry: not entry.size))
def test_pythons_tarfile_reads_the_same(entry: Entry) -> None:
    """A second opinion on every field."""
    with tarfile.open(fileobj=io.BytesIO(header(entry) + END), errors="surrogateescape") as tar:
        member = tar.getmembers()[0]
    raw = member.name.encode("utf-8", "surrogateescape")
    assert raw.rstrip(b"/") == (b"./app/" + entry.path).rstrip(b"/")
    assert member.linkname.encode("utf-8", "surrogateescape") == entry.target
    assert (member.uid, member.gid, member.mtime, member.uname) == (0, 0, 0, "")
    kinds = {
        Kind.FILE: member.isreg(),
        Kind.DIRECTORY: member.isdir(),
        Kind.SYMLINK: member.issym(),
    }
    assert kinds[entry.kind]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_content_is_padded_to_whole_blocks(size: int) -> None:
    """512 bytes a block."""
    assert (size + padding(size)) % 512 == 0
    assert 0 <= padding(size) < 512


@pytest.mark.parametrize("length", [93, 94, 95, 100, 101, 150, 249, 250, 251, 255])
def test_a_name_at_the_edges_of_ustars_fields_survives(length: int) -> None:
    """100 bytes of name, 155 of prefix, a slash between them."""
    for path in (b"x" * length, b"d/" + b"x" * (length - 2), b"x" * (length - 2) + b"/y"):
        member = reader_of(header(Entry(path, Kind.FILE)) + END).next()
        assert member is not None
        assert member.name == b"./app/" + path


@pytest.mark.parametrize(
    "format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str
)
def test_what_others_write_is_read(format: int) -> None:
    """Long names and long links in each of the three formats."""
    long = "d" * 90 + "/" + "f" * 90
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        file = tarfile.TarInfo(f"./app/{long}")
        file.size = 3
        tar.addfile(file, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("./app/link")
        link.type = tarfile.SYMTYPE
        link.linkname = "t" * (100 if format == tarfile.USTAR_FORMAT else 200)
        tar.addfile(link)
    reader = reader_of(buffer.getvalue())
    member = reader.next()
    assert member is not None
    assert member.name == f"./app/{long}".encode()
    assert reader.content(3) == b"abc"
    member = reader.next()
    assert member is not None
    assert member.target == link.linkname.encode()
    assert reader.next() is None


def test_a_size_in_base_256_and_in_pax_is_understood_and_refused_when_it_is_a_lie() -> None:
    """A bomb says it is larger than any app is."""
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("./app/x")
        info.size = 2**40
        with pytest.raises(SlugError, match=r"refused: \./app/x says it has 1099511627776 bytes"):
            reader_of(info.tobuf(format=format)).next()


@given(st.binary(max_size=2048))
def test_noise_is_no_slug_and_no_crash(noise: bytes) -> None:
    """Every failure is a SlugError."""
    reader = reader_of(noise)
    try:
        exhaust(reader)
    except SlugError:
        pass


@given(entries, st.integers(0, 511), st.integers(0, 255))
def test_a_changed_byte_in_a_header_never_changes_the_size_unnoticed(
    entry: Entry, place: int, byte: int
) -> None:
    """The header's checksum is looked at."""
    block = bytearray(header(entry)[-512:])
    changed = bytes([*block[:place], byte, *block[place + 1 :]])
    try:
        member = reader_of(changed + END).next()
    except SlugError:
        return
    if changed == bytes(block) and member is not None:
        assert member.size == entry.size
    else:
        assert 148 <= place < 156  # the checksum's own padding


@pytest.mark.parametrize("cut", [1, 511, 512, 600, 1535])
def test_a_tar_that_ends_in_the_middle_is_truncated(cut: int) -> None:
    """Also one without the two empty blocks at its end."""
    archive = header(Entry(b"a", Kind.FILE, size=700)) + bytes(1024)
    reader = reader_of(archive[:cut])
    with pytest.raises(SlugError, match="truncated"):
        exhaust(reader)


@pytest.mark.parametrize(
    "record", [b"", b"x", b"9 a=b\n", b"3 a\n", b"999999999 a=b\n", b"-1 a=b\n", b"6 a=b\n7 "]
)
def test_a_broken_pax_header_is_refused(record: bytes) -> None:
    """Its lengths are the writer's word, and are checked."""
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = len(record)
    file = header(Entry(b"a", Kind.FILE))
    archive = info.tobuf() + record + bytes(padding(len(record))) + file + END
    if record == b"":
        assert reader_of(archive).next() is not None
        return
    with pytest.raises(SlugError, match="broken pax header"):
        reader_of(archive).next()
