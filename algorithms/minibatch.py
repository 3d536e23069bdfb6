"""Which rows make an optimiser step, how they are cut to fit in memory, and what the models say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.model import Scores
from algorithms.batch import Batch, Outputs, Row, gather_decisions, row_mean
from algorithms.method import Method


class Draws:
    """The examples of each optimiser step: a fixed number out of one fresh permutation after another.

    Args:
        families: the examples that are drawn together, so far as a step has room for them; each example is in one of them.
        batch: examples a step, at most all that there are.
        seed: of the permutations.
    """

    def __init__(self, families: Sequence[Sequence[int]], batch: int, seed: int) -> None:
        self.sizes = np.array([len(family) for family in families])
        self.members = np.array([example for family in families for example in family])
        self.count, self.seed = len(self.members), seed
        self.batch = min(batch, self.count)
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def step(self, step: int) -> list[list[int]]:
        """The examples of a step, those of a family in one list."""
        found: dict[tuple[int, int], list[int]] = {}
        for place in range(step * self.batch, (step + 1) * self.batch):
            epoch, rest = divmod(place, self.count)
            family, example = (int(order[rest]) for order in self._order(epoch))
            found.setdefault((epoch, family), []).append(example)
        return list(found.values())

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The families and the examples of an epoch, long [count] each. A step may be of two epochs: the last two are kept."""
        if epoch not in self._epochs:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.sizes))
            sizes, starts = self.sizes[order], (self.sizes.cumsum() - self.sizes)[order]
            places = np.arange(self.count) + np.repeat(starts - (sizes.cumsum() - sizes), sizes)
            kept = {number: kept for number, kept in self._epochs.items() if number == epoch - 1}
            self._epochs = kept | {epoch: (np.repeat(order, sizes), self.members[places])}
        return self._epochs[epoch]


def families(groups: Sequence[Sequence[Row]], size: int) -> list[list[int]]:
    """The examples of each task, `size` at a time, in their order."""
    by_task: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        by_task.setdefault(group[0].task, []).append(index)
    return [some[first : first + size] for some in by_task.values() for first in range(0, len(some), size)]


def join(groups: Sequence[Sequence[Row]], budget: int) -> list[list[Row]]:
    """Groups behind each other, in as few as `budget` tokens with padding allow."""
    found: list[list[Row]] = []
    for group in groups:
        rows = [*(found[-1] if found else ()), *group]
        if found and len(rows) * max(map(len, rows)) <= budget:
            found[-1] = rows
        else:
            found.append(list(group))
    return found


def compute_outputs(model: torch.nn.Module, batch: Batch, method: Method, config: Any) -> Outputs:
    """One forward pass: what the learner's loss needs of a batch."""
    kind = method.kl(config)
    exact = kind == "exact"
    # V is read at the cuts too, as if they were the states of one more decision.
    start = batch.start if batch.cut_at is None else torch.cat([batch.start, batch.cut_at.clamp(min=0)[:, None]], 1)
    wanted = {"reference": method.reference and batch.ref_logp is None, "kl": exact, "value": method.value}
    known = {"packing": batch.packing, "ref_states": batch.ref_states}
    scores: Scores = model(batch.tokens, batch.decision >= 0, start, **wanted, **known)
    kl, ref_logp = scores.kl, scores.ref_logp if batch.ref_logp is None else batch.ref_logp
    if kind == "k3":
        assert ref_logp is not None  # a learner with a KL has a reference
        kl = k3(scores.logp - ref_logp)
    value, cut_value = scores.value, None
    if value is not None and batch.cut_at is not None:
        value, cut_value = value[:, :-1], value[:, -1] * (batch.cut_at >= 0)
    return Outputs(
        logp=gather_decisions(scores.logp, batch),
        ref_logp=None if ref_logp is None else gather_decisions(ref_logp, batch),
        value=None if value is None else value * batch.mask,
        cut_value=cut_value,
        kl=None if kl is None else row_mean(kl, batch),
    )


def k3(log_ratio: Tensor) -> Tensor:
    """Schulman's estimate of KL(pi || ref) at each token, exp(-log_ratio) + log_ratio - 1: never negative.

    Unbiased only where the tokens were sampled from pi; on a log it holds back the tokens that are there and no others.
    """
    return torch.exp(-log_ratio) + log_ratio - 1
