from __future__ import annotations

import math

import numpy as np
import pytest

from rollouts.stats import Tally, auc, effective_episodes, paired_difference, wilson
from rollouts.trajectory import End, Step, Trajectory


def episode(task: str, reward: float, end: End = End.TERMINATED) -> Trajectory:
    return Trajectory("E", task, 0, (Step("o", "a", reward, info={"outcome": "correct" if reward else "wrong"}),), end, "lm")


def test_wilson_by_hand() -> None:
    """8 of 10 with z = 2: centre (0.8 + 4 / 20) / 1.4 = 0.714286, half sqrt(0.016 + 4 / 400) * 2 / 1.4 = 0.230350."""
    low, high = wilson(8, 10, z=2)
    assert (low, high) == pytest.approx((0.714286 - 0.230350, 0.714286 + 0.230350), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)
    assert all(wilson(0, n)[0] == 0.0 and wilson(n, n)[1] == 1.0 for n in range(1, 100))


@pytest.mark.parametrize(
    ("solved_by_task", "effective"),
    [
        ((1, 0, 1, 0), 4),  # each task once
        ((2, 0, 2, 0), 3),  # p = 1/2; sums off the mean by 1: 4 * 4 / 3 over 8^2 episodes squared is 1 / 12, and 1/4 / (1 / 12) = 3
        ((2, 1, 1, 0), 6),  # sums off by 1, 0, 0, 1: half the variance
        ((1, 1, 1, 1), 8),  # tasks do not differ
        ((2, 2, 2, 2), 4),  # nothing says how much they do
    ],
)
def test_samples_of_one_task_count_for_less_by_hand(solved_by_task: tuple[int, ...], effective: float) -> None:
    samples = 1 if effective == 4 and set(solved_by_task) == {0, 1} else 2
    assert effective_episodes(np.full(4, samples), np.array(solved_by_task)) == pytest.approx(effective, abs=1e-12)
    summary = Tally(
        episode(str(task), float(i < solved)) for i in range(samples) for task, solved in enumerate(solved_by_task)
    ).summary()
    assert (summary.low, summary.high) == pytest.approx(wilson(summary.success * effective, effective), abs=1e-12)


def test_an_episode_that_was_cut_off_is_not_solved() -> None:
    summary = Tally(
        [episode("a", 1.0), episode("b", 1.0, End.TRUNCATED), episode("c", 0.0), episode("d", 1.0, End.ERROR)]
    ).summary()
    assert (summary.solved, summary.episodes, summary.success) == (1, 4, 0.25)
    assert summary.ends == {"terminated": 2, "truncated": 1, "error": 1}


def test_a_tally_says_what_there_was() -> None:
    tally = Tally()
    assert (tally.episodes, tally.summary().success, tally.summary().high) == (0, 0.0, 1.0)
    for t in (episode("a", 1.0), episode("b", 0.0), Trajectory("E", "c", 0, (), End.ERROR, "lm", final="it broke")):
        tally.add(t)
    tally.add(episode("d", 0.0, End.ERROR))
    assert (tally.episodes, tally.solved, tally.steps, tally.error) == (4, 1, 3, "c: it broke")
    assert tally.outcomes == {"correct": 1, "wrong": 2}


def test_paired_difference_by_hand() -> None:
    """Four tasks, two gained, one lost: mean 1/4. With half a task in each cell: centre 1/6, standard error
    sqrt(4 - 1/6) / 6 = 0.326315, half 0.639565.
    """
    a = [episode("a", 0), episode("b", 0), episode("c", 1), episode("d", 1)]
    b = [episode("d", 1), episode("c", 0), episode("b", 1), episode("a", 1)]
    found = paired_difference(a, b)
    assert (found.mean, found.gained, found.lost, found.tasks) == (0.25, 2, 1, 4)
    assert (found.low, found.high) == pytest.approx((1 / 6 - 0.639565, 1 / 6 + 0.639565), abs=1e-5)
    same = paired_difference(a, a)
    assert same.mean == 0
    assert same.high > 0.2
    with pytest.raises(ValueError, match="share no"):
        paired_difference(a, [episode("z", 1)])


def test_auc_by_hand() -> None:
    """Positives .9 and .4 against .4 and .1: three pairs above and one tie, 3.5 of 4. Within groups: .9 above .4, .4 above .1."""
    scores, positive = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, False, True, False])
    assert auc(scores, positive) == 3.5 / 4
    assert auc(scores, positive, ["a", "a", "b", "b"]) == 1
    assert auc(scores, positive, ["a", "b", "b", "c"]) == 1 / 2
    assert math.isnan(auc(scores, positive, ["a", "b", "c", "d"]))
