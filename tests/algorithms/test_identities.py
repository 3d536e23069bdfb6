"""What the learners have in common, to twelve digits in float64, in loss and in gradient.

First on random scores: each learner is a special case of another. Then through a real model in float64: what padding, chunks,
adapters and the environment's words may not change. Elsewhere: the exact optimum (test_optimum.py), credits of a real search
telescope (tests/rollouts/test_tree.py), accumulation and resuming are exact (test_learner.py), a reloaded V is the same to the bit
(tests/agents/test_checkpoint.py), an episode cut off by a limit earns nothing (test_examples.py).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from agents import model as model_module
from agents.logprob import token_log_probs, token_log_probs_and_kl
from agents.model import ActorCritic
from algorithms import dpo, dqo, dro, dvo, kto, oreo, sft, step_dpo, value
from algorithms.batch import Batch, Outputs, Row, collate, gather_decisions
from algorithms.method import Method
from algorithms.minibatch import compute_outputs
from algorithms.reference import ReferenceCache, needed
from algorithms.returns import lambda_return, literal_lambda_return, next_decision
from algorithms.training import Training

EXACT = {"atol": 1e-12, "rtol": 0.0}


def example(rows: int = 4, steps: int = 6, seed: int = 0) -> tuple[Outputs, Batch]:
    """Random scores and rewards, rows of 1 to `steps` decisions."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(rows, steps, generator=generator, dtype=torch.float64)

    lengths = torch.randint(1, steps + 1, (rows,), generator=generator)
    lengths[0] = steps
    mask = torch.arange(steps) < lengths[:, None]
    zeros = torch.zeros(rows, steps, dtype=torch.long)
    outputs = Outputs(draw().requires_grad_(), draw(), draw().requires_grad_())
    return outputs, Batch(zeros, zeros, zeros, mask, draw() * mask)


