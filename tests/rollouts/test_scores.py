"""What an evaluation's episodes say, counted by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rollouts.scores import Estimate, Scores, sampled_tokens, spent_tokens
from rollouts.trajectory import End, Step, Trajectory


def episode(task: str, won: bool, seed: int = 0, tokens: int = 2, env_id: str = "MathReason-v0", **info: Any) -> Trajectory:
    step = Step("q", "a", float(won), tuple(range(tokens)), info=info)
    return Trajectory(env_id, task, seed, (step,), End.TERMINATED, "lm")


def test_pass_at_k_is_a_mean_over_tasks() -> None:
    """One of two solved: pass@1 is 1/2, pass@2 is 1. None of two: 0 and 0."""
    found = Scores.of(
        episode(task, won, seed) for task, seed, won in [("a", 0, True), ("a", 1, False), ("b", 0, False), ("b", 1, False)]
    )
    assert {k: estimate.mean for k, estimate in found.pass_at().items()} == {1: 0.25, 2: 0.5}


def test_pass_at_k_is_of_as_many_as_every_task_has() -> None:
    found = Scores.of([episode("a", True, seed) for seed in range(5)] + [episode("b", True, seed) for seed in range(3)])
    assert list(found.pass_at()) == [1, 2, 3]


def test_one_episode_of_each_task_has_no_pass_at_k() -> None:
    assert Scores.of([episode("a", True), episode("b", False)]).pass_at() == {}


def test_seeds_are_thousands() -> None:
    """Seed 0 solves both, seed 1 one of two: mean 3/4, standard deviation sqrt(2) / 4."""
    wins = [("a", 0, True), ("b", 0, True), ("a", 1000, True), ("b", 1000, False)]
    mean, deviation = Scores.of(episode(task, won, seed) for task, seed, won in wins).seeds
    assert (mean, deviation) == pytest.approx((0.75, math.sqrt(2) / 4))


def test_samples_of_a_seed_are_one_seed() -> None:
    assert math.isnan(Scores.of([episode("a", True, 0), episode("a", False, 1)]).seeds[1])


def test_success_by_level_and_subject() -> None:
    found = Scores.of(
        [
            episode("test/1", True, level=10, subject="Algebra"),
            episode("test/2", False, level=2, subject="Algebra"),
            episode("test/3", True, level=2, subject="Algebra"),
        ]
    ).groups()
    assert {level: summary.success for level, summary in found["level"].items()} == {"2": 0.5, "10": 1.0}
    assert list(found["level"]) == ["2", "10"]
    assert "subject" not in found  # there is only one


def test_success_by_the_type_of_a_household_task() -> None:
    names = ["look_at_obj_in_light-Mug-None-DeskLamp-308/t", "pick_two_obj_and_place-Mug-None-Desk-308/t"]
    found = Scores.of(episode(name, True, env_id="AlfWorld-v0") for name in names).groups()
    assert list(found["kind of task"]) == ["look_at_obj_in_light", "pick_two_obj_and_place"]


def test_actions_that_are_not_admissible() -> None:
    steps = (Step("a room", "fly", 0.0), Step("Nothing happens.", "look", 0.0), Step("a mug", "swim", 0.0))
    found = Scores.of([Trajectory("AlfWorld-v0", "t/t", 0, steps, End.TRUNCATED, "lm", final="Nothing happens.")])
    assert found.invalid == 2
    assert found.to_json()["invalid_actions"] == pytest.approx(2 / 3)


def test_tokens_that_a_search_only_tried_are_spent_too() -> None:
    plain = episode("a", True, tokens=3)
    searched = episode("a", True, tokens=3, search={"by": "x", "candidates": [], "tokens": 12})
    assert (sampled_tokens(plain), spent_tokens(plain)) == (3, 3)
    assert (sampled_tokens(searched), spent_tokens(searched)) == (3, 12)


def test_the_interval_of_a_mean_holds_it() -> None:
    found = Estimate.over([0.0, 1.0] * 50)
    assert 0.38 < found.low < found.mean == 0.5 < found.high < 0.62
