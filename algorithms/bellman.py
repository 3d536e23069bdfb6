"""The soft Bellman residual that OREO, DQO and DRO share: one equation, trained in the critic and in the policy."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from algorithms.batch import Batch, Outputs
from algorithms.returns import earned, lambda_return, mean_over_decisions, next_decision


class Residuals(NamedTuple):
    """Of every decision, float [B, S], 0 where there is none."""

    value: Tensor
    """V - G, whose gradient reaches the critic only"""
    policy: Tensor
    """V + beta * log_ratio - r - gamma * tail, whose gradient reaches the policy only"""
    log_ratio: Tensor
    """log pi - log ref"""


def residuals(
    outputs: Outputs, batch: Batch, beta: float, gamma: float = 1.0, lam: float = 1.0, returns: Tensor | None = None
) -> Residuals:
    """The two residuals of V(s) = r - beta log(pi / ref) + gamma * tail(s').

    The tail is the lambda-return of the next decision as DQO's Eq. 4.7 has it, (Eq. 9 of OREO at lam = 1); V in returns is
    `outputs.target_value` where a learner keeps a slower copy. `returns` replaces the lambda-returns, float [B, S].

    Raises:
        ValueError: outputs lack the reference or the value.
    """
    if outputs.ref_logp is None or outputs.value is None:
        raise ValueError("a soft Bellman residual needs ref_logp and value in its outputs: the method asks for reference and value")
    log_ratio = (outputs.logp - outputs.ref_logp) * batch.mask
    value = outputs.value * batch.mask
    slow = value.detach() if outputs.target_value is None else outputs.target_value * batch.mask
    reward = earned(outputs, batch, gamma)
    if returns is None:
        returns = lambda_return(reward, slow, log_ratio.detach(), batch.mask, beta, gamma, lam)
    policy = value.detach() + beta * log_ratio - reward - gamma * next_decision(returns)
    return Residuals(value - returns, policy * batch.mask, log_ratio)


def mean_square(residual: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of squares over each row's decisions, times the row's weight [B], then the mean over rows."""
    if weight is None:
        return mean_over_decisions(residual**2, mask)
    return mean_over_decisions(residual**2 * weight[:, None], mask)
