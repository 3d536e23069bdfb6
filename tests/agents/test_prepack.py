"""Weights brought into oneDNN's order: the same numbers, and no weights of before."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaForCausalLM

from agents.prepack import Prepacked

IDS = torch.arange(12).reshape(2, 6)


@pytest.fixture
def lm(small_lm: LlamaForCausalLM) -> LlamaForCausalLM:
    return small_lm.bfloat16()


@pytest.fixture
def packed(lm: LlamaForCausalLM) -> Prepacked:
    found = Prepacked(lm)
    if not found.layers:
        pytest.skip("this processor has no bfloat16 arithmetic")
    return found


@torch.no_grad()
def logits(lm: nn.Module) -> torch.Tensor:
    return lm(input_ids=IDS).logits


def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each product with reordered weights."""
    calls: list[int] = []
    usual = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *given: calls.append(1) or usual(*given))
    return calls


def test_every_linear_layer_says_the_same(lm: LlamaForCausalLM, packed: Prepacked, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, calls = logits(lm), products(monkeypatch)
    with packed.applied():
        found = logits(lm)
    assert torch.equal(found, expected)
    assert len(calls) == sum(isinstance(layer, nn.Linear) for layer in lm.modules())


def test_weights_that_have_changed_are_reordered_anew(lm: LlamaForCausalLM, packed: Prepacked) -> None:
    with packed.applied():
        before = logits(lm)
    one, other = packed.layers[3:5]
    with torch.no_grad():
        one.weight.mul_(2)
    other.weight.data = other.weight.data * 3  # in another place
    with packed.applied():
        found = logits(lm)
    assert not torch.equal(found, before)
    assert torch.equal(found, logits(lm))


def test_layers_are_as_they_were_after_a_call_and_after_a_fault(lm: LlamaForCausalLM, packed: Prepacked) -> None:
    with pytest.raises(KeyError), packed.applied():
        raise KeyError
    assert not any("forward" in vars(layer) for layer in lm.modules())


def test_gradients_pass_as_usual(lm: LlamaForCausalLM, packed: Prepacked) -> None:
    with packed.applied():
        lm(input_ids=IDS).logits.float().sum().backward()
    assert lm.lm_head.weight.grad is not None


def test_adapters_are_added(lm: LlamaForCausalLM) -> None:
    adapted = get_peft_model(lm, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    expected = logits(adapted)
    with Prepacked(adapted).applied():
        assert torch.equal(logits(adapted), expected)


def test_other_types_are_left_alone(small_lm: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = products(monkeypatch)
    with Prepacked(small_lm).applied():
        logits(small_lm)
    assert not calls
