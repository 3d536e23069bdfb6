"""DVO: Direct Value Optimization (arXiv 2502.13723).

    python -m rollouts.tree --env math --agent RUN/sft --tasks 750 --iterations 40 --out tree.jsonl    # credits by search
    python -m algorithms.dvo --env math --data tree.jsonl --model RUN/sft

Every step of a logged path has a credit, r + V(s') - V(s), from a tree search or a frozen value model; the policy's log-ratio is
regressed onto it. There is no critic in training. docs/algorithms/dvo.md explains each metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Outputs
from algorithms.job import main
from algorithms.method import FINITE, Method, check_ranges
from algorithms.returns import mean_over_decisions, part
from algorithms.selection import credited_rows


@dataclass(frozen=True)
class Config:
    """DVO's own settings; the defaults are the paper's."""

    level: Literal["step", "response"] = "step"
    """what an action is; at response level its credit is the sum, r - V(s_0)"""
    beta: float = 0.1
    """weight of log(pi / ref) against the credit"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, beta=(0, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 10 with its 1/2: a mean over each row's steps, then over rows. The credit is whole: no reward is added to it.

    Raises:
        ValueError: outputs lack the reference, or the batch the targets.
    """
    if outputs.ref_logp is None or batch.target is None:
        raise ValueError("DVO needs ref_logp in its outputs and target in its batch")
    log_ratio = (outputs.logp - outputs.ref_logp) * batch.mask
    residual = config.beta * log_ratio - batch.target * batch.mask
    total = 0.5 * mean_over_decisions(residual**2, batch.mask)
    good = batch.mask & (batch.target > 0)
    bad = batch.mask & (batch.target < 0)
    metrics = {
        "policy_loss": total,
        "log_ratio": mean_over_decisions(log_ratio, batch.mask),
        "log_ratio/good": part(log_ratio, good),
        "log_ratio/bad": part(log_ratio, bad),
        "target": mean_over_decisions(batch.target.abs(), batch.mask),
    }
    return total, {name: metric.detach() for name, metric in metrics.items()}


METHOD = Method(
    name="dvo",
    config=Config,
    loss=loss,
    level=lambda config: config.level,
    rows=credited_rows,
    reference=True,
    trees=True,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
