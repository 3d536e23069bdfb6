"""OREO: Offline Reasoning Optimization (arXiv 2412.16145).

    python -m algorithms.oreo --env math                      # the whole pipeline
    python -m algorithms.oreo --env math --data LOG --model DIR     # on a given log

Policy and value are trained to make the soft Bellman equation hold along every logged episode, solved or not:
V(s) - V(s') = r - beta * log(pi / ref). docs/algorithms/oreo.md explains each metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Level, Outputs
from algorithms.bellman import ValueAt, action_of, mean_square, residuals
from algorithms.job import main
from algorithms.method import FINITE, Method, check_ranges
from algorithms.returns import mean_over_decisions
from algorithms.selection import training_rows

KL_OF_LEVEL = {"token": 0.01, "step": 0.1, "response": 0.3}
"""The paper's alpha (appendix A.3): per-token KL against a residual averaged over tokens, steps, or one response."""


@dataclass(frozen=True)
class Config:
    """OREO's own settings; the defaults are the paper's (appendix A.3)."""

    level: Level = "token"
    """what an action is: token, step, or response (then the critic still learns at every token)"""
    value_at: ValueAt = "decisions"
    """tokens: the critic of steps learns V at every token too, as a search needs it; the policy's loss stays one of steps"""
    beta: float = 0.03
    """weight of log(pi / ref) against the reward"""
    gamma: float = 1.0
    """discount from one decision to the next, or where the critic learns at tokens from token to token; the paper has none"""
    kl: float | None = None
    """weight of KL(pi || ref), the paper's alpha; default by level: token 0.01, step 0.1, response 0.3"""

    kl_estimate: Literal["exact", "k3"] = "exact"
    """exact: over the whole vocabulary; k3: exp(-log_ratio) + log_ratio - 1 on the log's tokens, cheaper and biased"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, beta=(0, FINITE), gamma=(0, 1), kl=(0, FINITE))

    @property
    def alpha(self) -> float:
        """The weight of the KL in force."""
        return KL_OF_LEVEL[self.level] if self.kl is None else self.kl


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """Value loss (Eq. 8) + policy loss (Eq. 9, or Eq. 10 at response level) + alpha * KL: a mean over rows, each a mean over
    its decisions.

    The value loss reaches the critic only, the policy loss the policy only. At response level the batch's decisions are tokens.

    Raises:
        ValueError: outputs lack the reference, the value, or (with kl > 0) the KL.
    """
    if config.alpha and outputs.kl is None:
        raise ValueError("OREO needs, unless kl=0, kl in its outputs")
    mask, action = batch.mask, action_of(batch, config.level, config.value_at)
    found = residuals(outputs, batch, config.beta, config.gamma, action=action)
    value_loss = mean_square(found.value, mask)  # Eq. 8
    policy_loss = mean_square(found.policy, found.acted)  # Eq. 9, or 10 of a response
    total = value_loss + policy_loss
    metrics = {"value_loss": value_loss, "policy_loss": policy_loss}
    if outputs.kl is not None:
        metrics["kl"] = outputs.kl.mean()
        total = total + config.alpha * metrics["kl"]
    metrics["value"] = mean_over_decisions(outputs.value * mask, mask)  # type: ignore[operator]  # residuals() asked for it
    metrics["log_ratio"] = mean_over_decisions(found.log_ratio, mask)
    metrics["return"] = (batch.reward * mask).sum(1).mean()
    return total, {name: metric.detach() for name, metric in metrics.items()}


METHOD = Method(
    name="oreo",
    config=Config,
    loss=loss,
    level=lambda config: "token" if config.level == "response" or config.value_at == "tokens" else config.level,
    rows=training_rows,
    reference=True,
    value=True,
    kl=lambda config: config.kl_estimate if config.alpha else None,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
