"""Each loss and gradient by hand, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms import dpo, dqo, dro, dvo, kto, oreo, rejection, sft, step_dpo, value
from algorithms.batch import Batch, Outputs

F = torch.float64


def example() -> tuple[Outputs, Batch]:
    """Two rows, of two decisions and of one; log pi - log ref = [0.2, -0.4] and [0.4], rewards [0, 1] and [0]."""
    batch = Batch(
        tokens=torch.zeros(2, 4, dtype=torch.long),
        decision=torch.tensor([[-1, -1, 0, 1], [-1, -1, 0, -1]]),
        start=torch.tensor([[1, 2], [1, 0]]),
        mask=torch.tensor([[True, True], [True, False]]),
        reward=torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=F),
    )
    outputs = Outputs(
        logp=torch.tensor([[-0.8, -1.4], [-0.6, 7.0]], dtype=F, requires_grad=True),
        ref_logp=torch.tensor([[-1.0, -1.0], [-1.0, 3.0]], dtype=F),
        value=torch.tensor([[0.6, 0.7], [0.1, 5.0]], dtype=F, requires_grad=True),
    )
    return outputs, batch


def gradient(loss: Any, outputs: Outputs, batch: Batch, config: Any, name: str = "logp") -> Tensor:
    return torch.autograd.grad(loss(outputs, batch, config)[0], getattr(outputs, name))[0]


def close(found: Tensor, expected: float | Sequence[float] | Sequence[Sequence[float]]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=F), atol=1e-12, rtol=0)


def test_dqo_with_lambda_and_weights() -> None:
    """beta = 0.5, lam = 0.5.

    Row 1: u = [-0.1, 1.2]; G_1 = 1.2, G_0 = -0.1 + 0.5 * 0.7 + 0.5 * 1.2 = 0.85. V - G = [-0.25, -0.5]: mean square 0.15625.
    Policy residuals 0.6 + 0.1 - 0 - 1.2 = -0.5, 0.7 - 0.2 - 1 = -0.5: 0.25. Weight exp(-0.2).
    Row 2: G_0 = -0.2, V - G = 0.3: 0.09; policy 0.1 + 0.2 = 0.3: 0.09. Weight min(exp(0.4), e) = exp(0.4).
    """
    outputs, batch = example()
    w = (math.exp(-0.2), math.exp(0.4))
    total, metrics = dqo.loss(outputs, batch, dqo.Config(beta=0.5, lam=0.5))
    assert metrics["value_loss"].item() == pytest.approx((w[0] * 0.15625 + w[1] * 0.09) / 2, abs=1e-12)
    assert metrics["policy_loss"].item() == pytest.approx((w[0] * 0.25 + w[1] * 0.09) / 2, abs=1e-12)
    assert total.item() == pytest.approx((metrics["value_loss"] + metrics["policy_loss"]).item(), abs=1e-12)
    assert metrics["weight"].item() == pytest.approx(sum(w) / 2, abs=1e-12)


def test_dqo_gradients_and_that_none_flows_through_the_weights() -> None:
    """d policy / d logp = w * 2 beta residual / (n B); d value / d V = w * 2 (V - G) / (n B)."""
    outputs, batch = example()
    w = (math.exp(-0.2), math.exp(0.4))
    config = dqo.Config(beta=0.5, lam=0.5)
    close(gradient(dqo.loss, outputs, batch, config), [[-0.125 * w[0], -0.125 * w[0]], [0.15 * w[1], 0.0]])
    close(gradient(dqo.loss, outputs, batch, config, "value"), [[-0.125 * w[0], -0.25 * w[0]], [0.3 * w[1], 0.0]])
    only = replace(config, weight_value=False)
    close(gradient(dqo.loss, outputs, batch, only, "value"), [[-0.125, -0.25], [0.3, 0.0]])
    close(gradient(dqo.loss, outputs, batch, only), [[-0.125 * w[0], -0.125 * w[0]], [0.15 * w[1], 0.0]])


def test_the_printed_return_takes_the_slower_critic_too() -> None:
    """lam = 0.5, beta = 0.5: G_0 = 0.5 (-0.1 + 2) = 0.95 with the slower V' = 2, and G_1 = 0; row 2 has one decision: 0."""
    outputs, batch = example()
    outputs.target_value = torch.tensor([[9.0, 2.0], [9.0, 9.0]], dtype=F)
    config = dqo.Config(beta=0.5, lam=0.5, lambda_return="paper", weight_value=False, weight_policy=False)
    _, metrics = dqo.loss(outputs, batch, config)
    assert metrics["value_loss"].item() == pytest.approx(((0.35**2 + 0.49) / 2 + 0.01) / 2, abs=1e-12)


