"""Packs of rows: every token sees its own row's beginning and nothing else, at its own depth, and what rows share is there once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BloomConfig, BloomForCausalLM, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from agents.model import check_packing
from agents.packing import pack

ROWS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=9), min_size=1, max_size=8)


@given(ROWS, st.integers(1, 40))
def test_each_token_of_a_row_sees_the_row_up_to_itself(rows: list[list[int]], width: int) -> None:
    packing = pack(rows, width)
    packs, length = packing.tokens.shape
    tokens, position = packing.tokens.flatten(), packing.position.flatten()
    for row, places in zip(rows, packing.place.tolist(), strict=True):
        path = places[: len(row)]
        assert tokens[path].tolist() == row
        assert position[path].tolist() == list(range(len(row)))
        for depth, place in enumerate(path):
            seen = packing.visible[place // length, place % length].nonzero()[:, 0] + place // length * length
            assert sorted(path[: depth + 1]) == seen.tolist()
    assert packs <= len(rows)


@given(ROWS)
def test_one_pack_holds_each_beginning_once(rows: list[list[int]]) -> None:
    """As many tokens as there are different non-empty prefixes."""
    packing = pack(rows, width=sum(map(len, rows)))
    assert packing.tokens.shape == (1, len({tuple(row[:n]) for row in rows for n in range(1, len(row) + 1)}))


@given(ROWS, st.integers(1, 40))
def test_a_pack_is_no_wider_than_told_but_for_a_longer_row(rows: list[list[int]], width: int) -> None:
    assert pack(rows, width).tokens.shape[1] <= max(width, *map(len, rows))


def test_padding_sees_itself_alone() -> None:
    """A row that saw nothing would be the mean of everything, or no number."""
    packing = pack([[1, 2, 3], [4]], width=3, pad=9)
    assert packing.tokens.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert packing.visible[1].tolist() == torch.eye(3, dtype=torch.bool).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_computes_the_same_on_packs_is_taken(small_lm: LlamaForCausalLM, dtype: torch.dtype) -> None:
    check_packing(small_lm.to(dtype))


def test_a_model_with_windows_is_refused() -> None:
    config = MistralConfig(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, sliding_window=8)
    config.num_attention_heads = config.num_key_value_heads = 2
    with pytest.raises(ValueError, match=r"MistralForCausalLM has windows \(.*'sliding_window': 8.*\) and cannot be packed"):
        check_packing(MistralForCausalLM(config))


def test_layers_with_windows_are_refused(small_lm: LlamaForCausalLM) -> None:
    small_lm.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(ValueError, match=r"has windows \(sliding_attention\) and cannot be packed"):
        check_packing(small_lm)


def test_attention_that_takes_no_mask_is_refused(small_lm: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """As flash attention does: the mask is ignored, the packs are read as rows."""
    forward = small_lm.model.forward
    monkeypatch.setattr(small_lm.model, "forward", lambda **given: forward(**(given | {"attention_mask": None})))
    with pytest.raises(ValueError, match=r"takes no mask and positions of ours \(sdpa attention\) and cannot be packed"):
        check_packing(small_lm)


def test_a_model_without_positions_is_refused() -> None:
    """BLOOM builds them from a mask of two dimensions, and fails on ours."""
    config = BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2)
    with pytest.raises(ValueError, match="BloomForCausalLM takes no mask and positions of ours"):
        check_packing(BloomForCausalLM(config))
