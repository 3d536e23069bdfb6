"""Rows of unequal length behind each other in place of padding, and a prefix that several of them share only once.

Rows become paths of a tree of tokens: a token stands at its depth, sees its ancestors and nothing else, and so has the very hidden
state that it has in its own row. What comes out of a model is laid out as rows again, so that nobody else knows of packing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """B rows of at most T tokens in P packs of at most L."""

    tokens: Tensor
    """ids, long [P, L]"""
    position: Tensor
    """depth of each token in its tree, long [P, L]"""
    visible: Tensor
    """whether a token sees another, bool [P, L, L]; padding sees itself"""
    place: Tensor
    """where each token of the padded rows is in the flattened packs, long [B, T]; 0 at padding"""

    def to(self, device: torch.device | str) -> Packing:
        """The same packing on another device."""
        return Packing(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def unpack(self, states: Tensor) -> Tensor:
        """States of the packs [P, L, D] -> of the rows [B, T, D]; what stands at padding says nothing."""
        return states.flatten(0, 1).index_select(0, self.place.flatten()).unflatten(0, self.place.shape)


def pack(rows: Sequence[Sequence[int]], width: int, pad: int = 0) -> Packing:
    """Lay rows of ids out in packs of at most `width` tokens; a longer row has a pack of its own.

    Rows that begin alike come next to each other; the beginning that two rows of a pack share is there once.
    """
    packs: list[_Pack] = []
    homes: dict[int, tuple[int, np.ndarray]] = {}  # row -> its pack, and its tokens' places in that
    for index in sorted(range(len(rows)), key=lambda index: tuple(rows[index])):
        if not packs or packs[-1].size(rows[index]) > width:
            packs.append(_Pack())
        homes[index] = len(packs) - 1, packs[-1].add(rows[index])
    length = max(len(pack.tokens) for pack in packs)
    tokens, position = np.full((len(packs), length), pad), np.zeros((len(packs), length), dtype=np.int64)
    visible = np.tile(np.eye(length, dtype=bool), (len(packs), 1, 1))
    for number, one in enumerate(packs):
        tokens[number, : len(one.tokens)] = one.tokens
        for path, shared in one.paths:
            position[number, path] = np.arange(len(path))
            visible[number, path[shared:, None], path] = np.tri(len(path), dtype=bool)[shared:]
    place = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for index, (number, path) in homes.items():
        place[index, : len(path)] = number * length + path
    return Packing(*map(torch.from_numpy, (tokens, position, visible, place)))


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """What is visible, bool [B, Q, K], as the float [B, 1, Q, K] that is added to attention scores."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, torch.finfo(dtype).min)[:, None]


class _Pack:
    """A pack that is being filled, with rows in sorted order: what a row shares with any before it, it shares with the last."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.paths: list[tuple[np.ndarray, int]] = []  # the places of a row's tokens, and how many of them were there before
        self.last: Sequence[int] = ()

    def size(self, row: Sequence[int]) -> int:
        """Tokens with one more row."""
        return len(self.tokens) + len(row) - shared(self.last, row)

    def add(self, row: Sequence[int]) -> np.ndarray:
        common, first = shared(self.last, row), len(self.tokens)
        before = self.paths[-1][0][:common] if common else np.empty(0, dtype=np.int64)
        path = np.concatenate([before, np.arange(first, first + len(row) - common)])
        self.tokens += row[common:]
        self.paths.append((path, common))
        self.last = row
        return path


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
