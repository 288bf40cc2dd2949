"""A manifest is read back whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifacts.canonical import digest
from registry.artifacts.commit import Committed
from registry.artifacts.manifest import File, Manifest, content_digest, decode, metrics_of
from registry.artifacts.records import encode_record
from registry.artifacts.store.memory import MemoryStore
from registry.errors import BadData, Corrupt
from tests.registry.makers import a_recipe, a_reference, an_attempt, commit_one

PATH = "manifests/x.json"


def committed() -> Committed:
    return commit_one(
        MemoryStore(),
        a_recipe(parameters={"rate": 0.1, "list": [1, 2.0], "seed": 7, "zero": -0.0}),
        metrics={"auc": 0.75, "zero": 0.0},
        resources={"cpus": 2, "memory_mb": 2048},
        timings={"started": 1.5e9, "finished": 1500000001},
        rows=12,
        signature={"inputs": [{"name": "x", "type": "float64"}]},
    )


MANIFEST = committed().manifest
DATA = encode_record(MANIFEST)


def sealed(**changes: Any) -> bytes:
    """The bytes of a manifest with changed fields and a seal that fits: a forgery, or a defect."""
    fields = msgspec.to_builtins(MANIFEST) | changes
    fields["version"] = digest(
        "penstock.manifest.v1", {k: v for k, v in fields.items() if k != "version"}
    )
    return json.dumps(fields).encode()


def test_a_manifest_survives_the_round_trip():
    assert decode(DATA, PATH) == MANIFEST
    assert decode(DATA, PATH, MANIFEST.key) == MANIFEST
    assert MANIFEST.recipe().key == MANIFEST.key
    assert MANIFEST.sealed() == MANIFEST


def test_whole_numbers_where_floats_are_declared_do_not_break_the_seal():
    assert MANIFEST.resources == {"cpus": 2.0, "memory_mb": 2048.0}
    assert decode(encode_record(MANIFEST), PATH).version == MANIFEST.version


def test_a_reference_names_path_and_digests():
    reference = MANIFEST.reference(PATH)
    assert (reference.path, reference.key) == (PATH, MANIFEST.key)
    assert (reference.content, reference.version) == (MANIFEST.content, MANIFEST.version)


def test_the_content_digest_covers_the_files_alone():
    files = [File("b", 1, "1" * 64), File("a", 2, "2" * 64)]
    assert content_digest(files) == content_digest(files[::-1])
    assert content_digest(files) != content_digest(files[:1])
    one, other = committed().manifest, committed().manifest
    assert one.content == other.content
    assert one.version != other.version  # Another writer.


@given(st.integers(0, len(DATA) - 1), st.integers(0, 255))
def test_a_changed_byte_is_an_error_and_never_another_manifest(place: int, byte: int):
    check(DATA[:place] + bytes([byte]) + DATA[place + 1 :])


@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_an_error_and_never_another_manifest(place: int, bit: int):
    check(DATA[:place] + bytes([DATA[place] ^ (1 << bit)]) + DATA[place + 1 :])


@given(st.integers(0, len(DATA)), st.integers(0, 60), st.binary(max_size=20))
def test_a_replaced_stretch_is_an_error_and_never_another_manifest(
    place: int, length: int, put: bytes
):
    check(DATA[:place] + put + DATA[place + length :])


@given(st.integers(0, len(DATA) - 2))
def test_a_truncated_manifest_is_an_error(length: int):
    with pytest.raises(BadData, match=PATH):
        decode(DATA[:length], PATH)


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_garbage_is_an_error(data: bytes):
    with pytest.raises(BadData):
        decode(data, PATH)


def check(data: bytes) -> None:
    """Where the change does not matter (a blank, 1.0 as 1e0) the manifest is the same."""
    try:
        found = decode(data, PATH)
    except BadData:
        return
    assert found == MANIFEST


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"auc": 0.75', b'"auc": 0.95'),
        (b'"rows": 12', b'"rows": 13'),
        (b'"rate": 0.1', b'"rate": 0.2'),
        (b'"host": "here"', b'"host": "there"'),
    ],
)
def test_an_edit_by_hand_is_found(old: bytes, new: bytes):
    assert old in DATA
    with pytest.raises(Corrupt, match="changed after it was committed"):
        decode(DATA.replace(old, new), PATH)


def test_a_manifest_of_another_recipe_is_found():
    with pytest.raises(Corrupt, match="another recipe"):
        decode(DATA, PATH, a_recipe(name="trains").key)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "a" * 64},
        {"step_version": 2},
        {"step_version": 0},
        {"family": "../x"},
        {"date": "yesterday"},
        {"epoch": 1},
        {"files": []},
        {"content": "a" * 64},
    ],
)
def test_a_seal_that_fits_does_not_make_a_manifest(changes: dict[str, Any]):
    with pytest.raises(BadData, match=PATH):
        decode(sealed(**changes), PATH)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../b", ""])
def test_files_outside_the_folder_of_the_artifact_are_refused(path: str):
    files = [File(path, 1, "1" * 64)]
    data = sealed(files=msgspec.to_builtins(files), content=content_digest(files))
    with pytest.raises(Corrupt, match="outside"):
        decode(data, PATH)


@pytest.mark.parametrize("more", [{}, {"field_of_the_future": [1]}])
def test_a_newer_format_is_called_that_and_not_damage(more: dict[str, Any]):
    data = json.dumps(msgspec.to_builtins(MANIFEST) | {"format": 2} | more).encode()
    with pytest.raises(BadData, match="manifest format 2") as caught:
        decode(data, PATH)
    assert "newer" in caught.value.todo


def test_a_field_of_nobody_is_refused():
    with pytest.raises(BadData, match="field_of_nobody"):
        decode(json.dumps(msgspec.to_builtins(MANIFEST) | {"field_of_nobody": 1}).encode(), PATH)


def test_metrics_that_json_cannot_spell_are_left_out():
    values = {"a": 1, "nan": float("nan"), "inf": float("inf"), "minus": float("-inf")}
    assert metrics_of(values) == {"a": 1.0}


def test_references_of_inputs_are_kept():
    store = MemoryStore()
    attempt = an_attempt(store, references={"one": a_reference(1), "many": [a_reference(2)]})
    assert attempt.spec.references == {"one": a_reference(1), "many": [a_reference(2)]}
    assert isinstance(MANIFEST, Manifest)
