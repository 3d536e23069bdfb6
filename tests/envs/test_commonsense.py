"""CommonsenseReason-v0: lettered choices from the generator, from the real files, and from rows of every layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import envs
from envs.commonsense.env import CommonsenseReasonEnv
from envs.commonsense.generator import CATEGORIES
from envs.commonsense.source import load
from envs.problems import Problem, with_choices
from tests.envs.data import data_dir

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
        ("openbookqa", "valid", 500),
        ("openbookqa", "test", 500),
        ("arc_challenge", "train", 1119),
        ("arc_challenge", "test", 1172),
        ("arc_easy", "train", 2251),
        ("arc_easy", "test", 2376),
    ],
)
def test_every_row_of_the_real_files(name: str, split: str, count: int) -> None:
    problems = load(name, split, data_dir())
    assert len(problems) == count == len(set(problems.tasks))
    assert all(p.choices["ABCDEFGHIJ".index(p.answer)].strip() for p in problems)
    assert all(p.question.endswith(with_choices("", p.choices)) for p in problems)


def test_real_solutions_win() -> None:
    env = CommonsenseReasonEnv("arc_challenge", "test", data_dir=data_dir(), shuffle=1)
    for task in range(100):
        _, info = env.reset(options={"task": task})
        assert env.step(info["solution"])[1:3] == (1.0, True)


# ARC as instructions, and SciQ

ARC = {
    "instruction": "Please choose the correct answer to the question: Who?\n\nAnswer1: a cat Answer2: a dog\n\n"
    "Answer format: answer1/answer2",
    "input": "",
    "output": "the correct answer is answer2",
    "answer": "answer2",
}


def test_arc_as_instructions() -> None:
    problem = load([ARC])[0]
    assert (problem.question, problem.answer, problem.choices) == ("Who? (A) a cat (B) a dog", "B", ("a cat", "a dog"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Please choose", "Choose"),
        ("Answer2: ", "Answer3: "),
        ("Answer2: ", "Answer: "),
        ("answer1/answer2", "answer1/answer2/answer3"),
        ("\n\nAnswer format", " Answer format"),
    ],
)
def test_arc_in_another_form_is_refused(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="field 'instruction' is no question in ARC's form"):
        load([{**ARC, "instruction": ARC["instruction"].replace(old, new)}])


@pytest.mark.parametrize(
    ("name", "asked", "row"),
    [
        (
            "arc_easy",
            ("allenai/ai2_arc", "ARC-Easy", "validation"),
            {"id": "M1", "question": "Who?", "choices": {"text": ["a cat", "a dog"], "label": ["1", "2"]}, "answerKey": "2"},
        ),
        (
            "openbookqa",
            ("allenai/openbookqa", "main", "validation"),
            {"id": "M1", "question_stem": "Who?", "choices": {"text": ["a cat", "a dog"], "label": ["A", "B"]}, "answerKey": "B"},
        ),
        (
            "commonsense_qa",
            ("tau/commonsense_qa", "default", "validation"),
            {
                "id": "M1",
                "question": "Who?",
                "question_concept": "pet",
                "choices": {"label": ["A", "B"], "text": ["a cat", "a dog"]},
                "answerKey": "B",
            },
        ),
    ],
)
def test_rows_of_the_hub(
    name: str, asked: tuple[str, str, str], row: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr("datasets.load_dataset", lambda *a, split: calls.append((*a, split)) or [row])
    expected = Problem("M1", "Who? (A) a cat (B) a dog", "So the answer is B.", "B", ("a cat", "a dog"))
    assert list(load(name, "valid", tmp_path)) == [expected] and calls == [asked]


def test_sciq_has_no_order_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {
        "question": "Which?",
        "distractor1": "x",
        "distractor2": "y",
        "distractor3": "z",
        "correct_answer": "right",
        "support": "",
    }
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: [row] * 40)
    problems = load("sciq", "valid", tmp_path)
    assert all(p.choices["ABCD".index(p.answer)] == "right" and sorted(p.choices) == ["right", "x", "y", "z"] for p in problems)
    assert {p.answer for p in problems} == set("ABCD")


# Shuffled choices

SHUFFLED = {"id": "q", "question": "Which?", "choices": ["v", "w", "x", "y", "z"], "answer": "B"}


def test_shuffled_choices_are_the_same_on_every_machine_and_the_answer_follows() -> None:
    assert load([SHUFFLED], shuffle=3)[0] == Problem(
        "q", "Which? (A) x (B) y (C) v (D) w (E) z", "So the answer is D.", "D", ("x", "y", "v", "w", "z")
    )


def test_shuffles_differ_by_seed_and_task() -> None:
    rows = [{**SHUFFLED, "id": f"q{i}"} for i in range(20)]
    first, second = (load(rows, shuffle=seed) for seed in (0, 1))
    assert {p.answer for p in first} == set("ABCDE")
    assert [p.choices for p in first] != [p.choices for p in second]
    assert all(p.choices["ABCDE".index(p.answer)] == "w" for p in [*first, *second])


def test_generated_questions_can_be_shuffled() -> None:
    plain, mixed = load(count=30), load(count=30, shuffle=0)
    assert list(plain.tasks) == list(mixed.tasks)
    for a, b in zip(plain, mixed, strict=True):
        assert a.choices["ABCD".index(a.answer)] == b.choices["ABCD".index(b.answer)]
        assert a.solution.split("\n")[:-1] == b.solution.split("\n")[:-1] and b.solution.endswith(f"is {b.answer}.")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"solution": "(A) is not it.\nSo the answer is B."}, r"its solution names '\(A\)'"),
        ({"solution": "Choice A is not it.\nSo the answer is B."}, "its solution names 'Choice A'"),
        ({"solution": "It is B, no doubt.\nSo the answer is B."}, "its solution names 'B'"),
        ({"solution": "It must be w."}, "does not end in 'So the answer is LETTER.'"),
    ],
)
def test_solutions_that_name_letters_are_not_shuffled(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"task 'q' cannot be shuffled: .*{message}"):
        load([{**SHUFFLED, **row}], shuffle=0)


def test_a_solution_that_names_no_letter_is_shuffled() -> None:
    row = {**SHUFFLED, "solution": "A thing is w.\nSo the answer is B."}
    problem = load([row], shuffle=3)[0]
    assert problem.solution == f"A thing is w.\nSo the answer is {problem.answer}."


def test_a_problem_without_choices_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="has no choices to shuffle"):
        load([Problem("q", "Which?", "So the answer is B.", "B")], shuffle=0)
