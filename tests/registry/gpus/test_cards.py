"""What is read of cards, and which ones a process may use."""

from __future__ import annotations

import pynvml
import pytest

from registry.gpus import Card, NoGpu, cards
from registry.gpus.cards import is_visible
from tests.nvml import FakeCard, nvml_of

A, B = "GPU-aaaa", "GPU-bbbb"


def test_without_a_driver_the_reason_is_that_of_the_real_library():
    with pytest.raises(NoGpu) as none:
        cards()
    assert none.value.why.startswith("NVML: ")


def test_cards_are_told_in_mib_and_the_library_is_let_go():
    with nvml_of(FakeCard(A, 1000, 2000, 7), FakeCard(B, busy=None)) as nvml:
        assert cards({}) == [
            Card(A, "Simulated", 2000, 1000, 7), Card(B, "Simulated", 8192, 8000, None),
        ]  # fmt: skip
        assert nvml.open == 0


def test_a_divided_card_is_left_out():
    with nvml_of(FakeCard(A, divided=True), FakeCard(B)):
        assert [card.uuid for card in cards({})] == [B]
    with nvml_of(FakeCard(A, divided=True)), pytest.raises(NoGpu) as none:
        cards({})
    assert none.value.why == "none that is not divided"


def test_a_library_that_fails_is_a_reason():
    with nvml_of(failing=pynvml.NVML_ERROR_DRIVER_NOT_LOADED), pytest.raises(NoGpu) as none:
        cards({})
    assert "Driver" in none.value.why


def test_variables_that_allow_none_are_named():
    with nvml_of(FakeCard(A)), pytest.raises(NoGpu) as none:
        cards({"NVIDIA_VISIBLE_DEVICES": "void"})
    assert none.value.why == "none is allowed by NVIDIA_VISIBLE_DEVICES=void"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("all", [True, True]), ("none", [False, False]), ("void", [False, False]),
        ("", [False, False]), ("-1", [False, False]), ("0", [True, False]), ("1, 0", [True, True]),
        (A, [True, False]), ("GPU-b", [False, True]), (f"{A},{B}", [True, True]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"])
def test_what_variables_allow(name, value, seen):
    assert [is_visible(index, uuid, {name: value}) for index, uuid in enumerate((A, B))] == seen


def test_both_variables_must_allow_a_card():
    env = {"CUDA_VISIBLE_DEVICES": A, "NVIDIA_VISIBLE_DEVICES": "all"}
    assert is_visible(0, A, env)
    assert not is_visible(0, A, env | {"NVIDIA_VISIBLE_DEVICES": B})


def test_the_least_loaded_has_most_memory_then_is_least_busy():
    loads = [
        Card("c", "", 9000, 8100, 90), Card("b", "", 9000, 8050, 10), Card("a", "", 9000, 3000, 0),
    ]  # fmt: skip
    assert [card.uuid for card in sorted(loads, key=lambda card: card.load)] == ["b", "c", "a"]
