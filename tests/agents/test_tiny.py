from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from agents import tiny


def test_digits_and_line_breaks_stay_apart(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode("123 + 45\n\n7")]
    assert [p for p in pieces if any(c.isdigit() for c in p)] == ["1", "2", "3", " 4", "5", "7"]
    assert pieces.count("\n") == 2


ENV_TEXT = tiny.train_tokenizer(["go to desk 1"], 300)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_text_survives(text: str) -> None:
    assert ENV_TEXT.decode(ENV_TEXT.encode(text), clean_up_tokenization_spaces=False) == text


def test_weights_depend_on_the_seed_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    config = tiny.TinyConfig(width=32, layers=1, heads=2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (tiny.build(tokenizer, config, seed=s).model.layers[0].mlp.up_proj.weight for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_weights_start_as_large_as_they_are_said_to(tokenizer: PreTrainedTokenizerFast) -> None:
    lm = tiny.build(tokenizer, tiny.TinyConfig(init=0.07))
    assert lm.model.layers[0].mlp.up_proj.weight.std().item() == pytest.approx(0.07, rel=0.02)


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab=100 is too small"):
        tiny.train_tokenizer(["a"], 100)


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width=33.*a multiple of twice the heads"):
        tiny.TinyConfig(width=33)
