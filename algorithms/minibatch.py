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


def step_rows(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """The rows of one optimiser step: a fixed number out of one fresh permutation after another; long [min(batch, count)]."""
    batch = min(batch, count)
    places = np.arange(step * batch, (step + 1) * batch)
    epochs = {epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in set((places // count).tolist())}
    return np.array([epochs[place // count][place % count] for place in places.tolist()])


def cut(groups: Sequence[Sequence[Row]], budget: int) -> list[list[Row]]:
    """Sort by length and cut into micro-batches of at most `budget` tokens with padding; a group stays whole and adjacent.

    A group that is larger than the budget goes alone.
    """
    found: list[list[Row]] = []
    for group in sorted(groups, key=lambda group: max(map(len, group))):
        if found and (len(found[-1]) + len(group)) * max(map(len, group)) <= budget:
            found[-1].extend(group)
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
    scores: Scores = model(batch.tokens, batch.decision >= 0, start, **wanted, packing=batch.packing)
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