def gradients(loss: Any, outputs: Outputs, batch: Batch, config: Any) -> tuple[Tensor, list[Tensor]]:
    total, _ = loss(outputs, batch, config)
    wanted = [x for x in (outputs.logp, outputs.value) if x is not None and x.requires_grad]
    return total, list(torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("seed", range(5))
def test_oreo_without_kl_is_dqo_with_lambda_1_and_no_weights(seed: int) -> None:
    outputs, batch = example(seed=seed)
    for gamma in (1.0, 0.9):
        one = gradients(oreo.loss, outputs, batch, oreo.Config(beta=0.3, kl=0.0, gamma=gamma))
        other = gradients(dqo.loss, outputs, batch, dqo.Config(beta=0.3, gamma=gamma, weight_value=False, weight_policy=False))
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_dro_is_oreo_and_dqo_with_one_decision(seed: int) -> None:
    outputs, batch = example(steps=1, seed=seed)
    found = gradients(dro.loss, outputs, batch, dro.Config(beta=0.3))
    for loss, config in (
        (oreo.loss, oreo.Config(level="response", beta=0.3, kl=0.0)),
        (dqo.loss, dqo.Config(beta=0.3, lam=0.3, weight_value=False, weight_policy=False)),
    ):
        torch.testing.assert_close(found, gradients(loss, outputs, batch, config), **EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_dvo_is_the_policy_half_with_a_frozen_value_and_the_tail_v(seed: int) -> None:
    """beta LR - (r + V' - V) is DQO's policy residual at lam = 0 but that its tail is V' and not G'; and DVO has a 1/2."""
    outputs, batch = example(seed=seed)
    assert outputs.value is not None
    frozen = (outputs.value * batch.mask).detach()
    targets = replace(batch, target=batch.reward + next_decision(frozen) - frozen)
    total, (gradient, _) = gradients(dvo.loss, outputs, targets, dvo.Config(beta=0.3))
    log_ratio = (outputs.logp - outputs.ref_logp) * batch.mask  # type: ignore[operator]
    residual = (frozen + 0.3 * log_ratio - batch.reward - next_decision(frozen)) * batch.mask
    by_hand = 0.5 * ((residual**2).sum(1) / batch.mask.sum(1)).mean()
    torch.testing.assert_close(total, by_hand, **EXACT)
    torch.testing.assert_close(gradient, torch.autograd.grad(by_hand, outputs.logp)[0], **EXACT)


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.95, 1.0])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_recursion_is_the_normalised_mixture_of_n_step_returns(lam: float, gamma: float) -> None:
    """G = (1 - lam) sum_{n<m} lam^(n-1) G^(n) + lam^(m-1) G^(m), m the decisions left, by loops over every row."""
    outputs, batch = example()
    assert outputs.value is not None and outputs.ref_logp is not None
    value, ratio = outputs.value.detach() * batch.mask, (outputs.logp - outputs.ref_logp).detach()
    found = lambda_return(batch.reward, value, ratio, batch.mask, 0.3, gamma, lam)
    soft = batch.reward - 0.3 * ratio
    for b, length in enumerate(batch.mask.sum(1).tolist()):
        for s in range(length):
            left = length - s

            def n_step(n: int, b: int = b, s: int = s, length: int = length) -> float:
                future = gamma**n * value[b, s + n] if s + n < length else 0.0
                return float(sum(gamma**i * soft[b, s + i] for i in range(n)) + future)

            mixture = sum((1 - lam) * lam ** (n - 1) * n_step(n) for n in range(1, left)) + lam ** (left - 1) * n_step(left)
            assert found[b, s].item() == pytest.approx(mixture, abs=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_lambda_0_is_one_step_for_the_critic_and_two_for_the_policy(gamma: float) -> None:
    """L_V regresses onto u + gamma V', as TD(0) does; L_pi puts G' = u' + gamma V'' where V' would stand (DQO's Eq. 4.7)."""
    outputs, batch = example()
    assert outputs.value is not None and outputs.ref_logp is not None
    frozen, log_ratio = (outputs.value * batch.mask).detach(), (outputs.logp - outputs.ref_logp) * batch.mask
    soft = batch.reward - 0.3 * log_ratio.detach()
    once = next_decision(frozen)
    critic = outputs.value - soft - gamma * once
    actor = frozen + 0.3 * log_ratio - batch.reward - gamma * next_decision(soft + gamma * once)
    by_hand = [((x * batch.mask) ** 2).sum(1).div(batch.mask.sum(1)).mean() for x in (critic, actor)]
    config = dqo.Config(beta=0.3, lam=0.0, gamma=gamma, weight_value=False, weight_policy=False)
    total, found = gradients(dqo.loss, outputs, batch, config)
    torch.testing.assert_close(total, sum(by_hand), **EXACT)
    torch.testing.assert_close(found, list(torch.autograd.grad(sum(by_hand), [outputs.logp, outputs.value])), **EXACT)  # type: ignore[arg-type]


def test_the_printed_lambda_return_by_hand() -> None:
    """Two decisions, lam = 0.5, u = [1, 2], V = [3, 4]: G_0 = 0.5 * (1 + 4) = 2.5 and G_1 = 0, its sum being empty.

    The normalised one has G_1 = 2 and G_0 = 1 + 0.5 * 4 + 0.5 * 2 = 4.
    """
    reward = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    value = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    nothing = torch.zeros_like(reward)
    assert literal_lambda_return(reward, value, nothing, mask, 1.0, 1.0, 0.5).tolist() == [[2.5, 0.0]]
    assert lambda_return(reward, value, nothing, mask, 1.0, 1.0, 0.5).tolist() == [[4.0, 2.0]]


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95])
def test_the_printed_lambda_return_is_its_sum(lam: float, gamma: float) -> None:
    """Term by term, over rows of different lengths: n = 1 .. H - s, in each G^(n) the rewards before s + n and V there."""
    outputs, batch = example()
    assert outputs.value is not None and outputs.ref_logp is not None
    value, log_ratio = outputs.value.detach(), (outputs.logp - outputs.ref_logp).detach()
    found = literal_lambda_return(batch.reward, value, log_ratio, batch.mask, 0.3, gamma, lam)
    soft = batch.reward - 0.3 * log_ratio
    for b, length in enumerate(batch.mask.sum(1).tolist()):
        for s in range(length):
            terms = []
            for n in range(1, length - s):
                g = sum(gamma**i * soft[b, s + i].item() for i in range(n)) + gamma**n * value[b, s + n].item()
                terms.append((1 - lam) * lam ** (n - 1) * g)
            assert found[b, s].item() == pytest.approx(sum(terms), abs=1e-12)
    assert not found[~batch.mask].any()