def test_dqo_caps_weights_from_above_only() -> None:
    outputs, batch = example()
    outputs.logp = torch.tensor([[1.0, 1.0], [-3.0, 0.0]], dtype=F)
    assert dqo.trajectory_weight(outputs, batch, math.e).tolist() == pytest.approx([math.e, math.exp(-2.0)])


@pytest.mark.parametrize("cap", [1.5, math.e, 7.0])
def test_capped_weights_are_counted_in_any_precision(cap: float) -> None:
    """One of the two rows; in float32 exp(log(7)) is less than 7."""
    outputs, batch = example()
    outputs.logp, outputs.ref_logp = torch.tensor([[1.0, 1.0], [-3.0, 0.0]]), torch.tensor([[-1.0, -1.0], [-1.0, 0.0]])
    assert dqo.loss(outputs, batch, dqo.Config(cap=cap))[1]["capped"] == 0.5


def test_dqo_takes_the_logged_policy_where_it_is_logged() -> None:
    """mu of row 1 is in the log (sums to -2.4 against log pi -2.2: weight exp(0.2)); row 2 has none: the reference, exp(0.4)."""
    outputs, batch = example()
    batch.old_logp = torch.tensor([[-1.2, -1.2], [math.nan, math.nan]], dtype=F)
    assert dqo.trajectory_weight(outputs, batch, math.e).tolist() == pytest.approx([math.exp(0.2), math.exp(0.4)])


def test_dro() -> None:
    """One decision a row: LR = -0.2 and 0.4, r = 1 and 0; beta = 0.5: V + beta LR - r = 0.6 - 0.1 - 1 = -0.5 and 0.3."""
    _, batch = example()
    whole = Batch(batch.tokens, batch.decision, batch.start[:, :1], batch.mask[:, :1], torch.tensor([[1.0], [0.0]], dtype=F))
    scores = Outputs(
        torch.tensor([[-2.2], [-0.6]], dtype=F, requires_grad=True),
        torch.tensor([[-2.0], [-1.0]], dtype=F),
        torch.tensor([[0.6], [0.1]], dtype=F, requires_grad=True),
    )
    total, _ = dro.loss(scores, whole, dro.Config(beta=0.5))
    assert total.item() == pytest.approx(2 * (0.25 + 0.09) / 2, abs=1e-12)
    close(gradient(dro.loss, scores, whole, dro.Config(beta=0.5)), [[-0.25], [0.15]])
    close(gradient(dro.loss, scores, whole, dro.Config(beta=0.5), "value"), [[-0.5], [0.3]])


def test_dvo() -> None:
    """beta = 0.5, targets [0.3, -0.1] and [-0.2]: residuals 0.1 - 0.3 = -0.2, -0.2 + 0.1 = -0.1, 0.2 + 0.2 = 0.4.

    Half the mean of squares: (0.04 + 0.01) / 2 / 2 = 0.0125 and 0.16 / 2 = 0.08; mean 0.04625. Gradient beta residual / (n B).
    """
    outputs, batch = example()
    batch.target = torch.tensor([[0.3, -0.1], [-0.2, 9.0]], dtype=F)
    total, metrics = dvo.loss(outputs, batch, dvo.Config(beta=0.5))
    assert total.item() == pytest.approx(0.04625, abs=1e-12)
    close(metrics["log_ratio/good"], [0.2, 1])  # the sum, over so many
    close(metrics["log_ratio/bad"], [0.0, 2])
    close(gradient(dvo.loss, outputs, batch, dvo.Config(beta=0.5)), [[-0.025, -0.0125], [0.1, 0.0]])


