"""Stages in a bundle: recorded when it is made, checked when it is opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from registry.errors import BadData, PenstockError, Refused
from registry.models import stage as stages_module
from registry.models.building import build_identity
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked
from registry.models.signature import Column, Input, Output, Signature
from registry.models.stage import Stage, open_stage, record_stage

MODEL = Signature((Input("length"), Input("kind", "category", ("a", "b"))), (Output("y"),))


class Lengths(Stage):
    """How long a text is, and its first letter."""

    name = "lengths"
    inputs = (Input("text", "bytes"),)
    outputs: ClassVar[tuple[str, ...]] = ("length", "kind")
    examples: ClassVar[Any] = ({"text": b"abc"}, {"text": None}, {"text": b"\xff"})

    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        texts = columns["text"]
        return {
            "length": [None if text is None else len(text) for text in texts],
            "kind": [str(text[:1], "ascii", "replace") if text else None for text in texts],
        }


class Newer(Lengths):
    version = 2


class After(Stage):
    """Adds one."""

    name = "after"
    inputs = (Input("y"),)
    outputs = ("z",)
    examples: ClassVar[Any] = ({"y": 1.0},)

    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        return {"z": columns["y"] + 1}


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the use case `uc` have these stages."""

    def having(*kinds: type[Stage]) -> None:
        monkeypatch.setattr(
            stages_module, "own_stages", lambda usecase: kinds if usecase == "uc" else ()
        )

    having(Lengths, Newer, After)
    return having


@pytest.mark.usefixtures("offer")
def test_the_newest_version_is_recorded_with_what_it_makes() -> None:
    use = record_stage("uc/lengths", "pre", MODEL)
    assert (use.version, use.outputs) == (2, ("length", "kind"))
    assert use.recorded.outputs == ((3.0, 0.0), (None, None), (1.0, None))
    assert use.example() == {"text": b"abc"}
    again = msgspec.json.decode(msgspec.json.encode(use), type=type(use))
    ready = open_stage(again, "pre", MODEL)
    made = ready.apply({"text": [memoryview(b"bb"), None]}, 2)
    np.testing.assert_array_equal(made, [[2.0, 1.0], [np.nan, np.nan]])


def test_only_the_version_that_is_named_opens(offer: Callable[..., None]) -> None:
    use = record_stage("uc/lengths", "pre", MODEL)
    offer(Lengths, After)
    with pytest.raises(BadData, match=r"uc/lengths version 2.*has lengths version 1"):
        open_stage(use, "pre", MODEL)


def test_a_stage_that_was_changed_without_a_new_version_is_told(offer: Callable[..., None]) -> None:
    use = record_stage("uc/after", "post", MODEL)

    class Changed(After):
        def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
            return {"z": columns["y"] + 2}

    offer(Changed)
    with pytest.raises(BadData, match="other numbers"):
        open_stage(use, "post", MODEL)


def _raises(error: Exception) -> Any:
    def apply(self: Stage, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        raise error

    return apply


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"outputs": ("length",)}, "only one of the two has kind"),
        ({"examples": ()}, "no examples"),
        ({"apply": _raises(KeyError("oh"))}, "fails on its examples: KeyError"),
        ({"apply": lambda _, c: {"length": [1], "kind": ["a"]}}, "1 rows for 3"),
        ({"apply": lambda _, c: {"length": ["x"] * 3, "kind": ["a"] * 3}}, "does not take"),
        ({"apply": lambda _, c: {"length": [1] * 3}}, "missing: kind"),
        ({"inputs": (Input("text", "category", ("a",)),)}, "takes a category"),
        ({"__init__": _raises(OSError("no file"))}, "positional|cannot start"),
    ],
)
def test_a_stage_that_does_not_work_makes_no_bundle(
    offer: Callable[..., None], content: dict[str, Any], reason: str
) -> None:
    offer(type("Bad", (Lengths,), content))
    with pytest.raises(BadData, match=reason):
        record_stage("uc/lengths", "pre", MODEL)


@pytest.mark.usefixtures("offer")
def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(BadData, match="no stage 'uc/nothing'"):
        record_stage("uc/nothing", "pre", MODEL)


def test_a_stage_alone_is_a_bundle(offer: Callable[..., None], tmp_path: Path) -> None:
    class Length(Lengths):
        name = "length"
        outputs = ("y",)
        examples: ClassVar[Any] = ({"text": b"abc"},)

        def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
            return {"y": [len(text) for text in columns["text"]]}

    offer(Length, After)
    build_identity(tmp_path, "uc/length", "uc/after")
    bundle = Bundle.read(tmp_path)
    assert bundle.public.names == ("text",)
    assert [output.name for output in bundle.public.outputs] == ["z"]
    assert bundle.header.stages.places == ("pre", "post")
    open_checked(bundle, bare=True).close()
    with pytest.raises(Refused, match="only a service runs"):
        open_checked(bundle)


def test_bundles_without_stages_are_written_as_before(tmp_path: Path, bundle: Bundle) -> None:
    header = json.loads((bundle.folder / "bundle.json").read_text())
    assert header["stages"] == {}


def test_a_model_cannot_take_bytes(tmp_path: Path, bundle: Bundle) -> None:
    for file in bundle.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    signature = json.loads((tmp_path / "signature.json").read_text())
    signature["inputs"][0] = {"name": "x", "type": "bytes"}
    (tmp_path / "signature.json").write_text(json.dumps(signature))
    with pytest.raises(PenstockError, match="no model takes bytes"):
        Bundle.read(tmp_path)


def test_the_example_of_the_page_works(offer: Callable[..., None]) -> None:
    """What is there to copy fits a model of the columns that it names."""
    page = (Path(__file__).parents[3] / "docs/how-to/stages.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/how-to/stages.md", "exec"), namespace)
    offer(*namespace["STAGES"])
    inputs = tuple(map(Input, ("loudness", "peak", "speed")))
    model = Signature(inputs, (Output("probability"),))
    before = record_stage("uc/samples", "pre", model)
    after = record_stage("uc/percent", "post", model)
    assert after.recorded.outputs == ((25.0, 0.0),)
    recording = np.array([3, -4], "<i2").tobytes()
    columns = {"recording": [memoryview(recording)], "speed": np.array([7.0])}
    made = open_stage(before, "pre", model).apply(columns, 1)
    np.testing.assert_allclose(made, [[np.sqrt(12.5), 4.0, 7.0]])
    with pytest.raises(BadData, match="no sequence"):
        open_stage(before, "pre", model).apply({**columns, "recording": [memoryview(b"x")]}, 1)
