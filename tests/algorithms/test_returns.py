from __future__ import annotations

import torch

from algorithms.returns import lambda_return, mean_over_decisions, next_decision

MASK = torch.tensor([[True, True, True], [True, False, False]])
REWARD = torch.tensor([[0.0, 0.0, 1.0], [0.5, 9.0, 9.0]], dtype=torch.float64)
LOG_RATIO = torch.tensor([[0.2, -0.4, 0.6], [1.0, 9.0, 9.0]], dtype=torch.float64)
VALUE = torch.tensor([[0.3, 0.5, 0.9], [0.2, 9.0, 9.0]], dtype=torch.float64)


def test_whole_return() -> None:
    """lam = 1, beta = 0.5: soft rewards are r - 0.5 * log_ratio = [-0.1, 0.2, 0.7] and [0]; G is their suffix sum."""
    found = lambda_return(REWARD, VALUE, LOG_RATIO, MASK, beta=0.5)
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.9, 0.7], [0.0, 0.0, 0.0]], dtype=torch.float64))


def test_one_step() -> None:
    """lam = 0: G_s = soft reward + V_{s+1} = [-0.1 + 0.5, 0.2 + 0.9, 0.7 + 0]."""
    found = lambda_return(REWARD, VALUE, LOG_RATIO, MASK, beta=0.5, lam=0.0)
    torch.testing.assert_close(found[0], torch.tensor([0.4, 1.1, 0.7], dtype=torch.float64))


def test_discount_and_lambda() -> None:
    """gamma = 0.9, lam = 0.5: G_2 = 0.7; G_1 = 0.2 + 0.9 (0.45 + 0.35) = 0.92; G_0 = -0.1 + 0.9 (0.25 + 0.46) = 0.539."""
    found = lambda_return(REWARD, VALUE, LOG_RATIO, MASK, beta=0.5, gamma=0.9, lam=0.5)
    torch.testing.assert_close(found[0], torch.tensor([0.539, 0.92, 0.7], dtype=torch.float64))


def test_recursion_is_the_normalised_mixture_of_n_step_returns() -> None:
    """(1 - lam) sum_n lam^{n-1} G^(n), with all remaining weight lam^{H-h-1} on the longest return."""
    generator = torch.Generator().manual_seed(0)
    reward, value, ratio = (torch.randn(1, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    mask, lam, beta = torch.ones(1, 6, dtype=torch.bool), 0.7, 0.3
    soft = (reward - beta * ratio)[0]
    padded = torch.cat([value[0], torch.zeros(1, dtype=torch.float64)])
    expected = []
    for h in range(6):
        n_step = [soft[h : h + n].sum() + padded[h + n] for n in range(1, 7 - h)]
        weights = [(1 - lam) * lam**i for i in range(len(n_step) - 1)] + [lam ** (len(n_step) - 1)]
        assert abs(sum(weights) - 1) < 1e-12
        expected.append(sum(w * g for w, g in zip(weights, n_step, strict=True)))
    torch.testing.assert_close(
        lambda_return(reward, value, ratio, mask, beta, lam=lam)[0], torch.stack(expected), atol=1e-12, rtol=0
    )


def test_returns_carry_no_gradient() -> None:
    ratio = LOG_RATIO.clone().requires_grad_()
    assert not lambda_return(REWARD, VALUE, ratio, MASK, beta=0.5).requires_grad


def test_means_are_per_row_first() -> None:
    """Rows [1, 2, 3] and [5]: (2 + 5) / 2, not 11 / 4."""
    x = torch.tensor([[1.0, 2.0, 3.0], [5.0, 99.0, 99.0]])
    assert mean_over_decisions(x, MASK) == 3.5


def test_next_decision_ends_in_zero() -> None:
    assert next_decision(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[2.0, 3.0, 0.0]]
