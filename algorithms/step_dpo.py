"""Step-DPO (Lai et al. 2024, arXiv 2406.18629): DPO on pairs of steps that follow the same beginning.

    python -m rollouts.tree --env math --agent RUN/sft --tasks 750 --iterations 40 --out tree.jsonl
    python -m algorithms.step_dpo --env math --data tree.jsonl --model RUN/sft

The steps are told apart by their credits. docs/algorithms/step_dpo.md explains each metric.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Outputs, Row
from algorithms.dpo import preference_loss
from algorithms.job import main
from algorithms.method import FINITE, Method, check_ranges
from algorithms.selection import step_pairs


@dataclass(frozen=True)
class Config:
    """Step-DPO's own settings."""

    beta: float = 0.1
    """how far the policy may go from the reference: larger stays closer"""
    pairs: int = 4
    """at most so many pairs of steps of a task; DVO's paper has 4"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, beta=(0, FINITE), pairs=(1, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """DPO's loss of single steps: the tokens of the common beginning are state."""
    return preference_loss(outputs, batch, config.beta)


def pairs_of(rows: Sequence[Row], config: Config, rng: random.Random) -> list[Row]:
    """Pairs of sibling steps, at most `pairs` of each task."""
    return step_pairs(rows, config.pairs, rng)


METHOD = Method(
    name="step_dpo",
    config=Config,
    loss=loss,
    level=lambda _: "response",
    rows=pairs_of,
    group=2,
    reference=True,
    trees=True,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
