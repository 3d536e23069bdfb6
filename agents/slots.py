"""A KV cache whose rows have lengths of their own, and attention over it that computes no padding.

A pass feeds each of some rows any number of new tokens: one where it says a word, a hundred where the environment has answered.
They come as one flat sequence, so that a matrix product has as many rows as there are new tokens; only attention knows of rows.
It takes neighbours that feed equally many tokens together, and each row's queries see the columns of that row up to their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Cache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from agents.attention import additive, alike, attending, check_arguments

NAME = "slots"
"""What transformers calls this attention."""

CACHE_GROWTH = 64
"""Cache columns come in multiples of this, a quarter more than there were at the least: most of them are to be used."""

RUN = 64
"""Most rows whose attention is computed together: all of them are as wide as the longest."""

DECODED = 16
"""From so many rows of one new token each on, a CPU's bfloat16 products of matrices are faster than its fused attention."""

QUERIES = 512
"""Most new tokens of a row whose attention is computed at once: so much of a long prompt's mask is there for all heads."""


@dataclass(frozen=True)
class Run:
    """Rows `rows` of the cache, and `count` new tokens of each; they are `tokens` of the flat sequence."""

    rows: slice
    tokens: slice
    count: int
    mask: Tensor
    """what is added to the scores [rows, 1, count, columns]"""
    tiled: dict[int, Tensor] = field(default_factory=dict)
    """by the number of heads that share a key head: the mask for the queries of all of them, the same in every layer"""

    def mask_of(self, shared: int) -> Tensor:
        """The mask [rows, 1, shared * count, columns]."""
        if self.count > 1:  # as large as the scores themselves, not to be kept for all runs
            return self.mask.repeat(1, 1, shared, 1)
        if shared not in self.tiled:
            self.tiled[shared] = self.mask.repeat(1, 1, shared, 1)
        return self.tiled[shared]


class Layout:
    """Which new tokens of which rows a pass holds: rows 0..n-1, of which `cached` tokens are there and `counts` come."""

    def __init__(self, cached: Sequence[int], counts: Sequence[int], device: torch.device, dtype: torch.dtype) -> None:
        row = [index for index, count in enumerate(counts) for _ in range(count)]
        position = [first + i for first, count in zip(cached, counts, strict=True) for i in range(count)]
        self.row, self.position = torch.tensor(row, device=device), torch.tensor(position, device=device)
        self.slots, self.width = len(counts), max(position) + 1
        self.last = torch.tensor(counts, device=device).cumsum(0) - 1
        """the place of each row's last token"""
        begins = list(accumulate(counts, initial=0))
        self.runs = []
        for rows, new in _alike(counts):
            begin, count = begins[rows.start] + new.start, new.stop - new.start
            tokens = slice(begin, begin + (rows.stop - rows.start) * count)
            columns = torch.arange(max(cached[rows]) + new.stop, device=device)
            visible = columns <= self.position[tokens].view(-1, count, 1)
            self.runs.append(Run(rows, tokens, count, additive(visible, dtype)))


