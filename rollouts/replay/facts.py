"""What an episode is chosen by: how it ended, its kind, its length, how far its value fell. Gathered in one pass over a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, islice

import numpy as np
from rich.progress import Progress

from rollouts.index import LogIndex
from rollouts.keys import digest
from rollouts.progress import bar_columns, console
from rollouts.replay.values import Values
from rollouts.stats import task_group
from rollouts.trajectory import Trajectory

WINDOW = 256
"""Episodes whose values are read together."""


class Order(StrEnum):
    """How episodes are listed."""

    LOG = "log"
    LONGEST = "longest"
    DROP = "drop"
    """the largest fall of the value first"""


class Result(StrEnum):
    """Which episodes are listed."""

    ALL = "all"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True)
class Filter:
    """Which episodes are listed, and in which order."""

    result: Result = Result.ALL
    kind: str = ""
    """the kind of task (`rollouts.stats.task_group`); "" for all"""
    least: int = 0
    most: int | None = None
    """steps"""
    order: Order = Order.LOG

    def __str__(self) -> str:
        steps = f"{self.least}-{'' if self.most is None else self.most} steps" if self.least or self.most is not None else ""
        by = {Order.LOG: "", Order.LONGEST: "longest first", Order.DROP: "largest value drop first"}[self.order]
        return ", ".join(filter(None, ("" if self.result is Result.ALL else self.result, self.kind, steps, by))) or "all"


def steps_range(text: str) -> tuple[int, int | None]:
    """The range that is written: "5" -> (5, 5), "5-" -> (5, None), "-9" -> (0, 9), "5-9" -> (5, 9), "" -> (0, None).

    Raises:
        ValueError: anything else, or a range that nothing is in.
    """
    found = re.fullmatch(r"(\d*)(-?)(\d*)", text.replace(" ", ""))
    if not found or (not found[2] and found[3]):
        raise ValueError(f"steps {text!r}: wanted a number or a range, such as 5, 5-, -9 or 5-9")
    least = int(found[1] or 0)
    if not found[2]:
        return (least, least) if found[1] else (0, None)
    most = int(found[3]) if found[3] else None
    if most is not None and most < least:
        raise ValueError(f"steps {text!r}: no episode has {least} or more and {most} or fewer; wanted the smaller number first")
    return least, most


@dataclass
class Facts:
    """Of a log's N episodes."""

    solved: np.ndarray
    """bool [N]"""
    steps: np.ndarray
    """int [N]"""
    kind: np.ndarray
    """the place in `kinds`, int [N]"""
    kinds: list[str]
    task: np.ndarray
    """digest of the task, uint64 [N]"""
    drop: np.ndarray
    """the largest fall of the value, float [N]; NaN where nothing is known"""
    read: np.ndarray
    """whether `drop` was read, bool [N]"""

    def rows(self, chosen: Filter) -> np.ndarray:
        """The numbers of the episodes that a filter leaves, in its order."""
        kept = (self.steps >= chosen.least) & (self.steps <= (self.steps if chosen.most is None else chosen.most))
        if chosen.result is not Result.ALL:
            kept &= self.solved == (chosen.result is Result.WON)
        if chosen.kind:
            kept &= self.kind == (self.kinds.index(chosen.kind) if chosen.kind in self.kinds else -1)
        found = np.flatnonzero(kept)
        if chosen.order is Order.LONGEST:
            return found[np.argsort(-self.steps[found], kind="stable")]
        if chosen.order is Order.DROP:
            return found[np.argsort(-self.drop[found], kind="stable")]  # NaN goes last
        return found

    def of_task(self, task: str) -> np.ndarray:
        """The numbers of a task's episodes."""
        return np.flatnonzero(self.task == np.uint64(digest(task, 0)))


def gather(log: LogIndex) -> Facts:
    """The facts of every episode but `drop`. Shows a bar."""
    kinds: dict[str, int] = {}
    steps, kind = np.zeros(len(log), np.int64), np.zeros(len(log), np.int32)
    solved, task = np.zeros(len(log), bool), np.zeros(len(log), np.uint64)
    for number, each in _watched(log, "reading the log", len(log)):
        solved[number], steps[number], task[number] = each.success, len(each.steps), digest(each.task, 0)
        kind[number] = kinds.setdefault(task_group(each.env_id, each.task), len(kinds))
    return Facts(solved, steps, kind, list(kinds), task, np.full(len(task), np.nan), np.zeros(len(task), bool))


def read_drops(facts: Facts, log: LogIndex, values: Values, numbers: np.ndarray) -> None:
    """Fill in `drop` of these episodes, of those not read yet. Shows a bar; what is read by an interruption is kept.

    Raises:
        ValueError: the critic cannot read the log.
    """
    todo = numbers[~facts.read[numbers]].tolist()
    seen = _watched((log[number] for number in todo), "reading values", len(todo))
    while window := list(islice(seen, WINDOW)):
        own = [todo[place] for place, _ in window]
        facts.drop[own] = values.drops([episode for _, episode in window])
        facts.read[own] = True


def _watched(episodes: Iterable[Trajectory], what: str, total: int) -> Iterator[tuple[int, Trajectory]]:
    with Progress(
        *bar_columns(what, "episodes; Ctrl-C stops"), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)
        for number, each in zip(count(), episodes, strict=False):
            yield number, each
            if number % WINDOW == WINDOW - 1:
                bar.update(task, completed=number + 1)
