"""DRO: Direct Reward Optimisation (Richemond et al. 2024, arXiv 2405.19107), the response-level case of DQO.

    python -m algorithms.dro --env math --data LOG --model DIR

A whole response (an episode) is one action; V is read once, before it. docs/algorithms/dro.md explains each metric.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Outputs
from algorithms.bellman import mean_square, residuals
from algorithms.job import main
from algorithms.method import FINITE, Method, check_ranges
from algorithms.returns import mean_over_decisions
from algorithms.selection import training_rows


@dataclass(frozen=True)
class Config:
    """DRO's own settings."""

    beta: float = 0.03
    """weight of log(pi / ref) against the reward; DQO's paper uses the same for both"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, beta=(0, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """(V(x) + beta log(pi / ref)(y | x) - r)^2, once with its gradient in the critic and once in the policy; a mean over rows.

    Raises:
        ValueError: outputs lack the reference or the value.
    """
    found = residuals(outputs, batch, config.beta)
    metrics = {
        "value_loss": mean_square(found.value, batch.mask),
        "policy_loss": mean_square(found.policy, batch.mask),
        "value": mean_over_decisions(outputs.value * batch.mask, batch.mask),  # type: ignore[operator]  # residuals() asked for it
        "log_ratio": mean_over_decisions(found.log_ratio, batch.mask),
        "return": batch.reward.sum(1).mean(),
    }
    return metrics["value_loss"] + metrics["policy_loss"], {name: metric.detach() for name, metric in metrics.items()}


METHOD = Method(
    name="dro",
    config=Config,
    loss=loss,
    level=lambda _: "response",
    rows=training_rows,
    reference=True,
    value=True,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
