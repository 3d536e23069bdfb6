"""Estimates against the enumeration of all sets, and by hand."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.estimates import (
    best_of_k,
    bootstrap,
    brier,
    calibration_error,
    mcnemar,
    mean_interval,
    pass_at_k,
    reliability,
    student,
    vote_of_k,
)

SAMPLES = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_sets_with_a_solved_one(solved: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(solved)))
    sets = list(combinations(solved, k))
    assert pass_at_k(len(solved), sum(solved), k) == pytest.approx(sum(map(any, sets)) / len(sets))


@given(SAMPLES, st.data())
def test_best_of_k_is_the_mean_over_all_sets(samples: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Of equal scores each is taken as often."""
    k = data.draw(st.integers(1, len(samples)))
    found = []
    for chosen in combinations(samples, k):
        most = max(score for score, _ in chosen)
        found.append(np.mean([good for score, good in chosen if score == most]))
    assert best_of_k(*zip(*samples, strict=True), k) == pytest.approx(np.mean(found))


def test_a_vote_by_hand() -> None:
    """Answers 1, 2, 2 of which 1 is right. Of two: {1, 2} twice, a tie, and {2, 2}: (1/2 + 1/2 + 0) / 3. Of three 2 wins."""
    answers, solved = [1, 2, 2], [True, False, False]
    assert vote_of_k(answers, solved, 1) == pytest.approx(1 / 3)
    assert vote_of_k(answers, solved, 2) == pytest.approx(1 / 3)
    assert vote_of_k(answers, solved, 3) == 0
    assert vote_of_k(answers, solved, 3, weights=[0.9, 0.4, 0.4]) == 1


def test_a_sample_without_an_answer_has_no_vote() -> None:
    assert vote_of_k([None, None, 5], [False, False, True], 3) == 1
    assert vote_of_k([None, None], [False, False], 2) == 0


def test_a_vote_over_many_sets_is_near_its_value() -> None:
    """20 samples of which 12 are right, against all other answers alike: the hypergeometric majority of 9."""
    answers = [1] * 12 + [2] * 8
    exact = sum(math.comb(12, right) * math.comb(8, 9 - right) for right in range(5, 10)) / math.comb(20, 9)
    assert vote_of_k(answers, [a == 1 for a in answers], 9) == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("k", [0, 4])
def test_more_samples_than_there_are(k: int) -> None:
    for call in (
        lambda: pass_at_k(3, 1, k),
        lambda: best_of_k([1, 2, 3], [True] * 3, k),
        lambda: vote_of_k([1, 2, 3], [True] * 3, k),
    ):
        with pytest.raises(ValueError, match="from 1 to the 3 samples"):
            call()


def test_mcnemar_by_hand() -> None:
    """Five gained and none lost: 2 / 2^5. Eight and two: 2 (1 + 10 + 45) / 2^10. None of either: nothing is said."""
    assert mcnemar(5, 0) == 2 / 32
    assert mcnemar(8, 2) == mcnemar(2, 8) == 2 * 56 / 1024
    assert mcnemar(3, 3) == 1
    assert mcnemar(0, 0) == 1


def test_the_bootstraps_interval_is_the_normal_ones_where_tasks_are_many() -> None:
    means = [float(i % 4 == 0) for i in range(400)]
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert bootstrap(means) == pytest.approx((0.25 - half, 0.25 + half), abs=0.005)
    assert bootstrap([1.0, 1.0]) == (1.0, 1.0)


def test_calibration_by_hand() -> None:
    """0.1 and 0.15 with one true: 0.125 against 0.5; 0.9 and 1.2, all true: 1.05 against 1."""
    predicted, true = [0.1, 0.15, 0.9, 1.2], [True, False, True, True]
    low, high = reliability(predicted, true)
    assert (low.count, low.predicted, low.true) == pytest.approx((2, 0.125, 0.5))
    assert (high.low, high.count, high.predicted) == pytest.approx((0.9, 2, 1.05))
    assert calibration_error([low, high]) == pytest.approx((2 * 0.375 + 2 * 0.05) / 4)
    assert brier(predicted, true) == pytest.approx((0.81 + 0.0225 + 0.01 + 0.04) / 4)
    assert math.isnan(brier([], []))
    assert math.isnan(calibration_error([]))


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (10, 2.228), (11, 2.201), (30, 2.042), (120, 1.980)])
def test_students_quantiles_are_those_of_tables(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, abs=0.003)


def test_the_interval_of_a_mean_by_hand() -> None:
    """1, 2, 3: the standard deviation is 1, the error 1 / sqrt(3), t with two degrees of freedom 4.303."""
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 2 - 4.303 / math.sqrt(3), 2 + 4.303 / math.sqrt(3)))


def test_values_of_one_group_count_as_one() -> None:
    """Each value five times in a group of its own says as much as each once."""
    groups = [name for name in "abc" for _ in range(5)]
    assert mean_interval([1] * 5 + [2] * 5 + [3] * 5, groups) == pytest.approx(mean_interval([1, 2, 3]))


def test_groups_that_are_alike_leave_no_doubt() -> None:
    """Two groups of 0 and 1 each: their sums of deviations are 0, whatever varies inside them."""
    assert mean_interval([0, 1, 0, 1], ["a", "a", "b", "b"]) == (0.5, 0.5, 0.5)


def test_one_group_has_no_interval() -> None:
    mean, low, high = mean_interval([0, 1], ["a", "a"])
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
