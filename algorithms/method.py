"""What the one loop must know of a learner, and the examples that learners choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from algorithms.batch import Batch, Level, Outputs, Row


def row_count(batch: Batch) -> Tensor:
    """The number of rows: the weight of a loss that is a mean over rows."""
    return batch.mask.any(1).sum()


def action_tokens(batch: Batch) -> Tensor:
    """The number of agent tokens: the weight of a loss that is a mean over tokens."""
    return (batch.decision >= 0).sum()


@dataclass(frozen=True)
class Method:
    """A learner."""

    name: str
    config: type[Any]
    """its frozen dataclass of settings"""
    loss: Callable[[Outputs, Batch, Any], tuple[Tensor, dict[str, Tensor]]]
    level: Callable[[Any], Level]
    """the level of its batches, from its config"""
    rows: Callable[[Sequence[Row]], list[Row]]
    """chooses its examples"""
    reference: bool = False
    """needs the frozen reference's log-probabilities"""
    value: bool = False
    """needs a critic"""
    kl: Callable[[Any], bool] = lambda _: False
    """needs the exact KL, from its config"""
    weight: Callable[[Batch], Tensor] = row_count
    """a micro-batch's share of the optimiser step: what the loss is a mean over"""
    after: Method | None = None
    """the learner whose result this one starts from when the whole pipeline runs"""


def training_rows(rows: Sequence[Row]) -> list[Row]:
    """Every row, for learners that learn from failures too.

    Raises:
        ValueError: there is none, or none was solved (all rewards 0: nothing says what to do instead).
    """
    solved_rows(rows)
    return list(rows)


def solved_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of solved episodes.

    Raises:
        ValueError: there is none.
    """
    solved = [row for row in rows if row.solved]
    if not solved:
        raise ValueError(
            f"no solved episode among {len(rows)} in the log (all rewards are 0): nothing can be learnt from it; "
            "collect more samples, or on easier tasks, or start from expert demonstrations (rollouts.collect --agent expert)"
        )
    return solved
