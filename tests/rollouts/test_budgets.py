"""Curves over budgets, by hand and on a small model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rollouts.budgets import Point, played_curve, shared_curves
from rollouts.trajectory import End, Step, Trajectory


def response(task: str, seed: int, answer: str, won: bool, value: float | None, tokens: int = 4) -> Trajectory:
    info = {} if value is None else {"search": {"by": "x", "candidates": [{"action": answer, "value": value}], "tokens": tokens}}
    return Trajectory("E", task, seed, (Step("q", answer, float(won), tuple(range(tokens)), info=info),), End.TERMINATED, "lm")


def votes(task: str, responses: Sequence[str]) -> list[int | None]:
    return [ord(text) for text in responses]


def by_search(points: list[Point]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for point in points:
        found.setdefault(point.search, {})[point.budget] = point.success.mean
    return found


SAMPLES = [
    response("a", 0, "x", True, 0.9),
    response("a", 1, "y", False, 0.5),
    response("a", 2, "y", False, 0.3),
    response("b", 0, "z", True, 0.1),
    response("b", 1, "z", True, 0.2),
    response("b", 2, "w", False, 0.7),
]


def test_all_budgets_are_of_the_same_samples() -> None:
    """Task a: of 3 one is solved, and V knows which. Task b: two are solved, and V prefers the other one.

    pass@2: a 2/3 (the sets with x), b 1. Best of 2: a 2/3, b 1/3 (the set z z). Vote of 3: a 0 (y y), b 1. By value: a .9 against
    .8, so 1; b .3 against .7, so 0.
    """
    found = by_search(shared_curves(SAMPLES, [1, 2, 3], votes))
    assert found["pass"] == pytest.approx({1: (1 / 3 + 2 / 3) / 2, 2: (2 / 3 + 1) / 2, 3: 1})
    assert found["best-response"] == pytest.approx({1: 0.5, 2: 0.5, 3: 0.5})
    assert found["vote"][3] == pytest.approx(0.5)
    assert found["value-vote"][3] == pytest.approx(0.5)


def test_tokens_grow_with_the_budget() -> None:
    points = shared_curves(SAMPLES, [1, 3], None)
    assert {point.budget: point.tokens for point in points} == {1: 4, 3: 12}


def test_without_a_critic_there_are_no_values_to_choose_by() -> None:
    plain = [response("a", seed, "x", seed == 0, None) for seed in range(2)]
    assert set(by_search(shared_curves(plain, [1, 2], votes))) == {"pass", "vote"}


def test_a_budget_beyond_the_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="a budget of 4 needs as many samples of each task, and one has 3"):
        shared_curves(SAMPLES, [4], None)


def test_gains_are_paired_by_task() -> None:
    """Budget 2 solves b on top of a: +1/2 where tasks are drawn; the tokens are those that were spent."""
    one = [response("a", 0, "x", True, 0.5, 4), response("b", 0, "x", False, 0.5, 4)]
    two = [response("b", 0, "x", True, 0.5, 9), response("a", 0, "x", True, 0.5, 9)]
    first, second = played_curve("beam", {1: one, 2: two})
    assert (first.gain.mean, first.gain.low, first.gain.high) == (0, 0, 0)
    assert (second.success.mean, second.gain.mean, second.tokens) == (1, 0.5, 9)
