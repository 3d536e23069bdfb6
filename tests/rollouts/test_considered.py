"""What a search considered, by what it left in a log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from rollouts.considered import Candidate, considered
from rollouts.trajectory import End, Step, Trajectory
from tests.rollouts.logs import plain, trajectories


def search(*candidates: Any) -> dict[str, Any]:
    return {"search": {"by": "beam", "candidates": list(candidates)}}


def found(*steps: Step) -> list[list[Candidate]]:
    return considered(Trajectory("E", "t", 0, steps, End.TERMINATED, "lm"))


def test_the_best_comes_first_and_the_action_that_was_done_is_the_chosen_one() -> None:
    info = search({"action": "look", "value": 0.9}, {"action": "look at it", "value": 1}, {"action": "go", "value": None})
    assert found(Step("q", "look", 0.0, info=info), Step("then", "go", 0.0)) == [
        [Candidate("look at it", 1.0, False), Candidate("look", 0.9, True), Candidate("go", None, False)],
        [],
    ]


def test_of_responses_that_begin_alike_the_one_that_was_done_is_chosen() -> None:
    info = search({"action": "a\nb\n#### 1", "value": 0.7}, {"action": "a\nc\n#### 2", "value": 0.1})
    first, *others = found(Step("q", "a\n", 0.0, info=info), Step("", "c\n", 0.0), Step("", "#### 2", 0.0))
    assert [each.chosen for each in first] == [False, True]
    assert others == [[], []]


def test_a_response_is_chosen_though_the_episode_ended_before_it() -> None:
    """The environment took #### 1 for the end."""
    info = search({"action": "b\n", "value": 0.1}, {"action": "a\n#### 1\nand more", "value": 0.7})
    first, _ = found(Step("q", "a\n", 0.0, info=info), Step("", "#### 1\n", 0.0))
    assert [each.chosen for each in first] == [True, False]


def test_what_every_step_of_a_response_repeats_is_said_once() -> None:
    info = search({"action": "a\nb", "value": 0.4})
    assert [len(each) for each in found(Step("q", "a\n", 0.0, info=info), Step("", "b", 0.0, info=info))] == [1, 0]


@pytest.mark.parametrize("info", [{"search": 1}, {"search": {}}, search(3, {"action": 1}, {}), {"search": {"candidates": "x"}}])
def test_another_programs_info_is_no_search(info: dict[str, Any]) -> None:
    assert found(Step("", "a", 0.0, info=info)) == [[]]


def test_another_programs_value_is_none() -> None:
    assert found(Step("", "a", 0.0, info=search({"action": "a", "value": "high"}))) == [[Candidate("a", None, True)]]


@given(trajectories(least=1), plain)
def test_any_log_can_be_read(trajectory: Trajectory, info: Any) -> None:
    trajectory = replace(trajectory, steps=(replace(trajectory.steps[0], info={"search": info}), *trajectory.steps[1:]))
    assert len(considered(trajectory)) == len(trajectory.steps)
