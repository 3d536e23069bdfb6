"""The recursion that the learners share."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_return(
    reward: Tensor, value: Tensor, log_ratio: Tensor, mask: Tensor, beta: float, gamma: float = 1.0, lam: float = 1.0
) -> Tensor:
    """Soft lambda-returns of every decision, float [B, S], without gradient.

    According to guides' section 0 (OREO Eq. 8 is lam = 1, DQO Eq. 4.6 in normalised form):

        G_s = r_s - beta * log_ratio_s + gamma * ((1 - lam) * V_{s+1} + lam * G_{s+1}),   V = G = 0 after the last decision.

    Args:
        reward, value, log_ratio: float [B, S]; log_ratio is log pi - log ref.
        mask: bool [B, S], the decisions that are there (the rest is ignored and gets G = 0).
        beta: weight of the log-ratio (the KL temperature).
        gamma: discount; 1 in the papers.
        lam: 1 takes the whole remaining return, 0 one step and then V.
    """
    with torch.no_grad():
        soft_reward = (reward - beta * log_ratio) * mask
        value = value * mask
        returns = torch.zeros_like(soft_reward)
        g = v = torch.zeros_like(soft_reward[:, 0])
        for s in reversed(range(mask.shape[1])):
            g = soft_reward[:, s] + gamma * ((1 - lam) * v + lam * g)
            v = value[:, s]
            returns[:, s] = g
        return returns


def next_decision(x: Tensor) -> Tensor:
    """x_{s+1} at s, 0 at the end: [B, S] -> [B, S]."""
    return torch.nn.functional.pad(x[:, 1:], (0, 1))


def mean_over_decisions(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of each row over its own decisions, then over rows: [B, S] -> scalar."""
    return ((x * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()
