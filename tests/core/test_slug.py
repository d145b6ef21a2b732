"""A slug's metadata are Heroku's, and its limits are Heroku's."""

from __future__ import annotations

import json

import pytest

from procman.core.slug import (
    MAX_PACKED,
    WARN_PACKED,
    Metadata,
    is_digest,
    packed_size_warning,
    shown,
    size_text,
)
from procman.errors import SlugError

DIGEST = "0123456789abcdef" * 4
SLUG = Metadata(
    id=DIGEST,
    size=1234,
    created_at="2026-11-23T12:00:01.123456Z",
    stack="linux-x86_64",
    process_types={"web": "python app.py", "wörker": "x"},
    commit="de63889",
    commit_description="Make it faster",
)


def test_metadata_have_the_names_of_herokus_platform_api() -> None:
    """`GET /slugs/ID` answers with these; a checksum is `SHA256:` and the digits."""
    facts = json.loads(SLUG.to_json())
    assert facts["checksum"] == f"SHA256:{DIGEST}"
    assert facts["process_types"] == {"web": "python app.py", "wörker": "x"}
    assert set(facts) == {
        "id",
        "checksum",
        "size",
        "stack",
        "created_at",
        "commit",
        "commit_description",
        "buildpack_provided_description",
        "process_types",
    }


def test_metadata_are_read_back_as_they_were_written() -> None:
    """Nothing of them is lost on the disk."""
    assert Metadata.from_json(SLUG.to_json(), path="x.json") == SLUG


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"checksum": "MD5:abc", "size": 1, "process_types": {}}',
        '{"checksum": "SHA256:../../etc/passwd", "size": 1, "process_types": {}}',
        f'{{"checksum": "SHA256:{DIGEST}", "process_types": {{}}}}',
        f'{{"checksum": "SHA256:{DIGEST}", "size": 1, "process_types": {{"web": 1}}}}',
        *(
            f'{{"checksum": "SHA256:{DIGEST}", "size": 1, {rest}}}'
            for rest in (
                r'"process_types": {"web": "a\u0000b"}',
                r'"process_types": {"web": "a\nb"}',
                r'"process_types": {"web": "a\rb"}',
                r'"process_types": {"web": "\ud800"}',
                r'"process_types": {"web\udfff": "a"}',
                r'"process_types": {}, "commit_description": "\udcff"',
                r'"process_types": {}, "stack": "\udcff"',
            )
        ),
    ],
)
def test_what_is_no_metadata_is_an_error_that_names_the_file(text: str) -> None:
    """A broken file beside a slug is told, never guessed at."""
    with pytest.raises(SlugError, match=r"^x\.json: "):
        Metadata.from_json(text, path="x.json")


@pytest.mark.parametrize("text", ["", DIGEST[1:], DIGEST.upper(), "g" * 64, "../" + DIGEST[3:]])
def test_only_64_hex_digits_are_an_id(text: str) -> None:
    """An id becomes a file's name."""
    assert is_digest(DIGEST)
    assert not is_digest(text)


def test_a_slug_is_warned_of_from_300_mb_and_refused_from_500() -> None:
    """Heroku's soft and hard limits."""
    assert packed_size_warning(WARN_PACKED - 1) is None
    assert packed_size_warning(WARN_PACKED) == (
        "Your slug size (300.0 MB) exceeds our soft limit (300.0 MB)"
    )
    assert packed_size_warning(MAX_PACKED - 1) is not None
    with pytest.raises(SlugError, match=r"the limit is 500\.0 MB") as error:
        packed_size_warning(MAX_PACKED)
    assert error.value.hint is not None


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (93_600_000, "89.3 MB"), (2**33, "8.0 GB")],
)
def test_sizes_are_shown_in_units_of_1024(size: int, text: str) -> None:
    """As Heroku prints slug sizes."""
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [(b"a/\xc3\xa9", "a/é"), (b"a\nb", "a\\nb"), (b"\xff", "\\xff"), (b"\x1b[2J", "\\x1b[2J")],
)
def test_a_path_in_a_message_is_one_harmless_line(path: bytes, text: str) -> None:
    """A file's name must not move the cursor."""
    assert shown(path) == text
