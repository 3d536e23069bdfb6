"""What the learners have in common, to twelve digits in float64: each is a special case of another, in loss and in gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms import dqo, dro, dvo, oreo
from algorithms.batch import Batch, Outputs, Row, collate, gather_decisions
from algorithms.returns import lambda_return, literal_lambda_return, next_decision

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


def test_credits_telescope() -> None:
    """The sum of a row's credits is its return minus V(s_0): what DVO regresses onto at response level."""
    outputs, batch = example()
    assert outputs.value is not None
    frozen = (outputs.value * batch.mask).detach()
    target = (batch.reward + next_decision(frozen) - frozen) * batch.mask
    torch.testing.assert_close(target.sum(1), batch.reward.sum(1) - frozen[:, 0], **EXACT)


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


def test_the_printed_return_is_asked_for_by_name() -> None:
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
