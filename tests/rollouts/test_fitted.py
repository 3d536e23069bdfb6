"""Fitted Q evaluation of sequences with a feature for each state, against dynamic programming."""

from __future__ import annotations

import numpy as np
import pytest

from rollouts import fitted
from rollouts.fitted import Transitions, fit_value
from tests.rollouts.test_off_policy import Sequences


def transitions(world: Sequences, blocks: int) -> tuple[Transitions, list[tuple[int, ...]]]:
    """All episodes, once a block, with a feature for each state; and the state of each decision."""
    states = [episode[:t] for episode in world.episodes for t in range(len(episode))] * blocks
    names = sorted(set(states))
    flat = [(e[:t], a) for e in world.episodes for t, a in enumerate(e)] * blocks
    lengths = [len(episode) for episode in world.episodes] * blocks
    data = Transitions(
        states=np.eye(len(names))[[names.index(state) for state in states]],
        ratio=np.array([world.pi(s)[a] / world.mu(s)[a] for s, a in flat]),
        reward=np.array([world.reward(s, a) for s, a in flat]),
        first=np.cumsum(lengths) - lengths,
        block=np.repeat(np.arange(blocks), len(world.episodes)),
    )
    return data, states


@pytest.mark.parametrize("seed", range(3))
def test_every_state_has_the_value_of_dynamic_programming(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted, "RIDGE", 1e-9)
    world = Sequences(seed)
    data, states = transitions(world, 3)
    found = fit_value(data, draws=5)
    assert found.mean == pytest.approx(world.value(), abs=1e-5)
    np.testing.assert_allclose(found.values, [world.value(state) for state in states], atol=1e-5)
    np.testing.assert_allclose(found.draws, world.value(), atol=1e-5)


def test_a_block_is_valued_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two one-step blocks of one state, that earn 1 and 0: of each is said what the other earned."""
    monkeypatch.setattr(fitted, "RIDGE", 1e-9)
    rewards = np.array([1.0, 1.0, 0.0, 0.0])
    data = Transitions(np.ones((4, 1)), np.ones(4), rewards, np.arange(4), np.array([5, 5, 9, 9]))
    found = fit_value(data, draws=20)
    np.testing.assert_allclose(found.values, 1 - rewards, atol=1e-6)
    assert found.mean == pytest.approx(0.5)
    assert set(found.draws.round(6)) == {0.0, 0.5, 1.0}


def test_episodes_of_one_block_say_nothing_of_another() -> None:
    with pytest.raises(ValueError, match="at least two"):
        fit_value(Transitions(np.ones((2, 1)), np.ones(2), np.ones(2), np.arange(2), np.zeros(2, int)))


def test_rounds_that_do_not_settle_are_an_error() -> None:
    """A state whose weighted successor is twice as large grows for ever (Tsitsiklis and Van Roy's w, 2w)."""
    states = np.tile([[1.0], [2.0]], (4, 1))
    data = Transitions(states, np.tile([1.0, 1e-6], 4), np.tile([0.0, 1.0], 4), np.arange(0, 8, 2), np.arange(4))
    with pytest.raises(FloatingPointError, match="does not settle"):
        fit_value(data, draws=1)