def test_the_reward_is_not_added_to_a_credit() -> None:
    outputs, batch = example()
    batch.target = torch.zeros(2, 2, dtype=F)
    before = dvo.loss(outputs, batch, dvo.Config())[0]
    assert dvo.loss(outputs, replace(batch, reward=batch.reward + 5), dvo.Config())[0].item() == before.item()


def pair() -> tuple[Outputs, Batch]:
    """S = -0.2 for the preferred row and 0.4 for the other."""
    outputs, batch = example()
    batch.sign = torch.tensor([1, -1])
    return outputs, batch


def test_dpo() -> None:
    """beta = 0.5: rewards -0.1 and 0.2, margin -0.3; loss log(1 + exp(0.3)), gradient beta sigmoid(0.3) on every token."""
    outputs, batch = pair()
    slope = 0.5 / (1 + math.exp(-0.3))
    for module in (dpo, step_dpo):
        total, metrics = module.loss(outputs, batch, module.Config(beta=0.5))
        assert total.item() == pytest.approx(math.log1p(math.exp(0.3)), abs=1e-12)
        assert metrics["margin"].item() == pytest.approx(-0.3, abs=1e-12) and metrics["accuracy"].item() == 0.0
        close(gradient(module.loss, outputs, batch, module.Config(beta=0.5)), [[-slope, -slope], [slope, 0.0]])


@pytest.mark.parametrize("sign", [None, [1, 1], [-1, 1], [1]])
def test_dpo_refuses_what_are_no_pairs(sign: list[int] | None) -> None:
    outputs, batch = pair()
    batch.sign = None if sign is None else torch.tensor(sign)
    with pytest.raises(ValueError, match="pairs of adjacent rows"):
        dpo.loss(outputs, batch)


def test_kto() -> None:
    """beta = 0.5, z = 0.1, weights 1 and 2: 1 - sigmoid(0.5 * (-0.2 - 0.1)) and 2 (1 - sigmoid(0.5 * (0.1 - 0.4))), the mean.

    sigmoid(-0.15) = s: the losses are 1 - s and 2 (1 - s); gradients -0.5 s (1 - s) / 2 and +2 * 0.5 s (1 - s) / 2.
    """
    outputs, batch = pair()
    outputs.reference_point = torch.tensor(0.1, dtype=F, requires_grad=True)
    s = 1 / (1 + math.exp(0.15))
    config = kto.Config(beta=0.5, failed_weight=2.0)
    total, metrics = kto.loss(outputs, batch, config)
    assert total.item() == pytest.approx(3 * (1 - s) / 2, abs=1e-12)
    close(metrics["log_ratio/solved"], [-0.2, 1])
    close(metrics["log_ratio/failed"], [0.4, 1])
    slope = 0.25 * s * (1 - s)
    close(gradient(kto.loss, outputs, batch, config), [[-slope, -slope], [2 * slope, 0.0]])


def test_weights_of_kto_keep_their_digits() -> None:
    """4/3, DVO's ratio, is no number of float32: at S = z and beta = 0 every row's loss is half its weight."""
    outputs, batch = pair()
    outputs.reference_point = torch.zeros((), dtype=F)
    total, _ = kto.loss(outputs, batch, kto.Config(beta=0.0, solved_weight=4 / 3))
    assert total.item() == pytest.approx((4 / 3 + 1) / 4, abs=1e-15)


def test_kto_needs_its_reference_point() -> None:
    outputs, batch = pair()
    with pytest.raises(ValueError, match="reference_point"):
        kto.loss(outputs, batch)


def test_rejection_is_sft_on_what_it_chooses() -> None:
    outputs, batch = example()
    assert rejection.loss(outputs, batch)[0].item() == sft.loss(outputs, batch)[0].item() == pytest.approx((0.8 + 1.4 + 0.6) / 3)


