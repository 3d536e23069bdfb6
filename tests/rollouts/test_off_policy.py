"""Estimators on a small MDP of sequences, all of whose episodes are there as often as the behaviour policy plays them.

The behaviour's probabilities are quarters, so that 4^H episodes are its exact distribution, and an unbiased estimator must give
the very value that dynamic programming gives. Rewards lie on the way; action 2 ends an episode early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollouts.off_policy import Decisions, Sums, effective_size, largest_share, per_decision, whole

HORIZON = 3
QUARTERS = [(2, 1, 1), (1, 1, 2), (1, 2, 1)]
Prefix = tuple[int, ...]


@dataclass(frozen=True)
class Sequences:
    """Three actions; a state is the actions before it."""

    seed: int

    def mu(self, state: Prefix) -> np.ndarray:
        return np.array(QUARTERS[sum(state) % 3]) / 4

    def pi(self, state: Prefix) -> np.ndarray:
        weights = np.random.default_rng([self.seed, 1, *state]).uniform(0.1, 1, 3)
        return weights / weights.sum()

    def reward(self, state: Prefix, action: int) -> float:
        return float(np.random.default_rng([self.seed, 2, *state, action]).normal())

    def over(self, state: Prefix) -> bool:
        return len(state) == HORIZON or state[-1:] == (2,)

    def value(self, state: Prefix = ()) -> float:
        return 0.0 if self.over(state) else float(self.pi(state) @ [self.q(state, action) for action in range(3)])

    def q(self, state: Prefix, action: int) -> float:
        return self.reward(state, action) + self.value((*state, action))

    @cached_property
    def episodes(self) -> list[Prefix]:
        def after(state: Prefix, copies: int) -> list[Prefix]:
            if self.over(state):
                return [state] * copies
            return [each for action in range(3) for each in after((*state, action), round(copies * self.mu(state)[action]))]

        return after((), 4**HORIZON)

    def table(self, of: object) -> np.ndarray:
        """A number for each decision of each episode, [N, S]."""
        found = np.zeros((len(self.episodes), HORIZON))
        for row, episode in enumerate(self.episodes):
            for t, action in enumerate(episode):
                found[row, t] = of(episode[:t], action)  # type: ignore[operator]
        return found

    def decisions(self) -> Decisions:
        ratio = self.table(lambda s, a: math.log(self.pi(s)[a] / self.mu(s)[a]))
        return Decisions(ratio, self.table(self.reward), np.arange(len(self.episodes)))


WORLDS = st.builds(Sequences, st.integers(0, 10**6))


def once(sums: Sums) -> np.ndarray:
    return np.ones(len(sums.episodes))


@given(WORLDS)
@settings(max_examples=20)
def test_importance_sampling_is_exact_on_all_episodes(world: Sequences) -> None:
    for sums in (whole(world.decisions()), per_decision(world.decisions())):
        assert sums.plain(once(sums)) == pytest.approx(world.value(), abs=1e-9)


@given(WORLDS)
@settings(max_examples=20)
def test_doubly_robust_is_exact_whatever_v_is_said_of_states(world: Sequences) -> None:
    v = world.table(lambda s, _: np.random.default_rng([world.seed, 3, *s]).normal())
    sums = per_decision(world.decisions(), q=v)
    assert sums.plain(once(sums)) == pytest.approx(world.value(), abs=1e-9)


@given(WORLDS)
@settings(max_examples=20)
def test_doubly_robust_is_exact_whatever_q_is_where_v_is_its_mean(world: Sequences) -> None:
    def guess(state: Prefix) -> np.ndarray:
        return np.random.default_rng([world.seed, 4, *state]).normal(size=3)

    q, v = world.table(lambda s, a: guess(s)[a]), world.table(lambda s, _: world.pi(s) @ guess(s))
    sums = per_decision(world.decisions(), q=q, v=v)
    assert sums.plain(once(sums)) == pytest.approx(world.value(), abs=1e-9)


@given(WORLDS)
@settings(max_examples=20)
def test_normalised_estimators_agree_where_the_weights_have_their_mean(world: Sequences) -> None:
    """On all episodes the weights' mean is 1 at every step, so that nothing is left to normalise: they are consistent."""
    decisions = world.decisions()
    v = world.table(lambda s, _: float(len(s)) - 0.3)
    assert np.exp(decisions.log_weights()).mean(0) == pytest.approx(np.ones(HORIZON), abs=1e-9)
    for sums in (whole(decisions), per_decision(decisions), per_decision(decisions, q=v)):
        assert sums.normalised(once(sums)) == pytest.approx(world.value(), abs=1e-9)


