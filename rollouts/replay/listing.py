"""Which of a log's episodes are listed, and the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from rollouts.replay.facts import Facts, Filter, Order, Result, gather, read_drops, steps_range
from rollouts.replay.source import Source

T = TypeVar("T")


def after(now: T, ring: Iterable[T]) -> T:
    """The next of some values in turn, the first after the last."""
    found = list(ring)
    return found[(found.index(now) + 1) % len(found)]


class Listing:
    """The list of episodes. A log is listed at once; the facts that a filter needs are gathered when the first one is asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.filter = Filter()
        self.rows: Sequence[int] | np.ndarray = range(len(source.log))
        """the numbers of the listed episodes"""
        self.at = 0
        """the place in `rows`"""
        self._facts: Facts | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return f"{len(self)} of {len(self.source.log)} episodes: {self.filter}"

    @property
    def facts(self) -> Facts:
        """Of every episode, gathered once."""
        if self._facts is None:
            self._facts = gather(self.source.log)
        return self._facts

    def drop(self, number: int) -> float | None:
        """The largest fall of the value in an episode, where it was read."""
        if self._facts is None or not self._facts.read[number]:
            return None
        return float(self._facts.drop[number])

    def move(self, count: int) -> None:
        """So many episodes on, as far as there are any."""
        self.at = max(0, min(len(self) - 1, self.at + count))

    def choose(self, chosen: Filter) -> None:
        """List what a filter leaves.

        Raises:
            ValueError: there are no values to order by, or the critic cannot read the log.
        """
        rows: Sequence[int] | np.ndarray = range(len(self.source.log))
        if chosen != Filter():
            if chosen.order is Order.DROP:
                self._read_drops(chosen)
            rows = self.facts.rows(chosen)
        self.filter, self.rows, self.at = chosen, rows, 0

    def _read_drops(self, chosen: Filter) -> None:
        wanted = self.facts.rows(replace(chosen, order=Order.LOG))
        read_drops(self.facts, self.source.log, self.source.values, wanted)
        if len(wanted) and not np.isfinite(self.facts.drop[wanted]).any():
            raise ValueError("there are no values to order by: give --critic RUN")

    def next_result(self) -> None:
        """All, won, lost, in turn."""
        self.choose(replace(self.filter, result=after(self.filter.result, Result)))

    def next_kind(self) -> None:
        """The kinds of tasks, in turn."""
        self.choose(replace(self.filter, kind=after(self.filter.kind, ["", *sorted(self.facts.kinds)])))

    def next_order(self) -> None:
        """As in the log, longest first, largest value drop first, in turn."""
        order = after(self.filter.order, Order)
        try:
            self.choose(replace(self.filter, order=order))
        except ValueError:
            self.choose(replace(self.filter, order=Order.LOG))  # without values, the turn goes on
            raise

    def all(self) -> None:
        """Every episode, as in the log."""
        self.choose(Filter())

    def of_length(self, text: str) -> None:
        """Those with so many steps. Raises ValueError as `steps_range`."""
        least, most = steps_range(text)
        self.choose(replace(self.filter, least=least, most=most))

    def find(self, text: str) -> None:
        """To the episode of a number, or the next one whose task's name has `text`. Raises ValueError where there is none."""
        if text.isdecimal():
            found = np.flatnonzero(np.asarray(self.rows) == int(text))
            place = int(found[0]) if len(found) else None
        else:
            ahead = (*range(self.at + 1, len(self)), *range(self.at + 1))
            place = next((place for place in ahead if text in self.source.log[int(self.rows[place])].task), None)
        if place is None:
            raise ValueError(f"none of the {len(self)} listed episodes has {text!r}")
        self.at = place
