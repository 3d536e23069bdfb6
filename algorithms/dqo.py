"""DQO: Direct Q-function Optimization (arXiv 2410.09302).

    python -m algorithms.dqo --env math                            # the whole pipeline
    python -m algorithms.dqo --env math --data LOG --model DIR     # on a given log

The policy is a soft Q-function, Q = V + beta log pi; both are fitted to lambda-returns of logged episodes, each episode weighted by
how likely it is now against when it was sampled. docs/algorithms/dqo.md explains each metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Outputs
from algorithms.bellman import ValueAt, action_of, mean_square, residuals
from algorithms.job import main
from algorithms.method import FINITE, Method, check_ranges
from algorithms.returns import earned, literal_lambda_return, mean_over_decisions
from algorithms.selection import training_rows


@dataclass(frozen=True)
class Config:
    """DQO's own settings; the defaults are the paper's (appendix A.2)."""

    level: Literal["token", "step"] = "token"
    """what an action is"""
    value_at: ValueAt = "decisions"
    """tokens: the critic of steps learns V at every token too, as a search needs it; the policy's loss stays one of steps"""
    beta: float = 0.03
    """weight of log(pi / ref) against the reward"""
    gamma: float = 1.0
    """discount; the paper has none"""
    lam: float = 1.0
    """lambda of the returns: 1 is the whole remaining return, 0 one step and then V"""
    lambda_return: Literal["normalised", "paper"] = "normalised"
    """paper: for lam < 1 the printed sum, whose weights do not add up to 1 (only to reproduce its Table 5)"""
    weight_policy: bool = True
    """weight the policy's loss of an episode by min(pi / mu, cap)"""
    weight_value: bool = True
    """weight the critic's loss so too"""
    cap: float = math.e
    """largest weight of an episode"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, beta=(0, FINITE), gamma=(0, 1), lam=(0, 1), cap=(1, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """Value loss (Eq. 4.6) + policy loss (Eq. 4.7): means over rows, each a mean over its decisions times its weight.

    Raises:
        ValueError: outputs lack the reference or the value.
    """
    weight = trajectory_weight(outputs, batch, config.cap)
    returns = None
    if config.lambda_return == "paper" and config.lam < 1 and outputs.value is not None and outputs.ref_logp is not None:
        ratio = (outputs.logp - outputs.ref_logp).detach()
        slow = outputs.value.detach() if outputs.target_value is None else outputs.target_value
        reward = earned(outputs, batch, config.gamma)
        returns = literal_lambda_return(reward, slow, ratio, batch.mask, config.beta, config.gamma, config.lam)
    action = action_of(batch, config.level, config.value_at)
    found = residuals(outputs, batch, config.beta, config.gamma, config.lam, returns, action)
    value_loss = mean_square(found.value, batch.mask, weight if config.weight_value else None)
    policy_loss = mean_square(found.policy, found.acted, weight if config.weight_policy else None)
    metrics = {
        "value_loss": value_loss,
        "policy_loss": policy_loss,
        "weight": weight.mean(),
        "capped": (weight > config.cap * (1 - 1e-6)).to(weight.dtype).mean(),  # exp(log(cap)) may fall short of cap
        "value": mean_over_decisions(outputs.value * batch.mask, batch.mask),  # type: ignore[operator]  # residuals() asked for it
        "log_ratio": mean_over_decisions(found.log_ratio, batch.mask),
        "return": (batch.reward * batch.mask).sum(1).mean(),
    }
    return value_loss + policy_loss, {name: metric.detach() for name, metric in metrics.items()}


def trajectory_weight(outputs: Outputs, batch: Batch, cap: float) -> Tensor:
    """min(pi(episode) / mu(episode), cap) of each row, float [B], without gradient; products are sums of logarithms.

    mu is the logged behaviour policy where its log-probabilities are there, the reference where they are not (section 4.3).
    """
    with torch.no_grad():
        if outputs.ref_logp is None:
            raise ValueError("DQO's weight needs ref_logp in its outputs")
        behaviour = outputs.ref_logp
        if batch.old_logp is not None:
            behaviour = torch.where(batch.old_logp.isnan(), behaviour, batch.old_logp.to(behaviour.dtype))
        total = ((outputs.logp - behaviour) * batch.mask).sum(1)
        return total.clamp(max=math.log(cap)).exp()


METHOD = Method(
    name="dqo",
    config=Config,
    loss=loss,
    level=lambda config: "token" if config.value_at == "tokens" else config.level,
    rows=training_rows,
    reference=True,
    value=True,
    behaviour=lambda config: config.weight_policy or config.weight_value,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
