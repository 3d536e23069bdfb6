"""Batched sampling: continuous, with a KV cache that lives as long as the episode.

Every episode owns a row of one cache. Asked for its next action, an episode feeds only what is new since the last one (its own
closing token and the environment's answer). A row whose action is done makes room at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from agents.cached import CachedRow, RowCache
from agents.draw import draw
from agents.model import ActorCritic
from agents.sampling import Sampling


@dataclass(eq=False)
class Row(CachedRow):
    """One episode inside the sampler, and its random stream."""

    rng: np.random.Generator
    start: int = 0
    """where the action begins that is being sampled, or was sampled last"""
    logps: list[float] = field(default_factory=list)
    """log-probabilities of its tokens"""
    value: float | None = None
    """V of the state before it, where the critic shares the policy's trunk"""

    @property
    def action(self) -> list[int]:
        """The tokens of the action."""
        return self.tokens[self.start :]


class Sampler:
    """Samples actions for many episodes at once.

    Args:
        model: the policy.
        closers: token ids that close a turn; they are sampled and belong to the action.
        sampling: temperature, cut-offs and the longest action.
        context: the most tokens an episode may hold; None takes the model's own limit.
        stop: ends an action early when it says so of the action's token ids (used for one step at a time).

    Raises:
        ValueError: the model's attention cannot be computed in slots.
    """

    def __init__(
        self,
        model: ActorCritic,
        closers: Sequence[int],
        sampling: Sampling,
        context: int | None = None,
        stop: Callable[[list[int]], bool] | None = None,
    ) -> None:
        self.model, self.sampling, self.closers, self.stop = model, sampling, frozenset(closers), stop
        config = model.lm.config
        self.context = context or int(getattr(config, "max_position_embeddings", None) or 2**30)
        if (window := getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True):
            self.context = min(self.context, int(window))
        self.context = min(self.context, int(getattr(config, "attention_chunk_size", None) or self.context))
        self.rows = RowCache(model)
        self.active: list[Row] = []
        self._full: list[Row] = []

    def submit(self, row: Row) -> None:
        """Ask for a row's next action; its `tokens` hold all that the environment has said."""
        row.start, row.logps, row.value = len(row.tokens), [], None
        (self.active if row.start < self.context else self._full).append(row)

    @torch.no_grad()
    def step(self) -> list[Row]:
        """One pass: sample a token for each row asked for, but those that wait for others; the rows whose action is done now.

        A row whose context is full gets an action without tokens.
        """
        done, self._full = self._full, []
        if not self.active:
            return done
        rows, states = self.rows.feed(self.active)
        for row in rows:
            row.value = row.value if row.logps else row.reached
        picked, logp = self._draw(self.rows.logits(states), rows)
        for row, token, lp in zip(rows, picked, logp, strict=True):
            row.tokens.append(token)
            row.logps.append(lp)
        over = {row for row in rows if self._finished(row)}
        self.active = [row for row in self.active if row not in over]
        return done + [row for row in rows if row in over]

    def extend(self, rows: Sequence[Row]) -> None:
        """Sample one action for each row.

        Raises:
            RuntimeError: other rows are being sampled.
        """
        if self.active or self._full:
            raise RuntimeError(
                f"{len(self.active) + len(self._full)} other rows are being sampled: take them from step(), or clear()"
            )
        for row in rows:
            self.submit(row)
        while self.active or self._full:
            self.step()

    def clear(self) -> None:
        """Forget what was asked for."""
        self.active, self._full = [], []

    def _finished(self, row: Row) -> bool:
        full = len(row.logps) >= self.sampling.max_new_tokens or len(row.tokens) >= self.context
        return full or row.tokens[-1] in self.closers or bool(self.stop and self.stop(row.action))

    def _draw(self, logits: Tensor, rows: Sequence[Row]) -> tuple[list[int], list[float]]:
        """One token for each row, from the row's own random stream, and its log-probability under the model itself."""
        greedy = self.sampling.temperature == 0
        uniform = [0.0 if greedy else row.rng.random() for row in rows]
        picked, logp = draw(logits, self.sampling, torch.tensor(uniform, device=logits.device, dtype=torch.float64))
        return picked.tolist(), logp.tolist()
