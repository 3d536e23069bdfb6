"""Batched sampling with a KV cache that lives as long as the episode.

Every episode owns a row of one cache. Asked for its next action, an episode feeds only what is new since the last one (its own
closing token and the environment's answer); the rows asked for are moved to the front, so that each forward pass works on a
slice of the cache without copying it, and rows that finish early leave the batch.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from agents.model import ActorCritic
from agents.packing import additive

CACHE_GROWTH = 256
"""Cache columns are added in multiples of this."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Logged log-probabilities are the model's own, whatever is set here."""

    temperature: float = 1.0
    """0 takes the most likely token"""
    top_p: float = 1.0
    """keep the smallest set of tokens with at least this probability"""
    top_k: int = 0
    """keep the k most likely tokens; 0 keeps all"""
    max_new_tokens: int = 256
    """an action is cut off after this many tokens"""

    def __post_init__(self) -> None:
        """Raises ValueError for a setting that no distribution has."""
        if not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1 or self.top_k < 0 or self.max_new_tokens < 1:
            raise ValueError(f"{self}: wanted temperature >= 0, 0 < top_p <= 1, top_k >= 0 and max_new_tokens >= 1")


@dataclass(eq=False)
class Row:
    """One episode inside the sampler: its random stream, and its tokens of which the first `cached` are in the cache."""

    rng: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    cached: int = 0


@dataclass
class _Layer(CacheLayerMixin):
    """Keys and values [slots, heads, columns, width]; writes go to each row's own columns."""

    owner: SlotCache
    is_sliding = False

    def __post_init__(self) -> None:
        super().__init__()

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = key_states.new_zeros(0, key_states.shape[1], 0, key_states.shape[3])
        self.values = value_states.new_zeros(0, value_states.shape[1], 0, value_states.shape[3])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        positions, width = self.owner.positions, self.owner.width
        assert self.keys is not None and self.values is not None
        self.keys = _grow(self.keys, self.owner.slots, width)
        self.values = _grow(self.values, self.owner.slots, width)
        count = len(positions)
        rows = torch.arange(count, device=positions.device)[:, None]
        self.keys[rows, :, positions] = key_states.transpose(1, 2)
        self.values[rows, :, positions] = value_states.transpose(1, 2)
        return self.keys[:count, :, :width], self.values[:count, :, :width]

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.width, 0


