"""MathReason-v0: episodes, steps, and the generator."""

from __future__ import annotations

import copy
import pickle
import re
from fractions import Fraction
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.grading import Grade, Outcome, grade
from envs.math_reason.env import MathReasonEnv
from envs.math_reason.generator import FAMILIES, arithmetic
from envs.problem_env import DELIMITERS, segment
from envs.problems import Listed, Problem, Scored
from tests.envs.data import data_dir

ROW = {"question": "2 + 3?", "answer": "2 + 3 = 5\n#### 5"}


def play(env: MathReasonEnv, *actions: str, **reset: Any) -> list[tuple[float, bool, bool, str | None]]:
    """Return (reward, terminated, truncated, outcome) of each action until the episode ends."""
    env.reset(options={"task": 0}, **reset)
    results = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation == "" and info["task"] == env.tasks[0] and ("outcome" in info) == (terminated or truncated)
        results.append((reward, terminated, truncated, info.get("outcome")))
        if terminated or truncated:
            break
    return results


GO = (0.0, False, False, None)
SOLVED = (1.0, True, False, "correct")


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["2 + 3 = 5\n", "#### 5"], [GO, SOLVED]),
        (["2 + 3 = 5\n", "#### 5\n", "more"], [GO, SOLVED]),  # a final answer ends it, delimiter or not
        (["2 + 3 = 5"], [SOLVED]),  # no delimiter: the turn was closed; the last number is graded
        (["2 + 3 = 5\n", ""], [GO, SOLVED]),  # the turn closed right after a line
        (["2 + 3 = 5\n", "\n"], [GO, SOLVED]),  # a blank line is no step
        (["2 + 3\n= ", "5\n", "#### 5\n"], [GO, GO, SOLVED]),  # a token spanned the delimiter
        (["2 + 3 = 5\n#### 1", "2\n"], [GO, (0.0, True, False, "wrong")]),  # "#### 1" was not complete
        (["2 + 3 = 5\n#### 5", "\n"], [GO, SOLVED]),
        (["2 + 3 = 6\n", "#### 6"], [GO, (0.0, True, False, "wrong")]),
        (["no idea"], [(0.0, True, False, "unparseable")]),
        (["5\n", "5\n", "5\n"], [GO, GO, (0.0, False, True, "unparseable")]),  # the limit truncates and never solves
        (["5\n", "5\n", "#### 5\n"], [GO, GO, SOLVED]),  # an answer at the limit is in time
    ],
)
def test_how_an_episode_ends(actions: list[str], expected: list[Any]) -> None:
    env = MathReasonEnv([ROW], max_steps=3)
    assert play(env, *actions) == expected
    with pytest.raises(gym.error.ResetNeeded):
        env.step("again\n")


def test_a_response_is_one_action() -> None:
    env = MathReasonEnv([ROW], level="response")
    assert play(env, "a\nb\n#### 5\n") == [SOLVED]
    assert play(env, "") == [(0.0, True, False, "unparseable")]


def test_reset_gives_the_problem_by_its_template_and_the_solution_beside() -> None:
    env = MathReasonEnv([ROW], prompt="{question}\nThink.")
    observation, info = env.reset()
    assert observation == "2 + 3?\nThink."
    assert info == {"task": "problems/000000", "solution": ROW["answer"], "answer": "5"}


@pytest.mark.parametrize("rule", DELIMITERS)
def test_worked_solutions_win_step_by_step(rule: str) -> None:
    env = MathReasonEnv(segment=rule, difficulty=3)
    for task in range(20):
        _, info = env.reset(options={"task": task})
        results = [env.step(piece) for piece in env.segment(info["solution"])]
        assert [r[2] for r in results] == [False] * (len(results) - 1) + [True]
        assert results[-1][1] == 1.0 and len(results) == (1 if rule == "blank" else 4)


TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["\n", ". ", ".$ ", ".", "$", " ", "a", "\n\n", "\t"]), max_size=20).map("".join),
)


@given(TEXTS, TEXTS, st.sampled_from(list(DELIMITERS)))
def test_segments_join_and_are_causal(text: str, more: str, rule: str) -> None:
    pieces = segment(text, rule)
    assert "".join(pieces) == text
    assert all(piece.strip() and piece.endswith(DELIMITERS[rule]) for piece in pieces[:-1])
    assert segment(text + more, rule)[: len(pieces) - 1] == pieces[:-1]
    for piece in pieces[:-1]:  # a step holds no earlier end
        assert segment(piece, rule) == [piece, ""]


@pytest.mark.parametrize(
    ("text", "rule", "pieces"),
    [
        ("", "lines", [""]),
        ("a", "lines", ["a"]),
        ("a\n", "lines", ["a\n", ""]),
        ("\n\na\n\nb", "lines", ["\n\na\n", "\nb"]),
        ("It is $x.$ So 3.5 is it. Yes", "sentences", ["It is $x.$ ", "So 3.5 is it. ", "Yes"]),
        ("a\nb\n\n\nc", "blank", ["a\nb\n\n", "\nc"]),
    ],
)
def test_segment_by_hand(text: str, rule: str, pieces: list[str]) -> None:
    assert segment(text, rule) == pieces


