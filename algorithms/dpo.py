"""DPO: Direct Preference Optimization (Rafailov et al. 2023, arXiv 2305.18290) on pairs of a solved and a failed episode.

    python -m algorithms.dpo --env math --data rollouts.jsonl --model RUN/sft

In several turns, only the agent's tokens count. docs/algorithms/dpo.md explains each metric.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from algorithms import sft
from algorithms.batch import Batch, Outputs, Row
from algorithms.job import main
from algorithms.method import FINITE, Method, check_ranges
from algorithms.selection import response_pairs


@dataclass(frozen=True)
class Config:
    """DPO's own settings."""

    beta: float = 0.1
    """how far the policy may go from the reference: larger stays closer"""
    pairs: int = 6
    """at most so many pairs of a task; OREO's paper has 6 (1.5B), 10 (7B) and 5 (ALFWorld)"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, beta=(0, FINITE), pairs=(1, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """-log sigmoid(beta (S_preferred - S_not)), S the log-ratio of a whole response: a mean over pairs of adjacent rows."""
    return preference_loss(outputs, batch, config.beta)


def preference_loss(outputs: Outputs, batch: Batch, beta: float) -> tuple[Tensor, dict[str, Tensor]]:
    """DPO's loss of adjacent rows, the preferred first.

    Raises:
        ValueError: outputs lack the reference, or the rows are no such pairs.
    """
    if outputs.ref_logp is None:
        raise ValueError("DPO needs ref_logp in its outputs")
    if batch.sign is None or len(batch.sign) % 2 or not ((batch.sign[::2] == 1) & (batch.sign[1::2] == -1)).all():
        raise ValueError("DPO needs pairs of adjacent rows with the signs +1 and -1")
    reward = beta * ((outputs.logp - outputs.ref_logp) * batch.mask).sum(1)
    chosen, rejected = reward[::2], reward[1::2]
    total = -logsigmoid(chosen - rejected).mean()
    metrics = {
        "policy_loss": total,
        "reward/chosen": chosen.mean(),
        "reward/rejected": rejected.mean(),
        "margin": (chosen - rejected).mean(),
        "accuracy": (chosen > rejected).to(total.dtype).mean(),
    }
    return total, {name: metric.detach() for name, metric in metrics.items()}


def pairs_of(rows: Sequence[Row], config: Config, rng: random.Random) -> list[Row]:
    """Pairs of a solved and a failed row of a task, at most `pairs` of each task."""
    return response_pairs(rows, config.pairs, rng)


METHOD = Method(
    name="dpo",
    config=Config,
    loss=loss,
    level=lambda _: "response",
    rows=pairs_of,
    group=2,
    reference=True,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