class SlotCache(Cache):
    """A transformers cache whose rows have lengths of their own. `positions` [n, Q] says where the next pass writes."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[_Layer(self) for _ in range(layers)])
        self.slots, self.width = 0, 0
        self.positions = torch.zeros(0, 0, dtype=torch.long)

    def prepare(self, positions: Tensor, slots: int) -> None:
        """Set the columns [n, Q] that rows 0..n-1 write next; `slots` rows must exist."""
        self.positions, self.slots = positions, max(slots, self.slots)
        self.width = int(positions.max()) + 1

    def move(self, moves: Sequence[tuple[int, int]], slots: int) -> None:
        """Row `source` becomes row `target` for each pair, all at once; `slots` rows must exist."""
        self.slots = max(slots, self.slots)
        source, target = (list(column) for column in zip(*moves, strict=True))
        for layer in self.layers:
            if isinstance(layer, _Layer) and layer.keys is not None and layer.values is not None:
                layer.keys, layer.values = _grow(layer.keys, self.slots, 0), _grow(layer.values, self.slots, 0)
                layer.keys[target] = layer.keys[source]
                layer.values[target] = layer.values[source]


class Sampler:
    """Samples actions for many episodes at once.

    Args:
        model: the policy.
        closers: token ids that close a turn; they are sampled and belong to the action.
        sampling: temperature, cut-offs and the longest action.
        context: the most tokens an episode may hold; None takes the model's own limit.
        stop: ends an action early when it says so of the action's token ids (used for one step at a time).
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
        self.cache = SlotCache(config.num_hidden_layers)
        self.order: list[Callable[[], Row | None]] = []

    @torch.no_grad()
    def extend(self, rows: Sequence[Row]) -> list[tuple[list[int], list[float]]]:
        """Sample one action for each row (whose `tokens` hold all that the environment has said).

        Returns the new token ids and log-probabilities of each row, which are also appended to its `tokens`. A row whose context
        is full gets an action without tokens.
        """
        starts = [len(row.tokens) for row in rows]
        logps: dict[Row, list[float]] = {row: [] for row in rows}
        active = [row for row in rows if len(row.tokens) < self.context]
        while active:
            active = self._front(active)
            picked, logp = self._draw(self._forward(active), active)
            going = []
            for row, token, lp in zip(active, picked, logp, strict=True):
                row.tokens.append(token)
                logps[row].append(lp)
                if not self._finished(row, len(logps[row])):
                    going.append(row)
            active = going
        return [(row.tokens[start:], logps[row]) for row, start in zip(rows, starts, strict=True)]

    def _finished(self, row: Row, emitted: int) -> bool:
        full = emitted >= self.sampling.max_new_tokens or len(row.tokens) >= self.context
        return full or row.tokens[-1] in self.closers or bool(self.stop and self.stop(row.tokens[-emitted:]))

    def _front(self, active: Sequence[Row]) -> list[Row]:
        """Bring the active rows into the first slots, moving as few as possible; returns them in slot order."""
        held = [ref() for ref in self.order]
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
        if moves:
            self.cache.move(moves, len(held))
        return [row for row in held[:count] if row is not None]

    def _forward(self, active: Sequence[Row]) -> Tensor:
        """Feed every active row's tokens that are not in the cache yet; float logits [n, V] after each row's last token."""
        device = self.model.lm.device
        counts = [len(row.tokens) - row.cached for row in active]
        length = max(counts)
        ids = torch.zeros(len(active), length, dtype=torch.long)
        for index, row in enumerate(active):
            ids[index, : counts[index]] = torch.tensor(row.tokens[row.cached :])
        # Columns past a row's own tokens hold padding; they are overwritten before any later token can see them.
        positions = torch.tensor([row.cached for row in active])[:, None] + torch.arange(length)
        self.cache.prepare(positions.to(device), len(self.order))
        hidden = self.model.lm.base_model(
            input_ids=ids.to(device),
            position_ids=positions.clamp(max=self.context - 1).to(device),
            attention_mask=self._mask(positions.to(device)),
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        last = torch.tensor([count - 1 for count in counts], device=device)
        for row in active:
            row.cached = len(row.tokens)
        return self.model.logits(hidden[torch.arange(len(active), device=device), last]).float()

    def _mask(self, positions: Tensor) -> Tensor:
        """Additive mask [n, 1, Q, columns]: a token sees its own row's columns up to its own."""
        return additive(torch.arange(self.cache.width, device=positions.device) <= positions[..., None], self.model.lm.dtype)

    def _draw(self, logits: Tensor, active: Sequence[Row]) -> tuple[list[int], list[float]]:
        """One token for each row, from the row's own random stream, and its log-probability under the model itself."""
        logp = logits.log_softmax(-1)
        if self.sampling.temperature == 0:
            picked = logp.argmax(-1)
        else:
            uniform = torch.tensor([row.rng.random() for row in active], device=logits.device, dtype=torch.float64)
            picked = _inverse_cdf(_filtered(logits, self.sampling), uniform)
        return picked.tolist(), logp.gather(-1, picked[:, None])[:, 0].tolist()


def _filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """The probabilities [n, V] that tokens are drawn from: temperature, then top-k, then top-p."""
    logits = logits / sampling.temperature
    if sampling.top_k:
        kept = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < kept, -torch.inf)
    probs = logits.softmax(-1)
    if sampling.top_p < 1:
        ordered, index = probs.sort(descending=True)
        # The first token whose predecessors already hold top_p is the first one dropped.
        dropped = ordered.cumsum(-1) - ordered >= sampling.top_p
        probs = probs.masked_fill(torch.zeros_like(dropped).scatter(-1, index, dropped), 0.0)
    return probs


def _inverse_cdf(probs: Tensor, uniform: Tensor) -> Tensor:
    """Draw one index a row: probs [n, V] (need not sum to one), uniform [n] in [0, 1) -> long [n], never of probability 0."""
    total = probs.double().cumsum(-1)
    picked = torch.searchsorted(total, (uniform * total[:, -1])[:, None], right=True)[:, 0]
    last = probs.shape[-1] - 1 - (probs > 0).flip(-1).long().argmax(-1)
    return torch.minimum(picked, last)


def _ref(row: Row | None) -> Callable[[], Row | None]:
    return weakref.ref(row) if row is not None else lambda: None


def _grow(x: Tensor, slots: int, columns: int) -> Tensor:
    columns = max(x.shape[2], -(-columns // CACHE_GROWTH) * CACHE_GROWTH)
    if x.shape[0] >= slots and x.shape[2] >= columns:
        return x
    grown = x.new_zeros(max(slots, x.shape[0]), x.shape[1], columns, x.shape[3])
    grown[: x.shape[0], :, : x.shape[2]] = x
    return grown