def test_the_printed_return_is_asked_for_by_name() -> None:
    """Where it is printed: at lam = 1 it is the whole return, as otherwise."""
    outputs, batch = example()
    unweighted = dqo.Config(lam=0.9, weight_value=False, weight_policy=False)
    normal, _ = dqo.loss(outputs, batch, unweighted)
    printed, _ = dqo.loss(outputs, batch, replace(unweighted, lambda_return="paper"))
    assert normal.item() != pytest.approx(printed.item())
    whole = dqo.loss(outputs, batch, replace(unweighted, lam=1.0, lambda_return="paper"))[0]
    assert whole.item() == dqo.loss(outputs, batch, replace(unweighted, lam=1.0))[0].item()


def test_token_and_step_level_are_the_same_where_every_step_is_a_token() -> None:
    rows = [Row(tokens=(1, 2, 3, 4, 5), step=(-1, 0, 1, -1, 2), reward=(0.0, 0.5, 1.0)), Row((1, 2), (-1, 0), (1.0,))]
    token, step = collate(rows, "token"), collate(rows, "step")
    for name in ("decision", "start", "mask", "reward"):
        assert torch.equal(getattr(token, name), getattr(step, name))


def test_steps_sum_what_their_tokens_are() -> None:
    """A step's log-probability is the sum of its tokens', and the response's that of its steps'."""
    row = Row(tokens=(9, 1, 2, 8, 3, 4), step=(-1, 0, 0, -1, 1, 1), reward=(0.0, 1.0))
    scores = torch.tensor([0.1, 0.2, 0.4, 0.8], dtype=torch.float64)
    found = [gather_decisions(scores, collate([row], level)).tolist()[0] for level in ("token", "step", "response")]
    assert found[0] == [0.1, 0.2, 0.4, 0.8]
    assert found[1] == pytest.approx([0.3, 1.2]) and found[2] == pytest.approx([1.5])


def test_padding_changes_nothing() -> None:
    """A row alone and the same row beside a longer one: the same share of loss and gradient."""
    outputs, batch = example(rows=3)
    for loss, config in ((oreo.loss, oreo.Config(kl=0.0)), (dqo.loss, dqo.Config(lam=0.9)), (dqo.loss, dqo.Config(level="step"))):
        together, grads = gradients(loss, outputs, batch, config)
        parts = []
        for b, length in enumerate(batch.mask.sum(1).tolist()):
            cut = Outputs(*(x[b : b + 1, :length] for x in (outputs.logp, outputs.ref_logp, outputs.value)))  # type: ignore[index]
            alone = Batch(*(x[b : b + 1, :length] for x in (batch.tokens, batch.decision, batch.start, batch.mask, batch.reward)))
            parts.append(loss(cut, alone, config)[0])
        torch.testing.assert_close(together, torch.stack(parts).mean(), **EXACT)
        mean_gradient = torch.autograd.grad(torch.stack(parts).mean(), [outputs.logp, outputs.value])  # type: ignore[list-item]
        torch.testing.assert_close(grads, list(mean_gradient), **EXACT)


METHODS: list[tuple[Method, Any]] = [
    (sft.METHOD, sft.Config()),
    (oreo.METHOD, oreo.Config(level="token", beta=0.3)),
    (oreo.METHOD, oreo.Config(level="step", beta=0.3)),
    (oreo.METHOD, oreo.Config(level="response", beta=0.3)),
    (oreo.METHOD, oreo.Config(beta=0.3, kl_estimate="k3")),
    (dqo.METHOD, dqo.Config(beta=0.3, lam=0.9)),
    (dqo.METHOD, dqo.Config(beta=0.3, level="step", gamma=0.9)),
    (dro.METHOD, dro.Config(beta=0.3)),
    (dvo.METHOD, dvo.Config()),
    (dpo.METHOD, dpo.Config()),
    (step_dpo.METHOD, step_dpo.Config()),
    (kto.METHOD, kto.Config()),
    (value.METHOD, value.Config()),
    (value.METHOD, value.Config(level="step", gamma=0.9, average="episodes")),
]
LABELS = [f"{method.name}-{number}" for number, (method, _) in enumerate(METHODS)]
every_method = pytest.mark.parametrize(("method", "config"), METHODS, ids=LABELS)

