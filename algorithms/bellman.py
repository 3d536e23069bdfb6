"""The soft Bellman residual that OREO, DQO and DRO share: one equation, trained in the critic and in the policy."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.batch import Batch, Level, Outputs
from algorithms.returns import earned, lambda_return, mean_over_decisions, next_decision

ValueAt = Literal["decisions", "tokens"]


def action_of(batch: Batch, level: Level, value_at: ValueAt) -> Tensor | None:
    """The action that each decision is a part of, long [B, S], where only the critic learns at tokens; else None.

    Raises:
        ValueError: the batch does not say which step its tokens belong to.
    """
    if level == "response":
        return torch.zeros_like(batch.start)
    if level == "token" or value_at == "decisions":
        return None
    if batch.step is None:
        raise ValueError("V at the tokens of steps needs to know whose they are: give a batch with its `step`, as collate makes it")
    return batch.step


class Residuals(NamedTuple):
    """Of every decision, float [B, S], 0 where there is none."""

    value: Tensor
    """V - G, whose gradient reaches the critic only"""
    policy: Tensor
    """V + beta * log_ratio - r - gamma * tail, whose gradient reaches the policy only; of several decisions, at the first"""
    log_ratio: Tensor
    """log pi - log ref"""
    acted: Tensor
    """where `policy` is, bool [B, S]"""


def residuals(
    outputs: Outputs,
    batch: Batch,
    beta: float,
    gamma: float = 1.0,
    lam: float = 1.0,
    returns: Tensor | None = None,
    action: Tensor | None = None,
) -> Residuals:
    """The two residuals of V(s) = r - beta log(pi / ref) + gamma * tail(s').

    The tail is the lambda-return of the next decision as DQO's Eq. 4.7 has it, (Eq. 9 of OREO at lam = 1); V in returns is
    `outputs.target_value` where a learner keeps a slower copy. `returns` replaces the lambda-returns, float [B, S].

    `action`, long [B, S], numbers the action that each decision is a part of, not falling along a row: the critic then learns at
    every decision, and the policy from one residual an action, whose gradient flows through all of its log-ratios (OREO's Eq. 10,
    where the whole response is one).

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
    parts, acted = (beta * log_ratio - reward) * batch.mask, batch.mask
    tails = gamma * next_decision(returns)
    if action is not None:
        parts, tails, acted = _by_action(parts, tails, batch.mask, action, gamma)
    return Residuals(value - returns, (value.detach() + parts - tails) * acted, log_ratio, acted)


def _by_action(parts: Tensor, tails: Tensor, mask: Tensor, action: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """The discounted sum of each action's parts and what follows it, at its first decision; and where these are, bool [B, S]."""
    begins = torch.ones_like(mask)
    begins[:, 1:] = action[:, 1:] != action[:, :-1]
    ends = mask & ~(next_decision(mask) & ~next_decision(begins))
    place = torch.arange(mask.shape[1], device=mask.device).expand_as(action)
    first = torch.where(begins, place, torch.zeros_like(place)).cummax(1).values
    discount = gamma ** (place - first).to(parts.dtype)
    nothing = torch.zeros_like(parts)
    return (
        nothing.scatter_add(1, first, discount * parts),
        nothing.scatter_add(1, first, discount * tails * ends),
        begins & mask,
    )


def mean_square(residual: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of squares over each row's decisions, times the row's weight [B], then the mean over rows."""
    if weight is None:
        return mean_over_decisions(residual**2, mask)
    return mean_over_decisions(residual**2 * weight[:, None], mask)
