"""What a set of samples says of smaller sets, of two agents' difference, and of a value's probabilities."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

SUBSETS = 1000
"""Sets of samples that a vote is averaged over where there are more of them than that."""


def pass_at_k(samples: int, solved: int, k: int) -> float:
    """The probability that one of k samples is solved, without bias from n of them: 1 - C(n - c, k) / C(n, k).

    (Chen et al. 2021, arXiv 2107.03374, eq. 1.)

    Raises:
        ValueError: k is not between 1 and the number of samples.
    """
    _check(samples, k)
    return 1 - math.comb(samples - solved, k) / math.comb(samples, k)


def best_of_k(scores: Sequence[float], solved: Sequence[bool], k: int) -> float:
    """The expected success of the sample with the largest score among k that are drawn from these without replacement.

    The largest score of a draw is s with the probability that all of it are at most s, less that all are below s; of equal scores
    each is as likely.

    Raises:
        ValueError: k is not between 1 and the number of samples.
    """
    _check(len(scores), k)
    order = np.argsort(scores, kind="stable")
    ordered, good = np.asarray(scores, float)[order], np.asarray(solved, float)[order]
    found, all_sets = 0.0, math.comb(len(scores), k)
    first = 0
    while first < len(ordered):
        last = int(np.searchsorted(ordered, ordered[first], "right"))
        share = (math.comb(last, k) - math.comb(first, k)) / all_sets
        found += share * float(good[first:last].mean())
        first = last
    return found


def vote_of_k(
    answers: Sequence[Hashable | None], solved: Sequence[bool], k: int, weights: Sequence[float] | None = None, seed: int = 0
) -> float:
    """The expected success of a vote among k samples that are drawn from these without replacement.

    The answer with the largest sum of weights (by default the most votes) wins; of equal ones each is as likely. Samples whose
    answer is None do not vote; where none votes the vote fails. Over all sets where there are at most `SUBSETS`, else over as many
    random ones.

    Raises:
        ValueError: k is not between 1 and the number of samples.
    """
    _check(len(answers), k)
    if math.comb(len(answers), k) <= SUBSETS:
        sets = list(combinations(range(len(answers)), k))
    else:
        rng = np.random.default_rng(seed)
        sets = [tuple(rng.permutation(len(answers))[:k].tolist()) for _ in range(SUBSETS)]
    right = {answer for answer, good in zip(answers, solved, strict=True) if good}
    total = 0.0
    for chosen in sets:
        tally: Counter[Hashable] = Counter()
        for index in chosen:
            if answers[index] is not None:
                tally[answers[index]] += 1.0 if weights is None else weights[index]  # type: ignore[assignment]
        most = max(tally.values(), default=None)
        winners = [answer for answer, votes in tally.items() if votes == most]
        total += sum(answer in right for answer in winners) / max(len(winners), 1)
    return total / len(sets)


def bootstrap(means: Sequence[float], seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """The 95% percentile interval of the mean of tasks' means, over tasks drawn anew with replacement."""
    values = np.asarray(means, float)
    return percentiles(np.array([count @ values / len(values) for count in redrawn(len(values), draws, seed)]))


STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5% quantile of Student's t with 1 to 10 degrees of freedom."""


def student(freedom: int) -> float:
    """The 97.5% quantile of Student's t; beyond 10 degrees of freedom by its expansion (error below 0.003)."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = 1.959963984540054
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def mean_interval(values: Sequence[float], groups: Sequence[Hashable] | None = None) -> tuple[float, float, float]:
    """A mean and its 95% interval, by Student's t over groups; the bounds are NaN where there is one group only.

    Values of one group (the steps of a task) are more alike than others: what counts is how the groups' sums of deviations vary,
    the variance that is robust to clusters (Liang and Zeger 1986). Without groups each value is one: the usual interval, of runs.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("the mean of no values was asked for: give at least one")
    x = np.asarray(values, float)
    mean = float(x.mean())
    index: dict[Hashable, int] = {}
    place = [index.setdefault(group, len(index)) for group in (range(len(x)) if groups is None else groups)]
    if len(index) < 2:
        return mean, math.nan, math.nan
    sums = np.bincount(place, x - mean, len(index))
    error = math.sqrt(float(np.square(sums).sum()) * len(index) / (len(index) - 1)) / len(x)
    half = student(len(index) - 1) * error
    return mean, mean - half, mean + half


def redrawn(groups: int, draws: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each of the groups is taken where as many are drawn with replacement, so many times; each float [groups]."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(rng.integers(groups, size=groups), minlength=groups).astype(float)


def percentiles(drawn: np.ndarray) -> tuple[float, float]:
    """The 95% percentile interval of a statistic's draws, float [draws]; those that are NaN have no say."""
    there = drawn[~np.isnan(drawn)]
    low, high = np.quantile(there, [0.025, 0.975]) if len(there) else (math.nan, math.nan)
    return float(low), float(high)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value that as many tasks are gained as lost (McNemar 1947): a fair coin's, for those that differ."""
    differing, fewer = gained + lost, min(gained, lost)
    if not differing:
        return 1.0
    tail = sum(math.comb(differing, i) for i in range(fewer + 1)) / 2**differing
    return min(1.0, 2 * tail)


@dataclass(frozen=True)
class Bin:
    """Predictions between two bounds: how many, their mean, and the share that came true."""

    low: float
    high: float
    count: int
    predicted: float
    true: float


def bin_of(predicted: Sequence[float], bins: int = 10) -> np.ndarray:
    """Which bin of equal width each prediction is in, int [n]; what is below 0 or above 1 is in the first or last."""
    return np.clip((np.asarray(predicted, float) * bins).astype(int), 0, bins - 1)


def reliability(predicted: Sequence[float], true: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Predictions in bins of equal width; what is below 0 or above 1 is in the first or last. Empty bins are left out."""
    p, y = np.asarray(predicted, float), np.asarray(true, float)
    place = bin_of(predicted, bins)
    found = []
    for index in range(bins):
        here = place == index
        if here.any():
            found.append(Bin(index / bins, (index + 1) / bins, int(here.sum()), float(p[here].mean()), float(y[here].mean())))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of a prediction's bin from what came true (Naeini et al. 2015)."""
    total = sum(found.count for found in bins)
    return sum(found.count * abs(found.predicted - found.true) for found in bins) / total if total else math.nan


def brier(predicted: Sequence[float], true: Sequence[bool]) -> float:
    """The mean squared distance of predictions from what came true (Brier 1950)."""
    return float(np.mean((np.asarray(predicted, float) - np.asarray(true, float)) ** 2)) if len(predicted) else math.nan


def _check(samples: int, k: int) -> None:
    if not 1 <= k <= samples:
        raise ValueError(f"k={k}: wanted a number from 1 to the {samples} samples that there are")
