"""Rejection sampling fine-tuning (RFT; near STaR where it is repeated): SFT on a model's own solved episodes.

    python -m algorithms.rejection --env math --data rollouts.jsonl --model RUN/sft

docs/algorithms/rejection.md explains each metric.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Outputs, Row
from algorithms.job import main
from algorithms.method import FINITE, Method, action_tokens, check_ranges
from algorithms.selection import capped, distinct, solved_rows


@dataclass(frozen=True)
class Config:
    """Which solved episodes are learnt."""

    per_task: int = 0
    """at most so many of a task, drawn at random; 0 takes all (OREO, DQO), DVO's paper 4"""
    distinct: bool = True
    """leave out episodes that say the same as another"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, per_task=(0, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative log-likelihood of the agent's tokens, as in SFT."""
    return sft.loss(outputs, batch)


def solved_samples(rows: Sequence[Row], config: Config, rng: random.Random) -> list[Row]:
    """The solved rows, without repetitions and at most `per_task` of a task. Raises ValueError where none was solved."""
    solved = solved_rows(rows)
    solved = distinct(solved) if config.distinct else solved
    return capped(solved, config.per_task, rng) if config.per_task else solved


METHOD = Method(
    name="rejection",
    config=Config,
    loss=loss,
    level=lambda _: "response",
    rows=solved_samples,
    weight=action_tokens,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