TURNS = Row((5, 6, 7, 20, 21, 40, 41, 30, 31, 32), (-1, -1, -1, 0, 0, -1, -1, 1, 1, 1), (0.5, 1.0), (0.25, 0.5), None, True)
ROWS = [
    replace(TURNS, task="a", sign=1),
    Row((5, 6, 7, 22, 42, 33), (-1, -1, -1, 0, -1, 1), (0.0, 0.0), (0.5, -0.75), task="a", sign=-1),
    Row((8, 9, 50), (-1, -1, 0), (1.0,), (0.5,), task="b", solved=True, sign=1),
    Row((8, 9, 51, 52, 53, 43, 54), (-1, -1, 0, 0, 1, -1, 2), (0.0, 0.0, 0.0), (0.0, 0.0, -0.5), task="b", sign=-1),
]
"""Pairs of unequal lengths; what the environment says between actions is 40 and more."""


def exact(lm: LlamaForCausalLM) -> LlamaForCausalLM:
    """In float64 throughout: transformers' own norm rounds to float32 whatever the weights are."""
    for module in list(lm.modules()):
        for name, norm in module.named_children():
            if isinstance(norm, LlamaRMSNorm):
                ours = torch.nn.RMSNorm(norm.weight.shape, eps=norm.variance_epsilon)
                ours.weight = norm.weight
                setattr(module, name, ours)
    return lm.double()


def float64_model(lm: LlamaForCausalLM, moved: bool = True, rank: int = 0) -> ActorCritic:
    """A policy with reference and critic, off its start unless told."""
    lm = exact(lm)
    model = ActorCritic(lm, "separate", reference=True, rank=rank).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for members in model.groups().values() for p in members if moved):
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def batch_of(rows: list[Row], method: Method, config: Any) -> Batch:
    return collate(rows, method.level(config))


def loss_of(model: ActorCritic, batch: Batch, method: Method, config: Any) -> Tensor:
    outputs = compute_outputs(model, batch, method, config)
    outputs.reference_point = torch.tensor(0.1, dtype=torch.float64)  # of KTO: taken before the step, the same for all its parts
    return method.loss(outputs, batch, config)[0]


def gradient_of(loss: Tensor, model: ActorCritic) -> list[Tensor]:
    trained = [p for members in model.groups().values() for p in members]
    return list(torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True))


@every_method
def test_at_the_start_nothing_differs_and_nothing_is_known(small_lm: LlamaForCausalLM, method: Method, config: Any) -> None:
    """log pi == log ref, KL == 0, V == 0 (a head of zeros), every weight of DQO 1: exactly, and in all learners' own batches."""
    model = float64_model(small_lm, moved=False)
    batch = batch_of(ROWS, method, config)
    outputs = compute_outputs(model, batch, method, config)
    assert (outputs.ref_logp is not None) == method.reference
    if outputs.ref_logp is not None:
        assert torch.equal(outputs.logp, outputs.ref_logp)
        fresh = replace(batch, old_logp=None)
        assert dqo.trajectory_weight(outputs, fresh, cap=2.0).tolist() == [1.0] * len(ROWS)
    assert outputs.kl is None or outputs.kl.abs().max() == 0.0
    assert outputs.value is None or outputs.value.abs().max() == 0.0


@every_method
def test_rows_alone_sum_to_rows_padded_together(small_lm: LlamaForCausalLM, method: Method, config: Any) -> None:
    """Each by its share of what the loss is a mean over (rows, pairs or tokens): the same loss and the same gradient."""
    model = float64_model(small_lm)
    whole = batch_of(ROWS, method, config)
    together = loss_of(model, whole, method, config)
    alone = [batch_of(ROWS[i : i + method.group], method, config) for i in range(0, len(ROWS), method.group)]
    shares = [method.weight(batch, config).double() / method.weight(whole, config) for batch in alone]
    apart = torch.stack([share * loss_of(model, b, method, config) for share, b in zip(shares, alone, strict=True)]).sum()
    torch.testing.assert_close(apart, together, **EXACT)
    found = gradient_of(together, model)
    assert max(gradient.abs().max() for gradient in found) > 1e-3
    torch.testing.assert_close(gradient_of(apart, model), found, **EXACT)