def _alike(counts: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Neighbours with equally many new tokens, at most RUN rows, and which of these tokens: all, or QUERIES of a single row's."""
    first = 0
    for count, same in groupby(counts):
        end = first + len(list(same))
        most = RUN if count <= QUERIES else 1
        for row in range(first, end, most):
            for new in range(0, count, QUERIES):
                yield slice(row, min(row + most, end)), slice(new, min(new + QUERIES, count))
        first = end


class _Layer(CacheLayerMixin):
    """Keys and values [slots, heads, columns, width]; a pass writes to each row's own columns."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, owner: SlotCache) -> None:
        super().__init__()
        self.owner = owner

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = key_states.new_zeros(0, key_states.shape[1], 0, key_states.shape[3])
        self.values = value_states.new_zeros(0, value_states.shape[1], 0, value_states.shape[3])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        layout = self.owner.layout
        assert layout is not None
        self.resize(max(layout.slots, self.owner.slots), layout.width)
        self.keys[layout.row, :, layout.position] = key_states[0].transpose(0, 1)
        self.values[layout.row, :, layout.position] = value_states[0].transpose(0, 1)
        return self.keys, self.values

    def resize(self, slots: int, columns: int = 0) -> None:
        """Make room for so many rows of so many columns; where there is none, later rows than these are forgotten."""
        self.keys, self.values = (_grow(x, slots, columns) for x in (self.keys, self.values))

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0


class SlotCache(Cache):
    """A transformers cache of rows. `layout` says what the next pass writes."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[_Layer(self) for _ in range(layers)])
        self.layout: Layout | None = None
        self.slots = 0

    def reserve(self, slots: int) -> None:
        """Make room for so many rows, and keep no more of them when room must be made again."""
        self.slots = slots
        for layer in self._filled():
            layer.resize(slots)

    def copy(self, moves: Sequence[tuple[int, int]], columns: int | None = None) -> None:
        """Row `source` goes to row `target` for each pair (source, target), all at once; of it `columns` where they are given."""
        source, target = (list(side) for side in zip(*moves, strict=True))
        for layer in self._filled():
            layer.keys[target, :, :columns] = layer.keys[source, :, :columns]
            layer.values[target, :, :columns] = layer.values[source, :, :columns]

    def _filled(self) -> list[_Layer]:
        return [layer for layer in self.layers if isinstance(layer, _Layer) and layer.is_initialized]


def feed(trunk: nn.Module, cache: SlotCache, ids: Tensor, layout: Layout) -> Tensor:
    """Feed a pass's new tokens, ids [N] in the layout's order, to a transformer without its output layer; final states [N, D].

    Raises what a model raises that has another kind of attention: see `check`.
    """
    cache.layout = layout
    try:
        with attending(trunk, NAME):
            found = trunk(
                input_ids=ids[None], position_ids=layout.position[None], past_key_values=cache, use_cache=True, layout=layout
            )
    finally:
        cache.layout = None
    return found.last_hidden_state[0]


def check(lm: PreTrainedModel) -> None:
    """Make sure that a model computes the same here as by itself: some keep no keys and values, or have another attention.

    Raises:
        ValueError: it does not.
    """
    rows = [[0, 1, 2, 3], [4, 1], [2, 2, 3]]
    trunk, cache = lm.base_model, SlotCache(lm.config.num_hidden_layers)
    with torch.no_grad():
        theirs = [trunk(input_ids=torch.tensor([row], device=lm.device), use_cache=False).last_hidden_state[0] for row in rows]
        try:  # all but the last token of each, then the last
            for cached, counts in (([0, 0, 0], [3, 1, 2]), ([3, 1, 2], [1, 1, 1])):
                ids = [token for row, a, n in zip(rows, cached, counts, strict=True) for token in row[a : a + n]]
                ours = feed(trunk, cache, torch.tensor(ids, device=lm.device), Layout(cached, counts, lm.device, lm.dtype))
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:  # what a model says that knows no such arguments
            raise ValueError(f"{_refused(lm)} ({error})") from error
    if not alike(ours, torch.stack([states[-1] for states in theirs])):
        raise ValueError(_refused(lm))


def _refused(lm: PreTrainedModel) -> str:
    return (
        f"{type(lm).__name__} cannot be sampled from here: its attention is not the usual one over keys and values. Give another "
        "model, such as one of Llama's, Qwen's, Gemma's or GPT-2's kind"
    )


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    *,
    layout: Layout,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Queries [1, heads, N, width] on the cache's keys and values [slots, key heads, columns, width] -> [1, N, heads, width]."""
    check_arguments(module, kwargs)
    groups, width = key.shape[1], value.shape[-1]
    parts = []
    for run in layout.runs:
        columns = run.mask.shape[-1]
        # [n, key heads, queries of all heads that share a key head, width]: no key is copied for each of its heads.
        q = query[0, :, run.tokens].unflatten(1, (-1, run.count)).transpose(0, 1)
        q = q.unflatten(1, (groups, -1))
        shared = q.shape[2]
        q = q.flatten(2, 3)
        mask = run.mask_of(shared)
        k, v = key[run.rows, :, :columns], value[run.rows, :, :columns]
        if softcap:
            out = _softcapped(q, k, v, mask, scaling, softcap)
        elif run.count == 1 and len(k) >= DECODED and k.device.type == "cpu" and k.dtype == torch.bfloat16:
            out = _decoded(q, k, v, mask, scaling)
        else:
            out = scaled_dot_product_attention(q, k, v, mask, scale=scaling)
        parts.append(out.unflatten(2, (shared, run.count)).permute(0, 3, 1, 2, 4).reshape(-1, groups * shared, width))
    return torch.cat(parts)[None], None


def _softcapped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scaling: float | None, softcap: float) -> Tensor:
    """Attention whose scores are bent to at most `softcap` (Gemma 2)."""
    scores = torch.tanh(q @ k.transpose(-1, -2) * _scale(q, scaling) / softcap) * softcap
    return (scores + mask).float().softmax(-1).to(v.dtype) @ v


def _decoded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
    """Attention of few queries: the keys stand on the left, as they lie, since what stands on the right is reordered first."""
    scores = (k @ q.transpose(-1, -2)).transpose(-1, -2).contiguous().float()
    return (scores.mul_(_scale(q, scaling)).add_(mask)).softmax(-1).to(v.dtype) @ v


def _scale(q: Tensor, scaling: float | None) -> float:
    return q.shape[-1] ** -0.5 if scaling is None else scaling


AttentionInterface.register(NAME, _attention)


def _grow(x: Tensor, slots: int, columns: int) -> Tensor:
    if x.shape[0] >= slots and x.shape[2] >= columns:
        return x
    wanted = max(columns, x.shape[2] * 5 // 4) if columns > x.shape[2] else x.shape[2]
    columns = -(-wanted // CACHE_GROWTH) * CACHE_GROWTH
    grown = x.new_zeros(slots, x.shape[1], columns, x.shape[3])
    grown[: x.shape[0], :, : x.shape[2]] = x[:slots]
    return grown
