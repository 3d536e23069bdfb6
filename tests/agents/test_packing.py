"""Packs of rows: every beginning is there once, and a model computes on them what it computes on rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from agents.packing import feed, pack, packs, shared

ROWS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=9), min_size=1, max_size=8)


@given(ROWS)
def test_each_beginning_is_there_once(rows: list[list[int]]) -> None:
    """As many tokens as there are different non-empty beginnings, each at its place in its rows."""
    packing = pack(rows)
    assert len(packing.tokens) == len({tuple(row[:n]) for row in rows for n in range(1, len(row) + 1)})
    for row, places in zip(rows, packing.place.tolist(), strict=True):
        assert packing.tokens[places[: len(row)]].tolist() == row
        assert packing.position[places[: len(row)]].tolist() == list(range(len(row)))


@given(ROWS)
def test_each_home_is_a_place_of_its_beginning(rows: list[list[int]]) -> None:
    packing = pack(rows)
    assert packing.place.flatten()[packing.home].tolist() == list(range(len(packing.tokens)))
    width = packing.place.shape[1]
    assert all(home % width < len(rows[home // width]) for home in packing.home.tolist())


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_the_common_beginning(one: list[int], other: list[int]) -> None:
    length = shared(one, other)
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_computes_the_same_on_packs_is_packed(small_lm: LlamaForCausalLM, dtype: torch.dtype) -> None:
    assert packs(small_lm.to(dtype))


def test_another_family_is_packed() -> None:
    assert packs(GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2)).eval())


def test_the_attention_is_the_models_own_again(small_lm: LlamaForCausalLM) -> None:
    usual = small_lm.config._attn_implementation
    feed(small_lm.model, pack([[1, 2], [1, 3]]))
    assert small_lm.config._attn_implementation == usual


def windows() -> PreTrainedModel:
    config = MistralConfig(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, sliding_window=8)
    config.num_attention_heads = config.num_key_value_heads = 2
    return MistralForCausalLM(config)


def slopes() -> PreTrainedModel:
    """Positions as slopes, which are built from a mask."""
    return BloomForCausalLM(BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2))


@pytest.mark.parametrize("make", [windows, slopes])
def test_a_model_with_other_attention_is_not_packed(make) -> None:
    assert not packs(make().eval())


def test_layers_with_windows_are_not_packed(small_lm: LlamaForCausalLM) -> None:
    small_lm.config.layer_types = ["full_attention", "sliding_attention"]
    assert not packs(small_lm)


def test_attention_that_is_not_ours_is_seen(small_lm: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that ignores positions reads packs as one row."""
    forward = small_lm.model.forward
    monkeypatch.setattr(small_lm.model, "forward", lambda **given: forward(**(given | {"position_ids": None})))
    assert not packs(small_lm)
