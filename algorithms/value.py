"""A Monte-Carlo value head: V(s) is the expected return of the policy that made the log.

    python -m algorithms.value --env math --data rollouts.jsonl --model RUN/sft

The policy is not trained, and the checkpoint holds it as it was, with the critic beside it: `rollouts.credit` reads V along any
log of the same tokenizer. With rewards of 0 and 1 the loss is the Brier score of V as the probability of success.
With `--average episodes` it is DVO's outcome value model as printed (section 4.4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Level, Outputs
from algorithms.job import main
from algorithms.method import Method, check_ranges, row_count
from algorithms.returns import earned, lambda_return, mean_over_decisions
from algorithms.selection import every_row


@dataclass(frozen=True)
class Config:
    """Where V is trained, and the discount."""

    level: Level = "token"
    """V is trained before every token of the agent, before every step, or once before the response"""
    gamma: float = 1.0
    """discount of rewards from one decision to the next"""
    average: Literal["decisions", "episodes"] = "decisions"
    """what the loss is a mean over: all decisions, or (DVO's paper) episodes, each a mean over its own decisions; then a state of a
    short episode counts for more, and V leans to how short episodes end"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, gamma=(0, 1))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """(V - R)^2 with R the discounted sum of the rewards to come.

    Raises:
        ValueError: outputs lack the value.
    """
    if outputs.value is None:
        raise ValueError("a value head needs value in its outputs")

    def mean(x: Tensor) -> Tensor:
        return mean_over_decisions(x, batch.mask) if config.average == "episodes" else (x * batch.mask).sum() / batch.mask.sum()

    value = outputs.value * batch.mask
    zeros = torch.zeros_like(value)
    reward = earned(outputs, batch, config.gamma).to(value.dtype)
    returns = lambda_return(reward, zeros, zeros, batch.mask, beta=0.0, gamma=config.gamma)
    total = mean((value - returns) ** 2)
    metrics = {"value_loss": total, "value": mean(value), "return": mean(returns)}
    return total, {name: metric.detach() for name, metric in metrics.items()}


def weight(batch: Batch, config: Config) -> Tensor:
    """The number of what the loss is a mean over."""
    return row_count(batch) if config.average == "episodes" else batch.mask.sum()


METHOD = Method(
    name="value",
    config=Config,
    loss=loss,
    level=lambda config: config.level,
    rows=every_row,
    policy=False,
    value=True,
    weight=weight,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
