from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaForCausalLM

from agents.logprob import token_log_probs, token_log_probs_and_kl
from agents.model import ActorCritic
from tests.examples import KINDS, batch


@pytest.mark.parametrize(("critic", "rank"), KINDS)
def test_nothing_differs_at_step_zero(small_lm: LlamaForCausalLM, critic: str, rank: int) -> None:
    """log_ratio == 0 and KL == 0 exactly, V == 0, for every critic and every kind of reference."""
    model = ActorCritic(small_lm, critic, reference=True, rank=rank)  # type: ignore[arg-type]
    scores = model(*batch(), reference=True, kl=True, value=True)
    assert torch.equal(scores.logp, scores.ref_logp)
    torch.testing.assert_close(scores.kl, torch.zeros(6), atol=1e-7, rtol=0)
    assert torch.equal(scores.value, torch.zeros(2, 2))


@pytest.mark.parametrize(("critic", "rank"), KINDS)
def test_the_reference_stays_while_the_policy_moves(small_lm: LlamaForCausalLM, critic: str, rank: int) -> None:
    before = copy.deepcopy(small_lm)
    model = ActorCritic(small_lm, critic, reference=True, rank=rank)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.groups()["policy"]:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    tokens, agent, start = batch()
    scores = model(tokens, agent, start, reference=True, kl=True)
    expected = before(tokens).logits.log_softmax(-1)[:, :-1][agent[:, 1:]].gather(-1, tokens[:, 1:][agent[:, 1:]][:, None])[:, 0]
    torch.testing.assert_close(scores.ref_logp, expected, atol=1e-5, rtol=0)
    assert (scores.logp - scores.ref_logp).abs().max() > 1e-3
    assert scores.kl.min() > 0


@pytest.mark.parametrize(("critic", "rank"), KINDS)
def test_each_loss_reaches_its_own_parameters(small_lm: LlamaForCausalLM, critic: str, rank: int) -> None:
    """log-probabilities move the policy alone; V moves the critic alone, except for the shared trunk."""
    model = ActorCritic(small_lm, critic, reference=True, rank=rank)  # type: ignore[arg-type]
    groups = model.groups()
    torch.nn.init.ones_(model.value_head.weight)  # type: ignore[union-attr]
    scores = model(*batch(), kl=True, value=True)
    trained = [parameter for members in groups.values() for parameter in members]
    by_policy = torch.autograd.grad(scores.logp.sum(), trained, allow_unused=True, retain_graph=True)
    by_value = torch.autograd.grad(scores.value.sum(), trained, allow_unused=True)
    owners = [name for name, members in groups.items() for _ in members]

    def reached(gradients: tuple[torch.Tensor | None, ...]) -> set[str]:
        return {o for o, g in zip(owners, gradients, strict=True) if g is not None and g.abs().max() > 0}

    assert reached(by_policy) == {"policy"}
    assert reached(by_value) == ({"policy", "critic"} if critic == "shared" else {"critic"})


class Count(TorchDispatchMode):
    """Of products of matrices that are really computed."""

    products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products += func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
        return func(*args, **kwargs or {})


def products(model: ActorCritic) -> int:
    """In a forward and a backward pass."""
    with Count() as count:
        model(*batch()).logp.sum().backward()
    return count.products


def test_what_is_kept_is_not_computed_again(small_lm: LlamaForCausalLM) -> None:
    """With products kept no layer multiplies by its weights again; without, its seven linear layers but the last do."""
    plain, kept, full = (ActorCritic(copy.deepcopy(small_lm)) for _ in range(3))
    kept.checkpoint_layers(keep=True)
    full.checkpoint_layers()
    expected = products(plain)
    assert products(kept) == expected
    assert products(full) == expected + 2 * 6


class Made(TorchDispatchMode):
    """Every storage that was made, without holding it."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **kwargs or {})
        for x in pytree.tree_leaves(found):
            if isinstance(x, torch.Tensor):
                storage = StorageWeakRef(x.untyped_storage())
                self.storages[storage.cdata] = storage, x.untyped_storage().nbytes()
        return found


def held(model: ActorCritic) -> int:
    """Bytes of what a forward pass has made and still holds for its gradient."""
    with Made() as made:
        states = model.hidden("policy", torch.arange(400)[None] % 50)
    assert states.requires_grad
    return sum(size for storage, size in made.storages.values() if not storage.expired())


def test_what_is_computed_again_is_not_held(small_lm: LlamaForCausalLM) -> None:
    """Kept products are a part of all, and more than what stands between layers."""
    plain, kept, full = (ActorCritic(copy.deepcopy(small_lm)) for _ in range(3))
    kept.checkpoint_layers(keep=True)
    full.checkpoint_layers()
    assert held(full) < 0.5 * held(kept)
    assert held(kept) < 0.7 * held(plain)


def test_trunk_gradient_scales_what_the_shared_critic_sends_back(small_lm: LlamaForCausalLM) -> None:
    found = []
    for share in (1.0, 0.25):
        model = ActorCritic(copy.deepcopy(small_lm), "shared", trunk_gradient=share)
        torch.nn.init.ones_(model.value_head.weight)  # type: ignore[union-attr]
        value = model(*batch(), value=True).value
        found.append((value, torch.autograd.grad(value.sum(), [model.lm.model.layers[0].mlp.up_proj.weight])[0]))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(0.25 * found[0][1], found[1][1])


def test_padding_and_environment_labels_change_nothing(small_lm: LlamaForCausalLM) -> None:
    """Tokens after a row's last own token (padding) do not touch its scores; other rows neither."""
    model = ActorCritic(small_lm, "separate", reference=True)
    tokens, agent, start = batch()
    first = model(tokens, agent, start, kl=True, value=True)
    tokens[1, 4:] = 77
    second = model(tokens, agent, start, kl=True, value=True)
    for before, after in zip(first, second, strict=True):
        torch.testing.assert_close(before, after)


def test_chunks_equal_the_whole_in_value_and_gradient() -> None:
    """float64, chunks of 3 over 10 positions, against log_softmax over the full vocabulary."""
    generator = torch.Generator().manual_seed(0)
    hidden, ref = (torch.randn(10, 8, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight, ref_weight = (torch.randn(20, 8, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    targets = torch.randint(20, (10,), generator=generator)
    logp, ref_logp, kl = token_log_probs_and_kl(hidden, ref, targets, lambda h: h @ weight.T, lambda h: h @ ref_weight.T, 3)
    p, q = (hidden @ weight.T).log_softmax(-1), (ref @ ref_weight.T).log_softmax(-1).detach()
    full_kl = (p.exp() * (p - q)).sum(-1)
    full_logp = p.gather(-1, targets[:, None])[:, 0]
    for ours, theirs in ((logp, full_logp), (ref_logp, q.gather(-1, targets[:, None])[:, 0]), (kl, full_kl)):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    ours = torch.autograd.grad((logp * kl).sum(), [hidden, weight])
    theirs = torch.autograd.grad((full_logp * full_kl).sum(), [hidden, weight])
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(token_log_probs(hidden, targets, lambda h: h @ weight.T, 4), full_logp, atol=1e-12, rtol=0)
    assert not ref_logp.requires_grad


def test_model_that_changes_its_logits_is_refused(small_lm: LlamaForCausalLM) -> None:
    class Odd(LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            out.logits = out.logits * 2
            return out

    small_lm.__class__ = Odd
    with pytest.raises(ValueError, match="changes its logits"):
        ActorCritic(small_lm)


def test_lora_critic_needs_a_rank(small_lm: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="rank=0"):
        ActorCritic(small_lm, "lora")