def test_tasks_are_drawn_from_the_seed_and_picked_by_id_or_index() -> None:
    env = MathReasonEnv(difficulty=1, split="valid")
    drawn = [env.reset(seed=s)[1]["task"] for s in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(env.tasks), env.tasks[-1]] == [1000, "arithmetic-d1/valid/000999"]
    assert env.reset(options={"task": 7}) == env.reset(options={"task": env.tasks[7]})
    assert env.tasks[:2] == ["arithmetic-d1/valid/000000", "arithmetic-d1/valid/000001"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "arithmetic-d1/train/000001"}, "Did you mean 'arithmetic-d1/valid/000001'"),
        ({"task": 1000}, "from 0 to 999"),
        ({"task": -1}, "from 0 to 999"),
        ({"task": 1.5}, "float"),
        ({"taks": 1}, "Did you mean 'task'"),
    ],
)
def test_bad_reset_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MathReasonEnv(difficulty=1, split="valid").reset(options=options)


def check_solution(problem: Problem) -> int:
    """Follow the worked lines with an evaluator of their own: each continues from the last, the last is the answer."""
    *lines, final = problem.solution.split("\n")
    last: Fraction | None = None
    for line in lines:
        found = re.search(r"(\d+) ([-+*/]) (\d+) = (\d+) ?", line)
        assert found, line
        a, op, b, c = Fraction(found[1]), found[2], Fraction(found[3]), Fraction(found[4])
        assert last in (None, a) and {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[op] == c
        assert re.search(rf"\b{b}\b", problem.question), "a number of the solution does not come in the problem"
        last = c
    assert final == f"#### {last}" and problem.answer == str(last)
    return len(lines)


@settings(max_examples=200)
@given(st.integers(1, 10), st.sampled_from(["train", "valid", "test"]), st.integers(0, 2**31), st.integers(0, 999))
def test_generated_solutions_are_right(difficulty: int, split: str, seed: int, index: int) -> None:
    problem = arithmetic(split, difficulty, seed=seed)[index]
    assert check_solution(problem) == difficulty
    assert problem == arithmetic(split, difficulty, seed=seed)[index]
    assert grade(problem.solution, problem.answer).outcome == Outcome.CORRECT
    assert segment(problem.solution)[-1] == f"#### {problem.answer}"


def test_generated_splits_share_no_problem_and_easy_ones_are_short() -> None:
    seen = {
        split: {p.question for seed in (0, 1) for p in arithmetic(split, 1, count=1500, seed=seed)}
        for split in ("train", "valid", "test")
    }
    assert not seen["train"] & seen["valid"] and not seen["train"] & seen["test"] and not seen["valid"] & seen["test"]
    easy = arithmetic(difficulty=3, count=1000)[:]
    assert max(len(p.question.split()) for p in easy) <= 45
    assert all(0 < int(p.answer) < 100 for p in easy)
    assert len(FAMILIES) >= 5 and len({p.question for p in easy}) > 990


def test_generated_problems_do_not_change_between_versions() -> None:
    assert arithmetic(difficulty=2)[0] == Problem(
        "arithmetic-d2/train/000000",
        "Leo buys 4 eggs at 2 dollars each. A coupon takes 3 dollars off. How many dollars does Leo pay?",
        "The eggs cost 4 * 2 = 8 dollars.\nThe coupon leaves 8 - 3 = 5 dollars.\n#### 5",
        "5",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, "Did you mean 'train'"),
        ({"difficulty": 11}, "from 1 to 10"),
        ({"count": 0}, "at least one"),
        ({"segment": "line"}, "Did you mean 'lines'"),
        ({"level": "steps"}, "Did you mean 'step'"),
        ({"max_steps": 0}, "at least 1"),
        ({"max_length": 9}, "max_length belongs to level='token'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        envs.make("math", **arguments)


def test_problems_keep_their_info_and_choices_through_copies_and_reach_reset() -> None:
    row = {"question": "2 + 3?", "choices": ["4", "5"], "answer": "B", "level": "Level 2", "subject": "Algebra"}
    env = MathReasonEnv([row])
    _, info = env.reset()
    assert info == {
        "level": 2,
        "subject": "Algebra",
        "choices": ("4", "5"),
        "task": "problems/000000",
        "solution": "So the answer is B.",
        "answer": "B",
    }
    problem = env.problems[0]
    twins = [copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))]
    assert twins == [problem, problem] and {problem, *twins} == {problem}


def test_problems_decide_what_is_right() -> None:
    class Lenient(Listed):
        def grade(self, problem: Problem, response: str, rules: str | None = None) -> Grade:
            return Scored(Outcome.WRONG, response, problem.answer, "own", "own", 0.25)

    env = MathReasonEnv([ROW])
    env.problems = Lenient(env.problems)
    env.reset()
    _, reward, _, _, info = env.step("#### 5")
    assert reward == 0.0 and info == {"task": "problems/000000", "outcome": "wrong", "score": 0.25}


def test_real_solutions_win() -> None:
    env = MathReasonEnv("gsm8k", "test", data_dir=data_dir())
    assert env.observation_space.contains(max((p.question for p in env.problems), key=len))
    for task in range(100):
        _, info = env.reset(options={"task": task})
        assert [env.step(piece) for piece in env.segment(info["solution"])][-1][1:3] == (1.0, True)
