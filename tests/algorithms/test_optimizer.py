"""Muon: which weights it turns, how far, and that a run goes on with it. (How AdamW's rates go: test_learner.py.)"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import AdamW
from transformers import LlamaForCausalLM

from agents.model import ActorCritic
from algorithms.optimizer import Muon, hidden_matrices, optimizer_of, orthogonal
from algorithms.training import Training


@pytest.mark.parametrize("shape", [(8, 8), (5, 30), (30, 5)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    turned = left.T @ found @ right.T  # the singular vectors stay as they are
    assert torch.allclose(turned, turned.diag().diag(), atol=1e-9)
    assert values.max() / values.min() > 1.5 and turned.diag().min() > 0.6 and turned.diag().max() < 1.3


def test_the_weights_between_hidden_states_are_turned(small_lm: LlamaForCausalLM) -> None:
    model = ActorCritic(small_lm, "shared")
    turned = {name for name, p in model.named_parameters() if id(p) in hidden_matrices(model)}
    layers = {name for name, p in model.named_parameters() if ".layers." in name and p.ndim == 2}
    assert turned == layers and len(layers) == 2 * 7


def linear(seed: int = 0) -> tuple[nn.Linear, Muon]:
    torch.manual_seed(seed)
    layer = nn.Linear(3, 2).double()
    return layer, Muon(
        [{"params": [layer.weight, layer.bias], "matrices": [True, False], "name": "policy"}], lr=0.1, weight_decay=0.5
    )


def test_a_step() -> None:
    """The weight: decay by lr * wd, then 0.4 * sqrt(3) * lr along the orthogonal form of 1.95 * gradient, whose scale is nothing.
    The bias: AdamW's."""
    layer, muon = linear()
    other = copy.deepcopy(layer)
    adamw = AdamW([other.bias], lr=0.1, weight_decay=0.5)
    before, gradient = layer.weight.detach().clone(), torch.randn(2, 3, dtype=torch.float64)
    layer.weight.grad, layer.bias.grad = gradient.clone(), torch.ones(2, dtype=torch.float64)
    other.bias.grad = layer.bias.grad.clone()
    muon.step()
    adamw.step()
    expected = before * 0.95 - 0.1 * 0.4 * 3**0.5 * orthogonal(gradient)
    assert torch.allclose(layer.weight, expected, atol=1e-6)
    assert torch.equal(layer.bias, other.bias)
    assert torch.equal(layer.weight.grad, gradient)


def test_a_saved_state_goes_on() -> None:
    (one, first), (two, second) = linear(), linear()
    for step in range(4):
        if step == 2:
            second = Muon([{"params": [two.weight, two.bias], "matrices": [True, False], "name": "policy"}], lr=0.3)
            second.load_state_dict(copy.deepcopy(first.state_dict()))
            two.load_state_dict(one.state_dict())
        for layer, optimizer in ((one, first), (two, second)):
            torch.manual_seed(step)
            for parameter in layer.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_each_group_has_its_rate(small_lm: LlamaForCausalLM) -> None:
    model = ActorCritic(small_lm, "separate")
    optimizer, _ = optimizer_of(model, model.groups(), Training(optimizer="muon", lr=1e-3, critic_lr=2e-3, warmup=0.0), 10, 0)
    assert isinstance(optimizer, Muon)
    assert [(group["name"], group["initial_lr"]) for group in optimizer.param_groups] == [("policy", 1e-3), ("critic", 2e-3)]
    assert [sum(group["matrices"]) for group in optimizer.param_groups] == [14, 14]
