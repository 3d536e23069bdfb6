"""How good V is as a chance of success, and how well it ranks: measures with intervals over tasks.

Whoever drew the log drew tasks; episodes of a task, and steps of an episode, are not independent. So every interval is of tasks
drawn anew with all that belongs to them. A pair for the ranks within tasks is a won and a lost episode of one task: that some tasks
are easier than others is worth nothing there.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollouts.estimates import Bin, bin_of, calibration_error, percentiles, redrawn, reliability
from rollouts.step_reading import StepReading
from rollouts.trajectory import Trajectory

DRAWS = 500
"""Bootstrap draws of tasks."""

Statistic = Callable[[np.ndarray], float]
"""A number from how often each task is taken, float [G]."""


@dataclass(frozen=True)
class Measured:
    """A number with its 95% interval; NaN where there was nothing to measure."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "-" if math.isnan(self.value) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def measured(statistic: Statistic, tasks: int) -> Measured:
    """A statistic of `tasks` tasks with its interval."""
    drawn = np.array([statistic(count) for count in redrawn(tasks, DRAWS)])
    return Measured(statistic(np.ones(tasks)), *percentiles(drawn))


@dataclass(frozen=True)
class Steps:
    """The M steps of the episodes of G tasks, as a critic sees them."""

    task: np.ndarray
    """int [M], from 0 to G - 1"""
    index: np.ndarray
    """the step's place in its episode, from 0, int [M]"""
    position: np.ndarray
    """its place over the number of steps, in [0, 1), float [M]"""
    last: np.ndarray
    """whether the episode ends with it, bool [M]"""
    value: np.ndarray
    """V of the state before, float [M]"""
    won: np.ndarray
    """whether its episode is solved, bool [M]"""
    advantage: np.ndarray
    """r + gamma V' - V, float [M]; NaN where nobody knows it"""
    implicit: np.ndarray | None = None
    """beta log(pi / ref), float [M]; None without a reference"""

    @classmethod
    def along(cls, read: Iterable[tuple[Trajectory, Sequence[StepReading]]], beta: float | None = None) -> tuple[Steps, int]:
        """The steps of episodes where V is known, in their order, and the number of the episodes' tasks."""
        tasks: dict[str, int] = {}
        columns = [array("d") for _ in range(8)]
        for episode, found in read:
            task = tasks.setdefault(episode.task, len(tasks))
            for index, step in enumerate(found):
                if step.value is None:
                    continue
                advantage = math.nan if step.advantage is None else step.advantage
                implicit = math.nan if step.implicit is None else (beta or 1.0) * step.implicit
                last = index + 1 == len(found)
                row = task, index, index / len(found), last, step.value, episode.success, advantage, implicit
                for column, number in zip(columns, row, strict=True):
                    column.append(number)
        task, index, position, last, value, won, advantage, implicit = (np.array(column) for column in columns)
        steps = cls(
            task=task.astype(int),
            index=index.astype(int),
            position=position,
            last=last.astype(bool),
            value=value,
            won=won.astype(bool),
            advantage=advantage,
            implicit=None if np.isnan(implicit).any() else implicit,
        )
        return steps, len(tasks)

    def __len__(self) -> int:
        return len(self.task)

    def at(self, chosen: np.ndarray) -> Steps:
        """Those of them, bool [M]."""
        return Steps(
            task=self.task[chosen],
            index=self.index[chosen],
            position=self.position[chosen],
            last=self.last[chosen],
            value=self.value[chosen],
            won=self.won[chosen],
            advantage=self.advantage[chosen],
            implicit=None if self.implicit is None else self.implicit[chosen],
        )


@dataclass(frozen=True)
class Quality:
    """V against what came of it."""

    steps: int
    mean: float
    success: float
    brier: Measured
    constant: float
    """the Brier score of the success rate itself, said of every step"""
    ece: float
    """expected calibration error; without an interval, since chance alone makes it larger and draws anew add to that"""
    auc: Measured
    """P(V of a won episode is above that of a lost one)"""
    within: Measured
    """the same of pairs of one task: rank accuracy"""


def quality(steps: Steps, tasks: int, bins: int = 10) -> Quality:
    """The quality of V at these steps, of `tasks` tasks in all.

    Raises:
        ValueError: there is no step.
    """
    if not len(steps):
        raise ValueError("no step to measure V at")
    v, won = steps.value, steps.won.astype(float)
    rate = float(won.mean())
    overall = weighted_auc(v, steps.won)
    return Quality(
        steps=len(steps),
        mean=float(v.mean()),
        success=rate,
        brier=measured(mean_of((v - won) ** 2, steps.task, tasks), tasks),
        constant=rate * (1 - rate),
        ece=calibration_error(reliability(v.tolist(), won.tolist(), bins)),
        auc=measured(lambda count: overall(count[steps.task]), tasks),
        within=measured(auc_within(v, steps.won, steps.task, tasks), tasks),
    )


