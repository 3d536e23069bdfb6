"""Values along an episode, from a critic or the log; numbers by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from rollouts.replay.values import Values, logged
from rollouts.trajectory import End, Step, Trajectory
from tests.rollouts.logs import plain, trajectories
from tests.rollouts.replay.sessions import Falling, episode


def with_steps(*steps: Step, end: End = End.TERMINATED) -> Trajectory:
    return Trajectory("E", "t", 0, steps, end, "lm")


def search(*candidates: Any) -> dict[str, Any]:
    return {"search": {"by": "beam", "candidates": list(candidates)}}


def test_advantages_of_logged_values() -> None:
    """V 0.5, 0.8, then won: 0 + 0.8 - 0.5 and 1 - 0.8."""
    found = logged(with_steps(Step("", "a", 0.0, value=0.5), Step("", "b", 1.0, value=0.8)))
    assert [step.advantage for step in found.steps] == pytest.approx([0.3, 0.2])
    assert found.source == "the log's values"
    assert found.drop == pytest.approx(-0.2)


def test_a_truncated_episode_has_earned_nothing() -> None:
    found = logged(with_steps(Step("", "a", 1.0, value=0.6), end=End.TRUNCATED))
    assert found.steps[0].advantage == pytest.approx(-0.6)


def test_a_logged_target_is_the_advantage() -> None:
    assert logged(with_steps(Step("", "a", 1.0, value=0.5, target=-0.25))).steps[0].advantage == -0.25


def test_values_behind_what_a_search_chose() -> None:
    """0.4 is behind the first action, so before the second; nothing is known before the first."""
    chosen = search({"action": "x", "value": 0.9}, {"action": "a\n", "value": 0.4})
    found = logged(with_steps(Step("q", "a\n", 0.0, info=chosen), Step("", "b", 0.0)))
    assert [step.value for step in found.steps] == [None, 0.4]
    assert [step.advantage for step in found.steps] == [None, -0.4]
    assert "search" in found.source


def test_a_value_behind_a_whole_response_is_none_of_its_steps() -> None:
    """0.7 is V where the response ends, and nothing is known of the state between its two steps."""
    chosen = search({"action": "a\nb\n", "value": 0.7})
    found = logged(with_steps(Step("q", "a\n", 0.0, info=chosen), Step("", "b\n", 0.0)))
    assert found.source == "" and [step.value for step in found.steps] == [None, None]


def test_a_search_without_values_gives_none() -> None:
    found = logged(with_steps(Step("q", "a\n", 0.0, info=search({"action": "a\n", "value": None})), Step("", "b", 1.0)))
    assert found.source == "" and math.isnan(found.drop)


def test_no_values() -> None:
    found = logged(episode("t", "a", "b"))
    assert found.source == "" and math.isnan(found.drop) and found.falls() == []


def test_falls_are_the_steps_that_lost_more_than_a_tenth() -> None:
    """The made-up critic says -0.3, -0.3 and, lost, -0.3; a small fall counts only where it is the largest."""
    assert Values(Falling(), "c").of(episode("t", "aa", "bb", "cc")).falls() == [0, 1, 2]
    small = logged(with_steps(Step("", "a", 0.0, target=0.05), Step("", "b", 0.0, target=-0.05)))
    assert small.falls() == [1]


def test_a_critic_reads_an_episode_once() -> None:
    class Counting(Falling):
        calls = 0

        def read(self, trajectories):  # type: ignore[no-untyped-def]
            self.calls += 1
            return super().read(trajectories)

    reader = Counting()
    values = Values(reader, "c")
    for seed in (0, 0, 1):
        values.of(episode("t", "aa", seed=seed))
    assert reader.calls == 2


def test_the_same_actions_in_another_log_are_read_on_their_own() -> None:
    """There they were answered by another reward: -0.9 where it was lost, 1 - 0.9 where it was won."""
    values = Values(Falling(), "c")
    lost, won = (values.of(episode("t", "aa", solved=solved)) for solved in (False, True))
    assert [lost.steps[0].advantage, won.steps[0].advantage] == pytest.approx([-0.9, 0.1])


@given(trajectories(least=1), plain)
def test_any_log_can_be_read(trajectory: Trajectory, info: Any) -> None:
    trajectory = replace(trajectory, steps=(replace(trajectory.steps[0], info={"search": info}), *trajectory.steps[1:]))
    assert len(logged(trajectory).steps) == len(trajectory.steps)
