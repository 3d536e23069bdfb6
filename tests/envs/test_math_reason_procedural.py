"""Problems of the optional package reasoning-gym."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import envs
from envs.math_reason.env import MathReasonEnv
from envs.math_reason.source import load


@pytest.fixture
def package() -> None:
    pytest.importorskip("reasoning_gym", reason="needs the package reasoning-gym")


pytestmark = pytest.mark.usefixtures("package")


@pytest.mark.parametrize("name", ["leg_counting", "basic_arithmetic", "mini_sudoku", "arc_1d", "family_relationships"])
def test_own_answers_win_also_in_copies(name: str) -> None:
    env = MathReasonEnv(f"reasoning_gym:{name}", "valid", count=5)
    env.reset(options={"task": 0})
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        observation, info = twin.reset(options={"task": 3})
        assert observation == env.problems[3].question
        assert [twin.step(piece) for piece in twin.segment(info["solution"])][-1][1:3] == (1.0, True)


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ("It is 3 * 2.\n#### {}", 1.0),
        (r"Thus $\boxed{{{}}}$.", 1.0),
        ("It is\n{}", 1.0),
        ("#### 1{}", 0.0),
        ("no idea", 0.0),
    ],
)
def test_the_bare_answer_is_scored(response: str, reward: float) -> None:
    env = MathReasonEnv("reasoning_gym:leg_counting", level="response")
    _, info = env.reset(options={"task": 0})
    assert env.step(response.format(info["answer"]))[1] == reward


def test_a_part_mark_is_logged_and_earns_nothing() -> None:
    env = MathReasonEnv("reasoning_gym:letter_jumble", level="response")
    _, info = env.reset(options={"task": 0})
    wrong = " ".join([*info["answer"].split()[:-1], "xyzzy"])
    _, reward, _, _, info = env.step(wrong)
    assert reward == 0.0 and info["outcome"] == "wrong" and 0 < info["score"] < 1


def test_no_answer_is_unparseable() -> None:
    env = MathReasonEnv("reasoning_gym:leg_counting", level="response")
    env.reset()
    assert env.step("")[4]["outcome"] == "unparseable"


def test_splits_and_seeds_have_other_problems() -> None:
    sets = [
        load("reasoning_gym:leg_counting", split, count=50, seed=seed) for split in ("train", "valid", "test") for seed in (0, 1)
    ]
    questions = [{p.question for p in problems} for problems in sets]
    assert len(set.union(*questions)) == sum(map(len, questions))
    assert len({task for problems in sets for task in problems.tasks}) == 300
    assert sets[0].tasks[0] == "reasoning_gym-leg_counting/train/000000"


def test_a_scorer_that_runs_answers_can_be_allowed() -> None:
    problems = load("reasoning_gym:countdown", run_answers=True, count=1)
    assert problems.grade(problems[0], problems[0].answer).outcome == "correct"


def test_options_of_the_dataset_pass_through() -> None:
    problem = load("reasoning_gym:leg_counting", min_animals=1, max_animals=1, count=1)[0]
    assert problem.question.count(",") <= 2


def test_the_same_problem_in_another_process() -> None:
    code = "from envs.math_reason.source import load; print(load('reasoning_gym:leg_counting', 'test')[7].question)"
    root = Path(envs.__file__).parents[1]
    there = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert there.stdout.strip() == load("reasoning_gym:leg_counting", "test")[7].question.strip()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("leg_conting", {}, "Did you mean 'leg_counting'"),
        ("", {}, "has no dataset ''"),
        ("leg_counting", {"split": "tset"}, "Did you mean 'test'"),
        ("leg_counting", {"max_animal": 3}, "Did you mean 'max_animals'"),
        ("leg_counting", {"min_animals": 0}, r"refuses its options \(min_animals=0\)"),
        ("leg_counting", {"count": 0}, "count=0"),
        ("leg_counting", {"seed": -1}, "seed=-1"),
        ("word_ladder", {}, "PYTHONHASHSEED=0"),
        ("countdown", {}, "runs answers as code: pass run_answers=True"),
        ("leg_counting", {"columns": {"answer": "x"}}, "columns is wanted only with a file"),
    ],
)
def test_bad_arguments(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(f"reasoning_gym:{name}", **arguments)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'reasoning-gym-offline\[reasoning-gym\]'"):
        load("reasoning_gym:leg_counting")