@given(WORLDS, st.integers(0, 63))
@settings(max_examples=20)
def test_with_the_exact_q_every_episode_says_the_value(world: Sequences, number: int) -> None:
    """Without chance in the transitions the correction is 0 at each step: no variance is left."""
    q, v = world.table(world.q), world.table(lambda s, _: world.value(s))
    sums = per_decision(world.decisions(), q=q, v=v)
    alone = np.eye(len(sums.episodes))[number]
    assert sums.plain(alone) == pytest.approx(world.value(), abs=1e-9)
    assert sums.normalised(alone) == pytest.approx(world.value(), abs=1e-9)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=8))
def test_the_policy_that_played_has_its_mean_return(rewards: list[list[float]]) -> None:
    reward = np.array(rewards)
    decisions = Decisions(np.zeros_like(reward), reward, np.arange(len(reward)))
    for sums in (whole(decisions), per_decision(decisions), per_decision(decisions, q=reward)):
        for estimator in (sums.plain, sums.normalised):
            assert estimator(once(sums)) == pytest.approx(reward.sum(1).mean(), abs=1e-9)
    assert effective_size(decisions.log_weights()[:, -1]) == pytest.approx(len(reward))


@given(st.integers(0, 10**6))
def test_a_reward_at_the_end_makes_per_decision_sampling_the_ordinary_one(seed: int) -> None:
    """The episodes end at different steps: PDIS is IS, and PDWIS is not WIS, whose sums are of last weights only."""
    world = Sequences(seed)
    decisions = world.decisions()
    ends = np.arange(HORIZON) == (np.array([len(e) for e in world.episodes]) - 1)[:, None]
    chosen = np.random.default_rng(seed).permutation(len(world.episodes))[:9]
    last = Decisions(decisions.log_ratio[chosen], (decisions.reward * ends)[chosen], np.arange(9))
    one, each = whole(last), per_decision(last)
    assert each.plain(np.ones(9)) == pytest.approx(one.plain(np.ones(9)), rel=1e-9)


def test_weights_that_no_float_holds() -> None:
    """e^2000 and e^1999: WIS is (1 + 0 / e) / (1 + 1/e) = 0.731; IS is infinite, and says so."""
    decisions = Decisions(np.array([[2000.0], [1999.0], [-3000.0]]), np.array([[1.0], [0.0], [0.0]]), np.arange(3))
    sums = whole(decisions)
    assert sums.normalised(np.ones(3)) == pytest.approx(1 / (1 + math.exp(-1)))
    assert sums.plain(np.ones(3)) == math.inf


def test_clipped_weights_by_hand() -> None:
    """Weights 4 and 1/2 clipped at 2, returns 1 and 0: IS 2 / 2, WIS 2 / 2.5; behind a clipped product the next is clipped too."""
    decisions = Decisions(np.log([[4.0, 0.25], [0.5, 1.0]]), np.array([[0.0, 1.0], [0.0, 0.0]]), np.arange(2))
    np.testing.assert_allclose(np.exp(decisions.log_weights(2.0)), [[2, 1], [0.5, 0.5]])
    one_step = Decisions(np.log([[4.0], [0.5]]), np.array([[1.0], [0.0]]), np.arange(2))
    sums = whole(one_step, 2.0)
    assert (sums.plain(np.ones(2)), sums.normalised(np.ones(2))) == pytest.approx((1.0, 0.8))


def test_effective_size_by_hand() -> None:
    """Weights 1, 1, 2: (1 + 1 + 2)^2 / (1 + 1 + 4), the largest has half of all."""
    log_weight = np.log([1.0, 1.0, 2.0]) + 900
    assert effective_size(log_weight) == pytest.approx(16 / 6)
    assert largest_share(log_weight) == pytest.approx(0.5)


def test_a_task_that_is_taken_twice_counts_twice() -> None:
    """Tasks 0 (returns 1, 0) and 7 (return 1): (2 (1 + 0) + 1) / 5."""
    decisions = Decisions(np.zeros((3, 1)), np.array([[1.0], [1.0], [0.0]]), np.array([0, 7, 0]))
    assert whole(decisions).plain(np.array([2.0, 1.0])) == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("log_ratio", "reward", "task", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, int), "at least one of each"),
        (np.zeros((2, 2)), np.zeros((2, 1)), np.zeros(2, int), "do not fit"),
        (np.full((1, 1), np.inf), np.zeros((1, 1)), np.zeros(1, int), "log_ratio is not finite"),
    ],
)
def test_what_is_no_episodes(log_ratio: np.ndarray, reward: np.ndarray, task: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decisions(log_ratio, reward, task)
