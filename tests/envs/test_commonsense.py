"""CommonsenseReason-v0: lettered choices from the generator, from the real files, and from rows of every layout."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import envs
from envs.commonsense.env import CommonsenseReasonEnv
from envs.commonsense.generator import CATEGORIES
from envs.commonsense.source import load
from envs.problems import with_choices

DATA = Path(os.environ.get("REASONING_DATA", Path(__file__).parents[2] / "../shared/data"))
LAYOUTS: list[dict[str, Any]] = [
    {
        "question": {"stem": "Which?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
        "answerKey": "B",
    },
    {"sent1": "Which?", "sent2": "", "ending0": "x", "ending1": "y", "label": 1},
    {"question": "Which?", "choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "2"},
    {
        "question_stem": "Which?",
        "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}],
        "answerKey": "B",
    },
    {"question": "Which?", "choices": ["x", "y"], "answer": "B"},
]


@pytest.mark.parametrize("row", LAYOUTS)
def test_layouts(row: dict[str, Any]) -> None:
    problem = load([row])[0]
    assert (problem.question, problem.answer) == ("Which? (A) x (B) y", "B")
    assert problem.solution == "So the answer is B."
    assert load([{**row, "solution": "y it is.\nSo the answer is B."}])[0].solution.startswith("y it is")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Which?", "choices": ["x", "y"]}, "field 'answerKey or answer or label' is missing"),
        ({"question": "Which?", "choices": ["x", "y"], "answer": "C"}, "is 'C': wanted one of the labels A, B"),
        ({"question": "Which?", "choices": ["x"], "answer": "A"}, "field 'choices' is missing or malformed"),
        ({"question": "Which?", "choices": [1, 2], "answer": "A"}, "field 'choices' is missing or malformed"),
        (
            {"question": "Which?", "choices": {"label": "AB", "text": 3}, "answer": "A"},
            "field 'choices' is missing or malformed",
        ),
        ({"question": "Which?", "answer": "A"}, "field 'choices' is missing or malformed"),
        ({"choices": ["x", "y"], "answer": "A"}, "field 'question or stem or question_stem or sent1' is missing"),
        ({"question": ["Which?"], "choices": ["x", "y"], "answer": "A"}, "field 'question' is list"),
    ],
)
def test_malformed_rows(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load([row])


def test_generated_questions_have_one_right_answer() -> None:
    kind_of = {member: kind for kind, (_, members) in CATEGORIES.items() for member in members.split()}
    assert len(kind_of) == sum(len(members.split()) for _, members in CATEGORIES.values())
    for problem in [*load(choices=5, count=300), *load(choices=8, count=100), *load(choices=2, count=100)]:
        stem = problem.question.split("?")[0]
        choices = dict(re.findall(r"\((\w)\) (\w+)", problem.question))
        kind = next(k for k, (fact, _) in CATEGORIES.items() if re.search(rf"\b{k}\b", stem) or fact in stem)
        fits = [letter for letter, thing in choices.items() if (kind_of[thing] == kind) != ("is not" in stem)]
        assert fits == [problem.answer] and len(set(choices.values())) == len(choices)
        assert choices[problem.answer] in problem.solution.lower()


def test_worked_solutions_win() -> None:
    env = CommonsenseReasonEnv(split="valid")
    for task in range(50):
        observation, info = env.reset(options={"task": task})
        results = [env.step(piece) for piece in env.segment(info["solution"])]
        assert results[-1][1:3] == (1.0, True) and not any(r[2] for r in results[:-1])
        assert observation not in env.problems[task].solution
    env.reset(options={"task": 0})
    wrong = "ABCD".replace(env.problems[0].answer, "")[0]
    assert env.step(f"So the answer is {wrong}.\n")[1:3] == (0.0, True)


def test_splits_share_no_problem() -> None:
    seen = [{p.question for p in load(split=split, count=500, choices=2)} for split in ("train", "valid", "test")]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="Did you mean 'openbookqa'"):
        envs.make("commonsense", problems="openbook")
    with pytest.raises(ValueError, match="choices=9: wanted from 2 to 8"):
        envs.make("commonsense", choices=9)
    with pytest.raises(ValueError, match="'train', 'valid'"):
        envs.make("commonsense", problems="commonsense_qa", split="test")
    assert with_choices("Red?", ["a rose", "the sky"]) == "Red? (A) a rose (B) the sky"


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("commonsense_qa", "train", 9741),
        ("commonsense_qa", "valid", 1221),
        ("openbookqa", "train", 4957),
        ("openbookqa", "test", 500),
    ],
)
def test_real_files(name: str, split: str, count: int) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no data sets at {DATA}: set REASONING_DATA")
    env = CommonsenseReasonEnv(name, split, data_dir=DATA)
    assert len(env.tasks) == count
    for task in range(100):
        _, info = env.reset(options={"task": task})
        assert env.step(info["solution"])[1:3] == (1.0, True)
