from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.estimates import brier, percentiles, redrawn
from rollouts.stats import auc
from rollouts.step_reading import StepReading
from rollouts.value_quality import (
    Steps,
    agreement,
    auc_within,
    correlation,
    measured,
    quality,
    ranks,
    reliability_bins,
    weighted_auc,
)
from tests.rollouts.reported import episode

ROWS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 2)), min_size=1, max_size=12)


def steps_of(value: list[float], won: list[bool], task: list[int], last: list[bool] | None = None, **more: np.ndarray) -> Steps:
    n = len(value)
    zeros = np.zeros(n)
    return Steps(
        task=np.array(task),
        index=zeros.astype(int),
        position=zeros,
        last=np.array([False] * n if last is None else last),
        value=np.array(value),
        won=np.array(won),
        **({"advantage": zeros} | more),
    )


@given(ROWS)
def test_ranks_within_tasks_are_those_of_all_pairs(rows: list[tuple[int, bool, int]]) -> None:
    scores, won, task = (np.array(column) for column in zip(*rows, strict=True))
    found = auc_within(scores, won, task, 3)(np.ones(3))
    assert found == pytest.approx(auc(scores, won, [str(t) for t in task]), nan_ok=True)


@given(ROWS, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_a_task_drawn_twice_brings_its_pairs_twice(rows: list[tuple[int, bool, int]], copies: list[int]) -> None:
    scores, won, task = (np.array(column) for column in zip(*rows, strict=True))
    again = [(s, w, f"{t}, copy {c}") for s, w, t in rows for c in range(copies[t])]
    s, w, names = zip(*again, strict=True) if again else ((), (), ())
    found = auc_within(scores, won, task, 3)(np.array(copies, float))
    assert found == pytest.approx(auc(np.array(s), np.array(w), list(names)), nan_ok=True)


@given(ROWS, st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_a_weight_counts_as_so_many_rows(rows: list[tuple[int, bool, int]], copies: list[int]) -> None:
    scores, won, _ = (np.array(column) for column in zip(*rows, strict=True))
    weight = np.array(copies[: len(rows)])
    found = weighted_auc(scores, won)(weight.astype(float))
    assert found == pytest.approx(auc(np.repeat(scores, weight), np.repeat(won, weight)), nan_ok=True)


def test_quality_by_hand() -> None:
    """Task 0: won at 0.9 and lost at 0.4; task 1: lost at 0.8. Pairs: both right overall, one of one within tasks."""
    value, won = [0.9, 0.4, 0.8], [True, False, False]
    found = quality(steps_of(value, won, [0, 0, 1]), 2)
    assert found.brier.value == pytest.approx(brier(value, won)) == pytest.approx((0.01 + 0.16 + 0.64) / 3)
    assert found.constant == pytest.approx(2 / 9)
    assert found.ece == pytest.approx((0.1 + 0.4 + 0.8) / 3)
    assert (found.auc.value, found.within.value, found.success) == pytest.approx((1, 1, 1 / 3))


def test_nothing_to_rank_is_said() -> None:
    found = quality(steps_of([0.5, 0.6], [True, True], [0, 1]), 2)
    assert math.isnan(found.auc.value)
    assert str(found.within) == "-"


def test_no_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="no step"):
        quality(steps_of([], [], []), 1)


def test_intervals_are_of_tasks() -> None:
    """Two tasks with a hundred like steps each: a draw has none, one or two of the one that is solved."""
    steps = steps_of([0.5] * 200, [True] * 100 + [False] * 100, [0] * 100 + [1] * 100)
    (found,) = reliability_bins(steps, 2)
    assert (found.true.value, found.true.low, found.true.high) == (0.5, 0.0, 1.0)
    assert found.bin.count == 200


def test_draws_take_as_many_groups_as_there_are() -> None:
    drawn = np.array(list(redrawn(5, draws=200)))
    assert (drawn.sum(1) == 5).all()
    assert drawn.mean() == pytest.approx(1)
    assert percentiles(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)


def test_advantages_are_compared_before_the_last_step() -> None:
    """The explicit one tells nothing but at the last steps, which have the reward; the implicit one tells before."""
    explicit, implicit = np.array([0.0, 0.9, 0.0, -0.9]), np.array([0.2, 0.0, -0.1, 0.0])
    steps = steps_of(
        [0.5] * 4, [True, True, False, False], [0] * 4, [False, True, False, True], advantage=explicit, implicit=implicit
    )
    found = agreement(steps, 1)
    assert (found.explicit.value, found.implicit.value, found.difference.value) == (0.5, 1.0, 0.5)
    assert found.sign.value == pytest.approx(0.5)  # of the first and the second only one is positive
    assert found.pearson.value == pytest.approx(np.corrcoef(explicit, implicit)[0, 1])


def test_without_a_reference_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="reference"):
        agreement(steps_of([0.5], [True], [0]), 1)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=9))
def test_correlations_are_numpys(rows: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, float) for column in zip(*rows, strict=True))
    if x.std() and y.std():
        assert correlation(x, y, np.ones(len(x))) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert ranks(x).tolist() == [(x < each).sum() + ((x == each).sum() - 1) / 2 for each in x]


def test_a_statistic_that_all_tasks_share_has_no_spread() -> None:
    found = measured(lambda count: float(count.sum()), 4)
    assert (found.value, found.low, found.high) == (4, 4, 4)


def test_a_log_with_values_and_no_credits_has_steps_whose_advantage_is_unknown() -> None:
    steps, tasks = Steps.along([(episode("a", "x", "y"), [StepReading(value=0.5), StepReading()]), (episode("b"), [])])
    assert (steps.value.tolist(), steps.last.tolist(), tasks, steps.implicit) == ([0.5], [False], 2, None)
    assert math.isnan(steps.advantage[0])
