from __future__ import annotations

import pytest
import torch

from algorithms.batch import Batch, Outputs
from algorithms.oreo import Config, loss


def example(dtype: torch.dtype = torch.float64) -> tuple[Outputs, Batch]:
    """Two rows, of two decisions and of one; log pi - log ref = [0.2, -0.4] and [0.4], rewards [0, 1] and [0]."""
    mask = torch.tensor([[True, True], [True, False]])
    batch = Batch(
        tokens=torch.zeros(2, 4, dtype=torch.long),
        decision=torch.tensor([[-1, -1, 0, 1], [-1, -1, 0, -1]]),
        start=torch.tensor([[1, 2], [1, 0]]),
        mask=mask,
        reward=torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=dtype),
    )
    outputs = Outputs(
        logp=torch.tensor([[-0.8, -1.4], [-0.6, 7.0]], dtype=dtype, requires_grad=True),
        ref_logp=torch.tensor([[-1.0, -1.0], [-1.0, 3.0]], dtype=dtype),
        value=torch.tensor([[0.6, 0.8], [0.1, 5.0]], dtype=dtype, requires_grad=True),
        kl=torch.tensor([0.02, 0.06], dtype=dtype, requires_grad=True),
    )
    return outputs, batch


@pytest.mark.parametrize(("level", "policy_loss"), [("token", 0.1475), ("step", 0.1475), ("response", 0.17)])
def test_loss_by_hand(level: str, policy_loss: float) -> None:
    """beta = 0.5, alpha = 0.1.

    Row 1: G_1 = 1 - 0.5 * -0.4 = 1.2, G_0 = 0 - 0.5 * 0.2 + 1.2 = 1.1; value loss ((0.6 - 1.1)^2 + (0.8 - 1.2)^2) / 2 = 0.205.
    Policy residuals 0.6 + 0.1 - 0 - 1.2 = -0.5 and 0.8 - 0.2 - 1 = -0.4: 0.205.
    At response level the first alone, 0.6 + 0.5 * (0.2 - 0.4) - 1 = -0.5: 0.25.
    Row 2: G_0 = -0.2; value loss 0.09; policy residual 0.1 + 0.2 = 0.3: 0.09 (the same at response level).
    Means over rows: 0.1475 and 0.1475 (0.17); KL 0.1 * 0.04.
    """
    outputs, batch = example()
    total, metrics = loss(outputs, batch, Config(level=level, beta=0.5, kl=0.1))
    assert total.item() == pytest.approx(0.1475 + policy_loss + 0.004, abs=1e-12)
    assert metrics["value_loss"].item() == pytest.approx(0.1475, abs=1e-12)
    assert metrics["policy_loss"].item() == pytest.approx(policy_loss, abs=1e-12)
    assert metrics["kl"].item() == pytest.approx(0.04, abs=1e-12)