@every_method
def test_chunks_of_the_vocabulary_pass_change_nothing(
    small_lm: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch, method: Method, config: Any
) -> None:
    """All positions in one chunk, and three at a time."""
    model = float64_model(small_lm)
    batch = batch_of(ROWS, method, config)
    whole = loss_of(model, batch, method, config)
    monkeypatch.setattr(model_module, "token_log_probs", partial(token_log_probs, chunk=3))
    monkeypatch.setattr(model_module, "token_log_probs_and_kl", partial(token_log_probs_and_kl, chunk=3))
    chunked = loss_of(model, batch, method, config)
    torch.testing.assert_close(chunked, whole, **EXACT)
    torch.testing.assert_close(gradient_of(chunked, model), gradient_of(whole, model), **EXACT)


@every_method
def test_packed_rows_equal_padded_ones(small_lm: LlamaForCausalLM, method: Method, config: Any) -> None:
    """What rows share, computed once, learns from all that follows it."""
    model = float64_model(small_lm)
    padded = batch_of(ROWS, method, config)
    packed = collate(ROWS, method.level(config), packed=True)
    assert packed.packing is not None and len(packed.packing.tokens) < sum(map(len, ROWS))
    one, other = (loss_of(model, batch, method, config) for batch in (padded, packed))
    torch.testing.assert_close(other, one, **EXACT)
    torch.testing.assert_close(gradient_of(other, model), gradient_of(one, model), **EXACT)


@pytest.mark.parametrize("critic", ["lora", "shared"])
def test_packed_rows_equal_padded_ones_for_every_critic(small_lm: LlamaForCausalLM, critic: Any) -> None:
    model = ActorCritic(exact(small_lm), critic, reference=True, rank=4).double()
    with torch.no_grad():
        for parameter in (p for members in model.groups().values() for p in members):
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = [loss_of(model, collate(ROWS, "token", packed=packed), oreo.METHOD, oreo.Config()) for packed in (False, True)]
    torch.testing.assert_close(found[1], found[0], **EXACT)
    torch.testing.assert_close(*(gradient_of(loss, model) for loss in found), **EXACT)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("level", ["token", "step", "response"])
def test_the_value_at_a_cut_is_the_state_after_the_row(small_lm: LlamaForCausalLM, level: Any, packed: bool) -> None:
    model = float64_model(small_lm)
    rows = [replace(row, cut=row.task == "a") for row in ROWS]
    outputs = compute_outputs(model, collate(rows, level, packed=packed), dqo.METHOD, dqo.Config())
    with torch.no_grad():
        expected = [model.values(torch.tensor([row.tokens]))[0, -1] if row.cut else torch.zeros(()) for row in rows]
    torch.testing.assert_close(outputs.cut_value, torch.stack(expected).double(), **EXACT)
    plain = compute_outputs(model, collate(ROWS, level), dqo.METHOD, dqo.Config())
    torch.testing.assert_close(outputs.value, plain.value, **EXACT)


@pytest.mark.parametrize(("method", "config"), [(m, c) for m, c in METHODS if m.reference])
def test_a_known_reference_equals_one_that_is_asked(
    small_lm: LlamaForCausalLM, tmp_path: Path, method: Method, config: Any
) -> None:
    """Log-probabilities or states of the reference from before the step, row by row, and from its own forward pass."""
    model = float64_model(small_lm)
    batch = batch_of(ROWS, method, config)
    asked = loss_of(model, batch, method, config)
    kind, training = needed(method, config), Training(micro_tokens=12)
    assert kind
    known = ReferenceCache(tmp_path, kind, model, ROWS[::-1], training, 0, True, Accelerator(cpu=True))
    batch = known.filled(batch, ROWS)
    assert (batch.ref_logp is None) == (kind == "states") == (batch.ref_states is not None)
    monkey = model.hidden
    model.hidden = lambda role, *given: monkey(role, *given) if role != "reference" else 1 / 0  # type: ignore[method-assign]
    found = loss_of(model, batch, method, config)
    torch.testing.assert_close(found, asked, **EXACT)
    torch.testing.assert_close(gradient_of(found, model), gradient_of(asked, model), **EXACT)