def test_the_monte_carlo_value() -> None:
    """Returns to come [1, 1] and [0]; with gamma 0.5 [0.5, 1]. V - R = [-0.4, -0.3], 0.1: squares 0.16, 0.09 and 0.01."""
    outputs, batch = example()
    total, metrics = value.loss(outputs, batch)
    assert total.item() == pytest.approx(0.26 / 3, abs=1e-12)
    assert (metrics["value"].item(), metrics["return"].item()) == pytest.approx((1.4 / 3, 2 / 3), abs=1e-12)
    total, metrics = value.loss(outputs, batch, value.Config(gamma=0.5))
    assert total.item() == pytest.approx((0.01 + 0.09 + 0.01) / 3, abs=1e-12)
    assert metrics["return"].item() == pytest.approx(1.5 / 3, abs=1e-12)
    close(gradient(value.loss, outputs, batch, value.Config(), "value"), [[-0.8 / 3, -0.6 / 3], [0.2 / 3, 0.0]])


def test_the_monte_carlo_value_as_a_mean_over_episodes() -> None:
    """The squares of before: (0.125 + 0.01) / 2. Means of V (0.65 + 0.1) / 2 and of returns (1 + 0) / 2."""
    outputs, batch = example()
    config = value.Config(average="episodes")
    total, metrics = value.loss(outputs, batch, config)
    assert total.item() == pytest.approx((0.125 + 0.01) / 2, abs=1e-12)
    assert (metrics["value"].item(), metrics["return"].item()) == pytest.approx((0.375, 0.5), abs=1e-12)
    close(gradient(value.loss, outputs, batch, config, "value"), [[-0.2, -0.15], [0.1, 0.0]])


def test_the_value_at_a_cut_stands_for_what_was_lost() -> None:
    """gamma = 0.8, lam = 0.5, beta = 0.5; row 1 was cut off where V = 0.5, which adds 0.4 to its last reward.

    u = [-0.1, 1.6]; G_1 = 1.6, G_0 = -0.1 + 0.8 * (0.5 * 0.7 + 0.5 * 1.6) = 0.82. V - G = [-0.22, -0.9]: mean square 0.4292.
    Row 2 ended: G_0 = -0.2, V - G = 0.3: 0.09.
    """
    outputs, batch = example()
    outputs.cut_value = torch.tensor([0.5, 0.0], dtype=F)
    config = dqo.Config(beta=0.5, gamma=0.8, lam=0.5, weight_policy=False, weight_value=False)
    assert dqo.loss(outputs, batch, config)[1]["value_loss"].item() == pytest.approx((0.4292 + 0.09) / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (oreo, oreo.Config(kl=0.0, gamma=0.8)),
        (oreo, oreo.Config(kl=0.0, gamma=0.8, level="response")),
        (dqo, dqo.Config(gamma=0.8, lam=0.5, lambda_return="paper")),
        (dro, dro.Config()),
        (value, value.Config(gamma=0.8)),
    ],
)
def test_no_gradient_flows_through_the_value_at_a_cut(module: Any, config: Any) -> None:
    """It is a reward like any other: gamma * V more at the last decision."""
    outputs, batch = example()
    outputs.cut_value = torch.tensor([0.5, 0.0], dtype=F, requires_grad=True)
    total, _ = module.loss(outputs, batch, config)
    more = replace(batch, reward=batch.reward + torch.tensor([[0.0, 0.5 * getattr(config, "gamma", 1.0)], [0.0, 0.0]], dtype=F))
    expected, _ = module.loss(replace(outputs, cut_value=None), more, config)
    close(total, expected.item())
    assert torch.autograd.grad(total, outputs.cut_value, allow_unused=True) == (None,)


@pytest.mark.parametrize("module", [dqo, dro, dvo, dpo, kto, value])
def test_missing_outputs_are_named(module: Any) -> None:
    _, batch = pair()
    batch.target = torch.zeros(2, 2, dtype=F)
    with pytest.raises(ValueError, match="needs"):
        module.loss(Outputs(logp=torch.zeros(2, 2, dtype=F)), batch)