def test_gradients_by_hand() -> None:
    """d policy / d logp = 2 beta residual / (n B): row 1 -0.5 / 4 = -0.125 and -0.4 / 4 = -0.1, row 2 0.3 / 2 = 0.15.

    d value / d V = 2 (V - G) / (n B): row 1 2 * -0.5 / 4 = -0.25 and 2 * -0.4 / 4 = -0.2, row 2 2 * 0.3 / 2 = 0.3.
    d KL / d kl = alpha / B. Nothing flows to decisions that are not there, and the policy loss does not reach V.
    """
    outputs, batch = example()
    total, _ = loss(outputs, batch, Config(beta=0.5, kl=0.1))
    logp, value, kl = torch.autograd.grad(total, [outputs.logp, outputs.value, outputs.kl])  # type: ignore[list-item]
    expected = torch.tensor([[-0.125, -0.1], [0.15, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(logp, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(value, torch.tensor([[-0.25, -0.2], [0.3, 0.0]], dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(kl, torch.tensor([0.05, 0.05], dtype=torch.float64), atol=1e-12, rtol=0)


def test_response_gradient_flows_through_every_token() -> None:
    """One residual of -0.5 for row 1: 2 * 0.5 * -0.5 / 2 = -0.25 at both tokens; 0.15 in row 2 as before."""
    outputs, batch = example()
    total, _ = loss(outputs, batch, Config(level="response", beta=0.5, kl=0.0))
    (logp,) = torch.autograd.grad(total, [outputs.logp])
    expected = torch.tensor([[-0.25, -0.25], [0.15, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(logp, expected, atol=1e-12, rtol=0)


def test_gradient_is_a_weighted_log_likelihood() -> None:
    """The policy gradient equals that of sum_s sg[2 beta delta_s / n] logp_s, delta = V + beta LR - r - tail."""
    generator = torch.Generator().manual_seed(1)
    logp = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    ref, value = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    reward = torch.zeros(3, 5, dtype=torch.float64)
    reward[:, -1] = torch.tensor([1.0, 0.0, 1.0])
    mask = torch.ones(3, 5, dtype=torch.bool)
    zeros = torch.zeros(3, 5, dtype=torch.long)
    beta = 0.3
    total, _ = loss(Outputs(logp, ref, value), Batch(zeros, zeros, zeros, mask, reward), Config(beta=beta, kl=0.0))
    (found,) = torch.autograd.grad(total, [logp])
    ratio = (logp - ref).detach()
    suffix = ratio.flip(1).cumsum(1).flip(1)
    delta = value + beta * suffix - reward.sum(1, keepdim=True)
    torch.testing.assert_close(found, 2 * beta * delta / 5 / 3, atol=1e-12, rtol=0)


def test_kl_weight_follows_the_level() -> None:
    assert [Config(level=level).alpha for level in ("token", "step", "response")] == [0.01, 0.1, 0.3]
    assert Config(level="step", kl=0.0).alpha == 0.0


def test_missing_outputs_are_named() -> None:
    outputs, batch = example()
    outputs.kl = None
    with pytest.raises(ValueError, match="unless kl=0"):
        loss(outputs, batch, Config())


def steps_of_tokens() -> tuple[Outputs, Batch]:
    """Three tokens, the first two one step: log pi - log ref = [0.2, -0.4, 0.6], rewards [0, 0, 1], V = [0.5, 0.3, 0.2]."""
    f = torch.float64
    mask, zeros = torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, 3, dtype=torch.long)
    reward = torch.tensor([[0.0, 0.0, 1.0]], dtype=f)
    batch = Batch(zeros, zeros, zeros, mask, reward, step=torch.tensor([[0, 0, 1]]))
    logp = torch.tensor([[0.2, -0.4, 0.6]], dtype=f, requires_grad=True)
    value = torch.tensor([[0.5, 0.3, 0.2]], dtype=f, requires_grad=True)
    return Outputs(logp, torch.zeros(1, 3, dtype=f), value), batch


def test_v_at_the_tokens_of_steps_by_hand() -> None:
    """beta = 0.5: G_2 = 1 - 0.3 = 0.7, G_1 = 0.2 + 0.7 = 0.9, G_0 = -0.1 + 0.9 = 0.8.

    The critic: ((0.5 - 0.8)^2 + (0.3 - 0.9)^2 + (0.2 - 0.7)^2) / 3. The policy, one residual a step: 0.5 + 0.5 * (0.2 - 0.4) - 0.7
    = -0.3 and 0.2 + 0.3 - 1 = -0.5, so d / d logp = beta * residual = -0.15, -0.15, -0.25.
    """
    outputs, batch = steps_of_tokens()
    total, metrics = loss(outputs, batch, Config(level="step", value_at="tokens", beta=0.5, kl=0.0))
    assert metrics["value_loss"].item() == pytest.approx((0.09 + 0.36 + 0.25) / 3, abs=1e-12)
    assert metrics["policy_loss"].item() == pytest.approx((0.09 + 0.25) / 2, abs=1e-12)
    (gradient,) = torch.autograd.grad(total, [outputs.logp])
    assert gradient.tolist()[0] == pytest.approx([-0.15, -0.15, -0.25], abs=1e-12)


def test_v_at_tokens_with_a_discount() -> None:
    """gamma = 0.5 from token to token: G_2 = 0.7, the first step's 0.5 + 0.1 + 0.5 * -0.2 - 0.25 * 0.7 = 0.325."""
    outputs, batch = steps_of_tokens()
    _, metrics = loss(outputs, batch, Config(level="step", value_at="tokens", beta=0.5, gamma=0.5, kl=0.0))
    assert metrics["policy_loss"].item() == pytest.approx((0.325**2 + 0.25) / 2, abs=1e-12)


def test_v_at_tokens_needs_to_know_whose_they_are() -> None:
    outputs, batch = steps_of_tokens()
    batch.step = None
    with pytest.raises(ValueError, match="give a batch with its `step`"):
        loss(outputs, batch, Config(level="step", value_at="tokens", kl=0.0))
