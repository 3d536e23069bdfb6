"""Rows of unequal length as one sequence of tokens, without padding and with each beginning that rows share only once.

A token's state hangs on what stands before it and on nothing else. So the layers compute one flat sequence of different beginnings;
only attention lays it out as padded rows, for the usual causal kernels, and takes one state of each token back. What comes out of a
model is laid out as rows again, so that nobody else knows of packing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, PreTrainedModel

from agents.attention import alike, attending, check_arguments, windowed

NAME = "packed"
"""What transformers calls this attention."""


@dataclass(frozen=True)
class Packing:
    """B rows of at most T tokens, with N different beginnings."""

    tokens: Tensor
    """the last token of each beginning, long [N]"""
    position: Tensor
    """its place in its rows, long [N]"""
    place: Tensor
    """which beginning ends at each token of the padded rows, long [B, T]; 0 at padding"""
    home: Tensor
    """a token of the flattened padded rows where each beginning ends, long [N]"""

    def to(self, device: torch.device | str) -> Packing:
        """The same packing on another device."""
        return Packing(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def unpack(self, states: Tensor) -> Tensor:
        """States of the beginnings [N, ...] -> of the rows [B, T, ...]; what stands at padding says nothing."""
        return states.index_select(0, self.place.flatten()).unflatten(0, self.place.shape)

    def repack(self, states: Tensor) -> Tensor:
        """States of the rows [B, T, ...] -> of the beginnings [N, ...]."""
        return states.flatten(0, 1).index_select(0, self.home)


def pack(rows: Sequence[Sequence[int]]) -> Packing:
    """Find the different beginnings of rows of ids."""
    width, count = max(map(len, rows)), 0
    place, home, tokens, position = np.zeros((len(rows), width), dtype=np.int64), [], [], []
    ids, last = [np.asarray(row) for row in rows], None
    # In sorted order, what a row shares with any before it, it shares with the last.
    for index in sorted(range(len(rows)), key=lambda index: tuple(rows[index])):
        row, common = ids[index], 0
        if last is not None:
            common = shared(row, ids[last])
            place[index, :common] = place[last, :common]
        new = np.arange(common, len(row))
        place[index, common : len(row)] = count + new - common
        home.append(index * width + new)
        tokens.append(row[common:])
        position.append(new)
        count, last = count + len(new), index
    return Packing(*map(torch.from_numpy, (*map(np.concatenate, (tokens, position)), place, np.concatenate(home))))


def shared(one: Sequence[int] | np.ndarray, other: Sequence[int] | np.ndarray) -> int:
    """Length of the common beginning."""
    length = min(len(one), len(other))
    differs = np.asarray(one[:length]) != np.asarray(other[:length])
    return int(differs.argmax()) if differs.any() else length


def feed(trunk: nn.Module, packing: Packing) -> Tensor:
    """Final states [B, T, D] of a transformer without its output layer.

    Raises what a model raises that has another kind of attention: see `packs`.
    """
    with attending(trunk, NAME):
        found = trunk(input_ids=packing.tokens[None], position_ids=packing.position[None], use_cache=False, packing=packing)
    return packing.unpack(found.last_hidden_state[0])


def packs(lm: PreTrainedModel) -> bool:
    """Whether a model computes the same on packed rows as on padded ones: some have windows, or another kind of attention."""
    if windowed(lm):
        return False
    rows = [[0, 1, 2], [0, 1, 3, 4], [2, 1]]
    padded = pad_sequence([torch.tensor(row, device=lm.device) for row in rows], batch_first=True)
    there = torch.tensor([[place < len(row) for place in range(padded.shape[1])] for row in rows], device=lm.device)
    with torch.no_grad():
        theirs = lm.base_model(input_ids=padded, use_cache=False).last_hidden_state[there]
        try:
            ours = feed(lm.base_model, pack(rows).to(lm.device))[there]
        except (TypeError, ValueError, RuntimeError):  # what a model says that knows no such arguments
            return False
    return alike(ours, theirs)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    packing: Packing,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Queries [1, heads, N, width], keys and values [1, key heads, N, width] -> [1, N, heads, width]."""
    check_arguments(module, kwargs, "softcap")
    q, k, v = (packing.unpack(x[0].transpose(0, 1)).transpose(1, 2) for x in (query, key, value))
    out = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=k.shape[1] != q.shape[1])
    return packing.repack(out.transpose(1, 2))[None], None


AttentionInterface.register(NAME, _attention)
