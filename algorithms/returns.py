"""The recursion that the learners share."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.batch import Batch, Outputs


def lambda_return(
    reward: Tensor, value: Tensor, log_ratio: Tensor, mask: Tensor, beta: float, gamma: float = 1.0, lam: float = 1.0
) -> Tensor:
    """Soft lambda-returns of every decision, float [B, S], without gradient.

    OREO's Eq. 8 with lam = 1, DQO's Eq. 4.6 in normalised form:

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


def earned(outputs: Outputs, batch: Batch, gamma: float = 1.0) -> Tensor:
    """The rewards of a batch, float [B, S]; where a limit cut an episode off, the last has gamma * V of the state there too.

    That is what a lambda-return needs, whatever lambda: V and G after the last decision would both be that value. (The printed
    sum of `literal_lambda_return` never reaches the last reward, and so not this.)
    """
    if outputs.cut_value is None:
        return batch.reward
    after = gamma * outputs.cut_value.detach()
    last = torch.nn.functional.one_hot(batch.mask.sum(1) - 1, batch.mask.shape[1])
    return batch.reward + last * after[:, None]


def next_decision(x: Tensor) -> Tensor:
    """x_{s+1} at s, 0 at the end: [B, S] -> [B, S]."""
    return torch.nn.functional.pad(x[:, 1:], (0, 1))


def part(x: Tensor, chosen: Tensor) -> Tensor:
    """A metric over some of a batch only: the sum of x where it is chosen, and over how many; float [2].

    The loop adds both up over the micro-batches of a step before it divides.
    """
    return torch.stack([torch.where(chosen, x, torch.zeros_like(x)).sum(), chosen.sum().to(x.dtype)])


def mean_over_decisions(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of each row over its own decisions, then over rows: [B, S] -> scalar."""
    return ((x * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def literal_lambda_return(
    reward: Tensor, value: Tensor, log_ratio: Tensor, mask: Tensor, beta: float, gamma: float, lam: float
) -> Tensor:
    """DQO's lambda-return as it is printed for lam < 1 (before Eq. 4.6), float [B, S], without gradient; only for its Table 5.

        G_s = (1 - lam) sum_{n=1}^{H-s} lam^(n-1) G^(n)_s
        G^(n)_s = sum_{l<n} gamma^l (r - beta log_ratio)_{s+l} + gamma^n V_{s+n}

    with decisions 1..H: the weights sum to 1 - lam^(H-s) and not to 1, the last reward is never reached, and the last decision's
    return is 0. Taking G^(n)_s = u_s + gamma G^(n-1)_{s+1} apart, it is the recursion of `lambda_return` with each reward u_s by
    1 - lam^(H-s).

    Args:
        reward, value, log_ratio, mask, beta, gamma, lam: as in `lambda_return`.
    """
    left = mask.sum(1, keepdim=True) - torch.arange(1, mask.shape[1] + 1, device=mask.device)
    reached = 1 - lam ** left.clamp(min=0).to(reward.dtype)
    soft_reward = reached * (reward - beta * log_ratio)
    return lambda_return(soft_reward, value, torch.zeros_like(value), mask, 0.0, gamma, lam)
