"""What procman reads back from a disk, a buildpack or git: any bytes give a value or an error."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from procman.core.attach import FrameReader
from procman.core.buildpack import parse_release
from procman.core.durations import parse_duration
from procman.core.exec_command import as_exec
from procman.core.gitignore import Patterns
from procman.core.push import parse_updates, pushed_commit
from procman.core.readiness import parse_readiness
from procman.core.release import current, decode, fold
from procman.core.slug import Metadata
from procman.core.slug_rules import Rules
from procman.errors import InputError, ProcmanError, SlugError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NESTED = b"[" * 100_000

# --- the ledger of releases ---

FIELDS = st.sampled_from(
    [
        *("release", "slug", "description", "created_at", "process_types", "config_vars"),
        *("settled", "status", "at", "reason"),
    ]
)
RIGHT = st.sampled_from([1, 2, "a" * 64, "succeeded", "failed", {}, {"web": "a"}, "now", True])
RECORDS = st.dictionaries(FIELDS, RIGHT | JSON, max_size=8).map(json.dumps).map(str.encode)
LEDGERS = st.lists(RECORDS | st.binary(max_size=40), max_size=4).map(b"\n".join)


@given(LEDGERS)
@example(NESTED + b"\n{}\n")
@example(b"9" * 5000 + b"\n{}\n")
@example(b'{"release":1,"settled":1}\n\n')
def test_any_ledger_gives_releases_or_an_error_with_its_line(data: bytes) -> None:
    """`fold` says with a ValueError that records, each of them right, make no history."""
    try:
        records, good = decode(data + b"\n", path="releases.jsonl")
    except InputError as error:
        assert error.message.startswith("releases.jsonl:")  # noqa: PT017  # either is right
        assert error.line  # noqa: PT017
        return
    assert good <= len(data) + 1
    try:
        releases = fold(records)
    except ValueError as error:
        assert str(error)  # noqa: PT017
        return
    assert [release.version for release in releases] == list(range(1, len(releases) + 1))
    current(releases)


# --- a slug's metadata, and what keeps files out of it ---

METADATA = st.dictionaries(
    st.sampled_from(["checksum", "size", "process_types", "stack", "created_at", "commit"]),
    JSON | st.sampled_from([f"SHA256:{'a' * 64}", {"web": "a"}, 5]),
)


@given(METADATA.map(json.dumps) | st.text(max_size=60))
@example(NESTED.decode())
@example("9" * 5000)
@example(json.dumps({"checksum": "x" * 5000, "size": 1, "process_types": {}}))
def test_any_metadata_is_a_slugs_or_refused_by_name(text: str) -> None:
    try:
        slug = Metadata.from_json(text, path="x.json")
    except SlugError as error:
        assert error.message.startswith("x.json: ")  # noqa: PT017  # either is right
        return
    assert Metadata.from_json(slug.to_json(), path="x.json") == slug


PATTERNS = st.lists(
    st.sampled_from(["*", "**", "/", "!", "[", "]", "\\", "a", " ", "#", "\n", "-"])
)
PATHS = st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=4).map(b"/".join)


@given(PATTERNS.map("".join) | st.text(), PATHS, st.booleans())
@example("[z-a]", b"a", False)
@example("[[:nonsense:]]", b"a", False)
@example("***/\\", b"\xff", True)
def test_any_slugignore_says_of_any_path_whether_it_stays_out(
    text: str, path: bytes, is_directory: bool
) -> None:
    """git passes over a pattern that makes no sense; so do we."""
    assert Rules(text).excludes(path, is_directory=is_directory) in (True, False)
    said = Patterns(text.splitlines()).excludes(
        path.decode("utf-8", "surrogateescape"), is_directory=is_directory
    )
    assert said in (True, False, None)


# --- what buildpacks and git say ---

YAML = st.lists(
    st.sampled_from(
        [
            *("---", "...", "default_process_types:", "default_process_types: {}", "addons: []"),
            *(
                "  web: a",
                "  web:",
                "  'web': 'it''s'",
                '  "web": "\\"',
                "  - x",
                "\tweb: a",
                "# c",
            ),
        ]
    )
)


@given(YAML.map("\n".join) | st.text())
def test_any_yaml_of_a_buildpack_gives_types_or_an_error_with_its_line(text: str) -> None:
    try:
        said = parse_release(text, path="bin/release")
    except InputError as error:
        assert error.line  # noqa: PT017  # either is right
        assert error.message.startswith(f"bin/release:{error.line}: ")  # noqa: PT017
        return
    assert all(isinstance(command, str) for command in said.process_types.values())


@given(
    st.text()
    | st.lists(st.sampled_from(["0" * 40, "a" * 40, "refs/heads/main", "refs/tags/x"])).map(
        " ".join
    )
)
def test_any_push_is_a_commit_nothing_or_refused(text: str) -> None:
    try:
        commit = pushed_commit(parse_updates(text))
    except ProcmanError as error:
        assert error.message  # noqa: PT017  # either is right
        return
    assert commit is None or commit in text


# --- options ---


@given(
    st.text()
    | st.sampled_from(["port", "http:", "log:", "exec:", "delay:"]).flatmap(
        lambda kind: st.text().map(lambda rest: kind + rest)
    )
)
@example("log:" + "(" * 5000)
@example("log:a{99999999999999999999}")
@example("log:(?P<a>x)(?P=b)")
@example("delay:" + "9" * 5000)
def test_any_readiness_is_a_check_or_an_error_with_its_origin(text: str) -> None:
    try:
        parse_readiness(text, "types.web.ready")
    except InputError as error:
        assert error.message.startswith("types.web.ready: ")  # noqa: PT017  # either is right


@given(st.text() | st.integers() | st.floats())
@example(10**5000)
@example("9" * 5000 + "h")
@example(float("nan"))
def test_any_duration_is_a_bearable_number_or_an_error_with_a_hint(
    value: str | int | float,
) -> None:
    try:
        seconds = parse_duration(value)
    except InputError as error:
        assert error.hint  # noqa: PT017  # either is right
        assert len(error.message) < 1000  # noqa: PT017
        return
    assert 0 <= seconds < float("inf")


@given(st.text())
def test_any_command_is_left_as_it_is_or_gets_an_exec(text: str) -> None:
    assert as_exec(text).endswith(text)


@given(st.lists(st.binary(max_size=40), max_size=5))
@example([NESTED[:5000] + b"\n"])
@example([b'{"bytes":-1}\n'])
@example([b'{"bytes":1e999}\n'])
def test_any_frames_of_a_terminal_are_read_or_refused(parts: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for part in parts:
            list(reader.feed(part))
    except ProcmanError as error:
        assert error.message  # noqa: PT017  # either is right
