"""What the one loop must know of a learner."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from algorithms.batch import Batch, Cut, Outputs, Row

FINITE = sys.float_info.max


def check_ranges(config: Any, **ranges: tuple[float, float]) -> None:
    """Raise ValueError for a number of a dataclass outside its least and most; None is let pass, NaN is not."""
    for name, (least, most) in ranges.items():
        number = getattr(config, name)
        if number is not None and not least <= number <= most:
            wanted = f"of at least {least:g}" if most == FINITE else f"from {least:g} to {most:g}"
            raise ValueError(f"--{name.replace('_', '-')} must be a finite number {wanted}, got {number}")


def row_count(batch: Batch, config: Any = None) -> Tensor:
    """The number of rows: the weight of a loss that is a mean over rows."""
    return batch.mask.any(1).sum()


def action_tokens(batch: Batch, config: Any = None) -> Tensor:
    """The number of agent tokens: the weight of a loss that is a mean over tokens."""
    return (batch.decision >= 0).sum()


@dataclass(frozen=True)
class Method:
    """A learner."""

    name: str
    config: type[Any]
    """its frozen dataclass of settings"""
    loss: Callable[[Outputs, Batch, Any], tuple[Tensor, dict[str, Tensor]]]
    """(outputs, batch, config) -> the loss and its metrics: means like the loss, or (sum, count) of `returns.part`"""
    level: Callable[[Any], Cut]
    """the level of its batches, from its config"""
    rows: Callable[[Sequence[Row], Any, random.Random], list[Row]]
    """chooses its examples, from its config and a random stream"""
    group: int = 1
    """examples that belong together and stay adjacent: 2 for pairs"""
    mismatched: Callable[[Sequence[Row]], list[Row]] | None = None
    """rows whose mean log-ratio is the step's reference point (`Outputs.reference_point`), taken before it without gradient"""
    policy: bool = True
    """trains the policy"""
    reference: bool = False
    """needs the frozen reference's log-probabilities"""
    value: bool = False
    """needs a critic"""
    kl: Callable[[Any], Literal["exact", "k3"] | None] = lambda _: None
    """the KL that it needs, from its config: exact over the vocabulary, or estimated on the log's tokens"""
    weight: Callable[[Batch, Any], Tensor] = row_count
    """a micro-batch's share of the optimiser step, from its config: the number of what the loss is a mean over"""
    behaviour: Callable[[Any], bool] = lambda _: False
    """uses the log-probabilities of the policy that played the log, from its config"""
    trees: bool = False
    """its examples are paths of trees (`rollouts.tree`), whose steps have credits, when the whole pipeline runs"""
    after: Method | None = None
    """the learner whose result this one starts from when the whole pipeline runs"""
