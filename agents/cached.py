"""Rows of tokens in one KV cache: what is new of each is fed, and what it has in common with others is copied.

Rows take part in a pass whatever the others are at, some with one new token and some with many. What a new row has in common with
another one at its beginning (the samples of one problem, the examples of a few-shot prompt, the candidates of a search) is computed
once and copied.
"""

from __future__ import annotations

import bisect
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor

from agents.model import ActorCritic, Role
from agents.packing import shared
from agents.prepack import Prepacked
from agents.slots import Layout, SlotCache, check, feed

PREFILL = 8192
"""Most new tokens of a pass in rows that have more than one; of longer rows, one at a time."""

SHARED = 16
"""A beginning that rows have in common is computed once, and before them, from so many tokens on."""


@dataclass(eq=False, kw_only=True)
class CachedRow:
    """Tokens of which the first `cached` are in the cache."""

    tokens: list[int] = field(default_factory=list)
    cached: int = 0
    reached: float | None = None
    """V of the state after the last token that was fed, where the model's value head reads this trunk"""


R = TypeVar("R", bound=CachedRow)


class RowCache:
    """The rows of one trunk of a model; they live as long as somebody holds them.

    Args:
        model: whose trunk is fed.
        role: which trunk it is.

    Raises:
        ValueError: the trunk's attention cannot be computed in slots.
    """

    def __init__(self, model: ActorCritic, role: Role = "policy") -> None:
        check(model.lm)
        self.model = model
        self.role: Role = role
        self.cache = SlotCache(model.lm.config.num_hidden_layers)
        with model.trunk(role) as trunk:
            self.weights = Prepacked(model.lm if trunk is model.lm.base_model else trunk)
        self.order: list[Callable[[], CachedRow | None]] = []

    @torch.no_grad()
    def feed(self, rows: Sequence[R]) -> tuple[list[R], Tensor]:
        """One pass: feed what is new of each row, but of those that wait for the beginning of another.

        Returns the rows that were fed, and their final states [n, D], each after the row's last token.
        """
        sources = _sources([row for row in rows if not row.cached], self._resident())
        fed = self._front(self._fed(rows, sources))
        self._copy(fed, sources)
        return fed, self._forward(fed)

    def feed_all(self, rows: Sequence[CachedRow]) -> None:
        """Feed what is new of each row, in as many passes as it takes."""
        waiting = [row for row in rows if row.cached < len(row.tokens)]
        while waiting:
            self.feed(waiting)
            waiting = [row for row in waiting if row.cached < len(row.tokens)]

    @torch.no_grad()
    def logits(self, states: Tensor) -> Tensor:
        """Final states [..., D] -> logits [..., V]."""
        with self.weights.applied():
            return self.model.logits(states, self.role)

    def _forward(self, rows: Sequence[CachedRow]) -> Tensor:
        """Feed every row's tokens that are not in the cache yet; the state [n, D] after each row's last token."""
        lm = self.model.lm
        cached = [row.cached for row in rows]
        ids = [token for row in rows for token in row.tokens[row.cached :]]
        layout = Layout(cached, [len(row.tokens) - row.cached for row in rows], lm.device, lm.dtype)
        with self.weights.applied(), self.model.trunk(self.role) as trunk:
            states = feed(trunk, self.cache, torch.tensor(ids, device=lm.device), layout)[layout.last]
        if self.model.value_head is not None and self.model.valued_role == self.role:
            for row, value in zip(rows, self.model.value_head(states).tolist(), strict=True):
                row.reached = value
        for row in rows:
            row.cached = len(row.tokens)
        return states

    def _resident(self) -> list[CachedRow]:
        """The rows in the cache, in slot order."""
        return [row for ref in self.order if (row := ref()) is not None]

    def _fed(self, rows: Sequence[R], sources: dict[CachedRow, Source]) -> list[R]:
        """The rows of the next pass: none that waits for another's beginning, and only so many with many new tokens."""
        fed, room = [], PREFILL
        for row in rows:
            source = sources.get(row)
            if source and source.wait:
                continue
            count = len(row.tokens) - (source.count if source else row.cached)
            if count == 1 or count <= room or room == PREFILL:
                fed.append(row)
                room -= count if count > 1 else 0
        return fed

    def _copy(self, rows: Sequence[CachedRow], sources: dict[CachedRow, Source]) -> None:
        """Copy the beginnings that new rows have in common with others."""
        slots = {row: slot for slot, ref in enumerate(self.order) if (row := ref()) is not None}
        moves: dict[int, list[tuple[int, int]]] = {}
        for row in rows:
            if row in sources and (source := sources[row]).row is not None:
                moves.setdefault(source.count, []).append((slots[source.row], slots[row]))
                row.cached = source.count
        for count, pairs in moves.items():
            self.cache.copy(pairs, count)

    def _front(self, active: Sequence[R]) -> list[R]:
        """Bring the active rows into the first slots, moving as few as possible; returns them in slot order."""
        held: list[CachedRow | None] = [ref() for ref in self.order]
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
        return cast(list[R], held[:count])


@dataclass(frozen=True)
class Source:
    """Where a new row's first `count` tokens come from."""

    row: CachedRow | None = None
    """a row in the cache; None where there is none"""
    count: int = 0
    wait: bool = False
    """whether a row that is fed now will have many more of them"""


def _sources(new: Sequence[CachedRow], resident: Collection[CachedRow]) -> dict[CachedRow, Source]:
    """What each new row has in common with those in the cache, and whether to wait for another new one's beginning.

    In the order of their tokens, the row that has most in common with another is its neighbour.
    """
    found: dict[CachedRow, Source] = {}
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


def _tokens(row: CachedRow) -> list[int]:
    return row.tokens


def _ref(row: CachedRow | None) -> Callable[[], CachedRow | None]:
    return weakref.ref(row) if row is not None else lambda: None
