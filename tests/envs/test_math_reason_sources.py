"""The published sets of maths problems: every row of the real files, and rows as the hub gives them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from envs.math_reason.source import SOURCES, load
from envs.problems import Problem, masked, split_of, words
from envs.rows import Row
from tests.envs.data import data_dir

COUNTS = {
    "gsm8k": {"train": 7473, "test": 1319},
    "math": {"train": 7498, "test": 5000},
    "math500": {"test": 500},
    "aime24": {"test": 30},
    "amc23": {"test": 40},
    "agieval_math": {"test": 1000},
    "sat_math": {"test": 220},
    "aqua": {"test": 254},
    "svamp": {"train": 818, "valid": 90, "test": 91},
    "asdiv": {"train": 1735, "valid": 236, "test": 234},
    "mawps": {"train": 1645, "valid": 208, "test": 212},
}


@pytest.mark.parametrize(("name", "split"), [(name, split) for name, splits in COUNTS.items() for split in splits])
def test_every_row_of_the_real_files(name: str, split: str) -> None:
    problems = load(name, split, data_dir())
    assert len(problems) == COUNTS[name][split] == len(set(problems.tasks))
    assert all(p.question.strip() and p.solution.strip() and p.answer.strip() for p in problems)


@pytest.mark.parametrize("name", ["svamp", "asdiv", "mawps"])
def test_problems_that_differ_in_numbers_only_are_dealt_to_one_split(name: str) -> None:
    seen = [{masked(words(p.question)) for p in load(name, split, data_dir())} for split in ("train", "valid", "test")]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_dealing_does_not_change_between_versions() -> None:
    assert [split_of(f"{name} has 3 nuts.") for name in ("Ann", "Eve")] == ["train", "valid"]
    assert [split_of(question) for question in ("a runs", "E  runs.", "h runs?")] == ["train", "test", "test"]
    assert split_of("Eve has 10,000 nuts") == "valid"


@pytest.mark.parametrize(
    ("name", "task", "answer"),
    [
        ("math", "math/train/007302", r"\begin{pmatrix} 0 & 3 \\ 0 & -1 \end{pmatrix}"),
        ("asdiv", "asdiv/000001", "9"),  # 9 (apples)
        ("asdiv", "asdiv/000854", "3:4"),
        ("asdiv", "asdiv/001314", "-1/3"),  # -(1/3)
        ("asdiv", "asdiv/000166", "3:30 p.m."),
        ("asdiv", "asdiv/001053", "They are equal"),
        ("svamp", "chal-777", "145"),  # 145.0
        ("mawps", "mawps/000289", "2/3"),  # 0.6666666667
        ("mawps", "mawps/000505", "2400000"),
        ("amc23", "amc23/test/000001", "27"),
        ("aqua", "aqua/test/000002", "E"),
    ],
)
def test_odd_answers(name: str, task: str, answer: str) -> None:
    found = [p.answer for split in COUNTS[name] for p in load(name, split, data_dir()) if p.id == task]
    assert [" ".join(text.split()) for text in found] == [answer]


@pytest.mark.parametrize(
    ("name", "task", "solution"),
    [
        ("svamp", "chal-777", "290 / 2 = 145\n#### 145"),
        ("svamp", "chal-555", "#### 8"),  # its equation is 8
        ("asdiv", "asdiv/000001", "7+2=9\n#### 9"),
        ("asdiv", "asdiv/000854", "48:64=3:4\n#### 3:4"),
    ],
)
def test_equations_are_worked_solutions(name: str, task: str, solution: str) -> None:
    assert [p.solution for split in COUNTS[name] for p in load(name, split, data_dir()) if p.id == task] == [solution]


def test_every_equation_of_svamp_comes_to_its_answer() -> None:
    problems = [p for split in COUNTS["svamp"] for p in load("svamp", split, data_dir())]
    last = {p.id: p.solution.split("\n")[-2].rpartition("= ")[2] for p in problems if "=" in p.solution}
    assert len(last) == 998 and last == {p.id: p.answer for p in problems if p.id in last}


@pytest.mark.parametrize(
    ("equation", "solution"),
    [
        ("( ( 7.0 / 2.0 ) + 1.25 )", "7 / 2 = 3.5\n3.5 + 1.25 = 4.75\n#### 5"),
        ("( 3.0 * ( 1.0 - 4.0 ) )", "1 - 4 = -3\n3 * -3 = -9\n#### 5"),
        ("( ( 1.0 / 3.0 ) * 15.0 )", "1 / 3 = 1/3\n1/3 * 15 = 5\n#### 5"),
        (None, "#### 5"),
    ],
)
def test_an_equation_is_worked_out_from_the_inside(equation: str | None, solution: str) -> None:
    row = {"question": "How many?", "answer": 5.0} | ({"Equation": equation} if equation else {})
    problem = SOURCES["svamp"].read(Row(row, "here", 1, "svamp"))
    assert problem is not None and problem.solution == solution


@pytest.mark.parametrize(("name", "line"), [("math", "math/train/005344"), ("svamp", "chal-680"), ("asdiv", "asdiv/000575")])
def test_rows_that_are_broken_as_published_are_left_out(name: str, line: str) -> None:
    assert not any(line in load(name, split, data_dir()).tasks for split in COUNTS[name])


def test_multiple_choice_shows_its_letters() -> None:
    problem = load("sat_math", "test", data_dir())[0]
    assert problem.question.endswith("value of $x ?$ (A) 2 (B) 4 (C) 9 (D) 10")
    assert (problem.answer, problem.choices) == ("D", ("2", "4", "9", "10"))
    assert problem.solution.endswith("\nSo the answer is D.")


@pytest.mark.parametrize("name", ["gsm8k", "math500", "agieval_math", "sat_math", "aqua", "svamp", "asdiv", "mawps"])
def test_worked_solutions_are_right(name: str) -> None:
    problems = load(name, "test", data_dir())
    assert [p.question for p in problems if problems.grade(p, p.solution).outcome != "correct"] == []


# Filters


ROWS = [
    {"problem": "1?", "solution": r"\boxed{1}", "level": "Level 1", "type": "Algebra"},
    {"problem": "2?", "solution": r"\boxed{2}", "level": 2, "subject": "Geometry"},
    {"problem": "3?", "solution": r"\boxed{3}", "level": "Level ?", "subject": "Geometry"},
]


@pytest.mark.parametrize(
    ("filters", "answers"),
    [
        ({"levels": [1, 2]}, ["1", "2"]),
        ({"subjects": ["Geometry"]}, ["2", "3"]),
        ({"levels": [2], "subjects": ("Geometry",)}, ["2"]),
        ({}, ["1", "2", "3"]),
    ],
)
def test_levels_and_subjects(filters: dict[str, Any], answers: list[str]) -> None:
    assert [p.answer for p in load(ROWS, **filters)] == answers


@pytest.mark.parametrize(
    ("problems", "filters", "message"),
    [
        (ROWS, {"subjects": ["Geometri"]}, "subjects='Geometri' is not known.*Did you mean 'Geometry'"),
        (ROWS, {"subjects": "Geometry"}, "subjects='Geometry' is a str: wanted a list"),
        (ROWS, {"levels": [3]}, "levels=3 is not known: wanted one of 1, 2"),
        (ROWS, {"levels": [1], "subjects": ["Geometry"]}, "subjects='Geometry' is not known: wanted one of 'Algebra'"),
        ("arithmetic", {"levels": [3]}, "problems='arithmetic' says no level"),
    ],
)
def test_bad_filters(problems: Any, filters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(problems, **filters)


def test_filters_of_the_real_files() -> None:
    easy = load("math", "train", data_dir(), levels=[1, 2], subjects=["Algebra"])
    assert Counter(p.info["level"] for p in easy) == {1: 178, 2: 340}
    assert {p.info["subject"] for p in load("math500", "test", data_dir(), subjects=["Precalculus"])} == {"Precalculus"}


# The hub


@pytest.mark.parametrize(
    ("name", "split", "asked", "row", "expected"),
    [
        (
            "gsm8k",
            "test",
            ("openai/gsm8k", "main", "test"),
            {"question": "2 + 3?", "answer": "2 + 3 = 5\n#### 5"},
            Problem("gsm8k/test/000001", "2 + 3?", "2 + 3 = 5\n#### 5", "5"),
        ),
        (
            "math",
            "train",
            ("DigitalLearningGmbH/MATH-lighteval", "default", "train"),
            {"problem": "p", "level": "Level 5", "solution": r"It is $\boxed{0}$.", "type": "Algebra"},
            Problem("math/train/000001", "p", r"It is $\boxed{0}$.", "0", info={"level": 5, "subject": "Algebra"}),
        ),
        (
            "math500",
            "test",
            ("HuggingFaceH4/MATH-500", "default", "test"),
            {
                "problem": "p",
                "solution": r"\boxed{0}",
                "answer": "0",
                "subject": "Algebra",
                "level": 3,
                "unique_id": "test/a/1.json",
            },
            Problem("test/a/1.json", "p", r"\boxed{0}", "0", info={"level": 3, "subject": "Algebra"}),
        ),
        (
            "aime24",
            "test",
            ("HuggingFaceH4/aime_2024", "default", "train"),
            {"id": 60, "problem": "p", "solution": r"\boxed{204}", "answer": "204", "url": "u", "year": "2024"},
            Problem("aime24/test/000001", "p", r"\boxed{204}", "204"),
        ),
        (
            "amc23",
            "test",
            ("math-ai/amc23", "default", "test"),
            {"id": 0, "question": "p", "answer": "27", "url": "u"},
            Problem("amc23/test/000001", "p", "27", "27"),
        ),
        (
            "svamp",
            "train",
            ("ChilleD/SVAMP", "default", "train+test"),
            {"ID": "chal-1", "Body": "Ann has 2.", "Question": "How many?", "Equation": "2", "Answer": "2", "Type": "Addition"},
            Problem("chal-1", "Ann has 2. How many?", "#### 2", "2", info={"subject": "Addition"}),
        ),
        (
            "asdiv",
            "train",
            ("EleutherAI/asdiv", "asdiv", "validation"),
            {"body": "Ann has 2.", "question": "How many?", "solution_type": "Sum", "answer": "2 (nuts)", "formula": "2=2"},
            Problem("asdiv/000001", "Ann has 2. How many?", "2=2\n#### 2", "2", info={"subject": "Sum"}),
        ),
        (
            "mawps",
            "train",
            ("MU-NLPC/Calc-mawps", "default", "train+validation+test"),
            {"id": "mawps__1", "question": "Ann has 2. How many?", "chain": "<gadget>", "result": "2", "result_float": 2.0},
            Problem("mawps__1", "Ann has 2. How many?", "2", "2"),
        ),
        (
            "metamath",
            "train",
            ("meta-math/MetaMathQA", "default", "train"),
            {"query": "p", "response": "Add.\n#### 3\nThe answer is: x + 3", "type": "GSM_SV", "original_question": "o"},
            Problem("metamath/train/000001", "p", "Add.\n#### 3\nThe answer is: x + 3", "x + 3", info={"subject": "GSM_SV"}),
        ),
        (
            "numinamath",
            "train",
            ("AI-MO/NuminaMath-CoT", "default", "train"),
            {"source": "orca_math", "problem": "p", "solution": r"So $\boxed{3}$.", "messages": [{"role": "user", "content": "p"}]},
            Problem("numinamath/train/000001", "p", r"So $\boxed{3}$.", "3", info={"source": "orca_math"}),
        ),
    ],
)
def test_rows_of_the_hub(
    name: str,
    split: str,
    asked: tuple[str, str, str],
    row: dict[str, Any],
    expected: Problem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    monkeypatch.setattr("datasets.load_dataset", lambda *a, split: calls.append((*a, split)) or [row])
    assert list(load(name, split, tmp_path)) == [expected]
    assert calls == [asked]


def test_proofs_of_numinamath_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "numinamath").mkdir()
    (tmp_path / "numinamath" / "train.jsonl").write_text(
        '{"problem": "Show it.", "solution": "Clearly."}\n{"problem": "p", "solution": "\\\\boxed{3}"}\n'
    )
    assert load("numinamath", "train", tmp_path).tasks == ("numinamath/train/000002",)


def test_every_published_set_is_counted_here_or_only_on_the_hub() -> None:
    assert set(SOURCES) == {*COUNTS, "metamath", "numinamath"}
    assert {name: SOURCES[name].splits for name in COUNTS} == {name: tuple(splits) for name, splits in COUNTS.items()}
