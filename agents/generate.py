"""Batched sampling: continuous, with a KV cache that lives as long as the episode.

Every episode owns a row of one cache. Asked for its next action, an episode feeds only what is new since the last one (its own
closing token and the environment's answer). Rows take part in a pass whatever the others are at, some with one new token and some
with many, so that a row whose action is done makes room at once. What a new row has in common with another one at its beginning
(the samples of one problem, the examples of a few-shot prompt) is computed once and copied.
"""

from __future__ import annotations

import bisect
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from agents.draw import Sampling, draw
from agents.model import ActorCritic
from agents.packing import shared
from agents.prepack import Prepacked
from agents.slots import Layout, SlotCache, check, feed

PREFILL = 8192
"""Most new tokens of a pass in rows that have more than one; of longer rows, one at a time."""

SHARED = 16
"""A beginning that rows have in common is computed once, and before them, from so many tokens on."""


@dataclass(eq=False)
class Row:
    """One episode inside the sampler: its random stream, and its tokens of which the first `cached` are in the cache."""

    rng: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    cached: int = 0
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
        check(model.lm)
        self.cache = SlotCache(config.num_hidden_layers)
        self.weights = Prepacked(model.lm)
        self.order: list[Callable[[], Row | None]] = []
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
        sources = _sources([row for row in self.active if not row.cached], self._resident())
        rows = self._front(self._fed(sources))
        self._copy(rows, sources)
        with self.weights.applied():
            logits = self._forward(rows)
        picked, logp = self._draw(logits, rows)
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

    def _resident(self) -> list[Row]:
        """The rows in the cache, in slot order."""
        return [row for ref in self.order if (row := ref()) is not None]

    def _fed(self, sources: dict[Row, Source]) -> list[Row]:
        """The rows of the next pass: none that waits for another's beginning, and only so many with many new tokens."""
        fed, room = [], PREFILL
        for row in self.active:
            source = sources.get(row)
            if source and source.wait:
                continue
            count = len(row.tokens) - (source.count if source else row.cached)
            if count == 1 or count <= room or room == PREFILL:
                fed.append(row)
                room -= count if count > 1 else 0
        return fed

    def _copy(self, rows: Sequence[Row], sources: dict[Row, Source]) -> None:
        """Copy the beginnings that new rows have in common with others."""
        slots = {row: slot for slot, ref in enumerate(self.order) if (row := ref()) is not None}
        moves: dict[int, list[tuple[int, int]]] = {}
        for row in rows:
            if row in sources and (source := sources[row]).row is not None:
                moves.setdefault(source.count, []).append((slots[source.row], slots[row]))
                row.cached = source.count
        for count, pairs in moves.items():
            self.cache.copy(pairs, count)

    def _front(self, active: Sequence[Row]) -> list[Row]:
        """Bring the active rows into the first slots, moving as few as possible; returns them in slot order."""
        held = [ref() for ref in self.order]
        while held and held[-1] is None:
            held.pop()
        held += [None] * (len(active) - len(held))
        slot = {row: index for index, row in enumerate(held) if row is not None}
        chosen, count = set(active), len(active)
        vacant = [index for index in range(count) if held[index] not in chosen]
        moves = []
        for index, row in zip(vacant, (row for row in active if slot.get(row, count) >= count), strict=True):
            evicted, origin = held[index], slot.get(row)
            if origin is not None:
                moves.append((origin, index))
            elif evicted is not None:
                origin = next((i for i in range(count, len(held)) if held[i] is None), len(held))
                held += [None] * (origin + 1 - len(held))
            if evicted is not None and origin is not None:
                moves.append((index, origin))
            if origin is not None:
                held[origin] = evicted
            held[index] = row
        self.order = [_ref(row) for row in held]
        self.cache.reserve(len(held))
        if moves:
            self.cache.copy(moves)
        return [row for row in held[:count] if row is not None]

    def _forward(self, rows: Sequence[Row]) -> Tensor:
        """Feed every row's tokens that are not in the cache yet; logits [n, V] after each row's last token."""
        lm = self.model.lm
        cached = [row.cached for row in rows]
        ids = [token for row in rows for token in row.tokens[row.cached :]]
        layout = Layout(cached, [len(row.tokens) - row.cached for row in rows], lm.device, lm.dtype)
        states = feed(lm.base_model, self.cache, torch.tensor(ids, device=lm.device), layout)[layout.last]
        if self.model.critic_kind == "shared" and self.model.value_head is not None:
            for row, value in zip(rows, self.model.value_head(states).tolist(), strict=True):
                row.value = value if not row.logps else row.value
        for row in rows:
            row.cached = len(row.tokens)
        return self.model.logits(states)

    def _draw(self, logits: Tensor, rows: Sequence[Row]) -> tuple[list[int], list[float]]:
        """One token for each row, from the row's own random stream, and its log-probability under the model itself."""
        greedy = self.sampling.temperature == 0
        uniform = [0.0 if greedy else row.rng.random() for row in rows]
        picked, logp = draw(logits, self.sampling, torch.tensor(uniform, device=logits.device, dtype=torch.float64))
        return picked.tolist(), logp.tolist()


@dataclass(frozen=True)
class Source:
    """Where a new row's first `count` tokens come from."""

    row: Row | None = None
    """a row in the cache; None where there is none"""
    count: int = 0
    wait: bool = False
    """whether a row that is fed now will have many more of them"""


def _sources(new: Sequence[Row], resident: Collection[Row]) -> dict[Row, Source]:
    """What each new row has in common with those in the cache, and whether to wait for another new one's beginning.

    In the order of their tokens, the row that has most in common with another is its neighbour.
    """
    found: dict[Row, Source] = {}
    known, fed = sorted((row for row in resident if row.cached), key=_tokens) if new else [], None
    for row in sorted(new, key=_tokens):
        most = len(row.tokens) - 1  # the last one is fed, for what comes after it
        place = bisect.bisect(known, row.tokens, key=_tokens)
        best = Source()
        for other in known[max(0, place - 1) : place + 1]:
            count = min(shared(row.tokens, other.tokens), other.cached, most)
            best = Source(other, count) if count >= max(SHARED, best.count + 1) else best
        if fed is not None and min(shared(row.tokens, fed.tokens), most) >= best.count + SHARED:
            best = Source(wait=True)
        else:
            fed = row
        found[row] = best
    return found


def _tokens(row: Row) -> list[int]:
    return row.tokens


def _ref(row: Row | None) -> Callable[[], Row | None]:
    return weakref.ref(row) if row is not None else lambda: None