def mean_of(x: np.ndarray, task: np.ndarray, tasks: int) -> Statistic:
    """The mean of x [M]."""
    total, number = np.bincount(task, x, tasks), np.bincount(task, minlength=tasks)
    return lambda count: _over(count @ total, count @ number)


def weighted_auc(scores: np.ndarray, positive: np.ndarray) -> Callable[[np.ndarray], float]:
    """The area under the ROC curve of scores [M] (ties half) as a function of their weights, float [M]."""
    place = np.unique(scores, return_inverse=True)[1]

    def found(weight: np.ndarray) -> float:
        high, low = np.bincount(place, weight * positive), np.bincount(place, weight * ~positive)
        return _over(float(high @ (low.cumsum() - low / 2)), float(high.sum() * low.sum()))

    return found


def auc_within(scores: np.ndarray, positive: np.ndarray, task: np.ndarray, tasks: int) -> Statistic:
    """The share of pairs of one task, a positive and a negative, that scores [M] order rightly (ties half); all pairs alike."""
    order = np.lexsort((scores, task))
    s, p, t = scores[order], positive[order], task[order]
    new = np.append(True, (s[1:] != s[:-1]) | (t[1:] != t[:-1]))
    place = new.cumsum() - 1
    high, low, owner = np.bincount(place, p), np.bincount(place, ~p), t[new]
    per_task = np.bincount(task, ~positive, tasks)
    before = low.cumsum() - low - (per_task.cumsum() - per_task)[owner]  # negatives of the task with a lower score
    above = np.bincount(owner, high * (before + low / 2), tasks)
    pairs = np.bincount(task, positive, tasks) * per_task
    return lambda count: _over(count @ above, count @ pairs)


@dataclass(frozen=True)
class ReliabilityBin:
    """A bin of V and the share of its steps whose episode was solved, with the interval over tasks."""

    bin: Bin
    true: Measured


def reliability_bins(steps: Steps, tasks: int, bins: int = 10) -> list[ReliabilityBin]:
    """The bins of `rollouts.estimates.reliability`, with intervals."""
    place = bin_of(steps.value.tolist(), bins)
    found = []
    for each in reliability(steps.value.tolist(), steps.won.tolist(), bins):
        here = place == round(each.low * bins)
        found.append(ReliabilityBin(each, measured(mean_of(steps.won[here].astype(float), steps.task[here], tasks), tasks)))
    return found


@dataclass(frozen=True)
class Agreement:
    """The critic's advantage of a step, r + gamma V' - V, beside the policy's own, beta log(pi / ref)."""

    pearson: Measured
    spearman: Measured
    """Pearson's of the ranks, which stay those of the whole log in every draw"""
    sign: Measured
    """the share of steps where both are positive or both are not"""
    explicit: Measured
    """AUC within tasks: how well the critic's tells steps of won episodes from those of lost ones, of all steps but an episode's
    last, whose advantage has the reward in it"""
    implicit: Measured
    """the same of the policy's"""
    difference: Measured
    """implicit minus explicit, on the same tasks"""


def agreement(steps: Steps, tasks: int) -> Agreement:
    """Explicit against implicit advantages.

    Raises:
        ValueError: there are no implicit ones.
    """
    if steps.implicit is None:
        raise ValueError("implicit advantages are ratios to a reference: give the model that the policy's training started from")
    a, b = steps.advantage, steps.implicit
    rank_a, rank_b = ranks(a), ranks(b)
    early = ~steps.last
    explicit, implicit = (auc_within(x[early], steps.won[early], steps.task[early], tasks) for x in (a, b))
    return Agreement(
        pearson=measured(lambda count: correlation(a, b, count[steps.task]), tasks),
        spearman=measured(lambda count: correlation(rank_a, rank_b, count[steps.task]), tasks),
        sign=measured(mean_of(((a > 0) == (b > 0)).astype(float), steps.task, tasks), tasks),
        explicit=measured(explicit, tasks),
        implicit=measured(implicit, tasks),
        difference=measured(lambda count: implicit(count) - explicit(count), tasks),
    )


def correlation(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Pearson's correlation with weights; all float [M]. NaN where one of the two is constant."""
    total = weight.sum()
    x, y = x - weight @ x / total, y - weight @ y / total
    return _over(float(weight @ (x * y)), math.sqrt(float(weight @ x**2) * float(weight @ y**2)))


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 0, those of equal numbers their mean, float [M]."""
    place, number = np.unique(x, return_inverse=True, return_counts=True)[1:]
    return (number.cumsum() - (number + 1) / 2)[place]


def _over(x: Any, y: Any) -> float:
    return float(x / y) if y else math.nan