@every_method
def test_only_what_the_agent_wrote_is_learnt(small_lm: LlamaForCausalLM, method: Method, config: Any) -> None:
    """The policy's gradient at the states whose next token is the prompt's, the environment's or padding is exactly 0."""
    model = float64_model(small_lm)
    kept: list[Tensor] = []
    original = model.hidden

    def hidden(role: Any, *where: Any) -> Tensor:
        found = original(role, *where)
        if role == "policy" and found.requires_grad:
            found.retain_grad()
            kept.append(found)
        return found

    model.hidden = hidden  # type: ignore[method-assign]
    batch = batch_of(ROWS, method, config)
    loss_of(model, batch, method, config).backward()
    (states,) = kept
    learnt = torch.zeros_like(batch.decision, dtype=torch.bool) if states.grad is None else states.grad.abs().sum(-1) > 0
    agents = torch.nn.functional.pad(batch.decision[:, 1:] >= 0, (0, 1))
    assert torch.equal(learnt, agents & (method.name != "value"))


def test_what_the_environment_says_is_seen_and_not_learnt(small_lm: LlamaForCausalLM) -> None:
    """Its tokens in another order: the same tokens are trained at the same places, and V and log pi after them are others."""
    model = float64_model(small_lm)
    other = replace(TURNS, tokens=(6, 5, 7, 20, 21, 41, 40, 30, 31, 32))
    one, two = (collate([row], "token") for row in (TURNS, other))
    for name in ("decision", "start", "mask", "reward"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert torch.equal(one.tokens[one.decision >= 0], two.tokens[two.decision >= 0])
    first, second = (compute_outputs(model, batch, dqo.METHOD, dqo.Config()) for batch in (one, two))
    for a, b in ((first.value, second.value), (first.logp, second.logp)):
        assert a is not None and b is not None
        assert (a - b).abs().min() > 1e-6


def test_preferences_count_the_agents_tokens_alone(small_lm: LlamaForCausalLM) -> None:
    """DPO and KTO by hand from plain logits: S sums log pi - log ref at both turns' own tokens, given all that came before."""
    model = float64_model(small_lm)
    ratios = []
    for row in ROWS:
        tokens = torch.tensor([row.tokens])
        logps = [lm.base_model(tokens).last_hidden_state @ lm.lm_head.weight.T for lm in (model.lm, model.reference)]  # type: ignore[union-attr,operator]
        ratio = logps[0].log_softmax(-1) - logps[1].log_softmax(-1)
        own = [p for p, step in enumerate(row.step) if step >= 0]
        ratios.append(sum(ratio[0, p - 1, row.tokens[p]] for p in own))
    s = torch.stack(ratios)  # type: ignore[arg-type]
    by_hand = -torch.nn.functional.logsigmoid(0.2 * (s[::2] - s[1::2])).mean()
    batch = batch_of(ROWS, dpo.METHOD, dpo.Config())
    torch.testing.assert_close(loss_of(model, batch, dpo.METHOD, dpo.Config(beta=0.2)), by_hand, **EXACT)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    by_hand = (1 - torch.sigmoid(0.2 * signs * (s - 0.1))).mean()
    torch.testing.assert_close(loss_of(model, batch, kto.METHOD, kto.Config(beta=0.2)), by_hand, **EXACT)


def test_adapters_off_and_adapters_merged(small_lm: LlamaForCausalLM) -> None:
    """The reference under LoRA is the base itself, and the policy what merging its adapter makes."""
    base = exact(copy.deepcopy(small_lm))
    model = float64_model(small_lm, rank=4)
    batch = collate(ROWS, "token")
    found = compute_outputs(model, batch, dqo.METHOD, dqo.Config())
    merged = cast(LlamaForCausalLM, cast(PeftModel, model.policy).merge_and_unload())  # type: ignore[operator]
    for lm, ours in ((base, found.ref_logp), (merged, found.logp)):
        plain = compute_outputs(ActorCritic(lm).double(), batch, sft.METHOD, sft.Config())
        torch.testing.assert_close(ours, plain.logp, **EXACT)
    assert (found.logp - found.ref_logp).abs().max() > 1e-3  # type: ignore[operator]
