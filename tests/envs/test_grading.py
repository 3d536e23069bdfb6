"""Extraction and exact comparison, on hand-picked pairs, on any text, and on the real references."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.grading import Outcome, grade, has_final_answer
from envs.math_reason.source import load

DATA = Path(os.environ.get("REASONING_DATA", Path(__file__).parents[2] / "../shared/data"))

CORRECT = [
    ("So 3 + 4 = 7.\n#### 7", "7", "hash"),
    ("#### 1,234", "#### 1234", "hash"),
    ("#### $18.00", "18", "hash"),
    ("#### 18 dollars", "18", "hash"),
    ("The answer is 5. That was easy.", "5", "answer is"),
    ("Final Answer: 3/4", "0.75", "final answer"),
    (r"so \boxed{\frac{3}{4}}", ".75", "boxed"),
    (r"first \boxed{1}, then \boxed{\frac{\sqrt{2}}{2}}.", r"\frac{\sqrt2}2", "boxed"),
    (r"\boxed{\{1, 2\}}", r"\boxed{ \{1,2\} }", "boxed"),
    (r"\boxed{45^\circ}", "45", "boxed"),
    (r"\boxed 2$", "2", "boxed"),
    (r"\boxed{9\text{ values}}", "9", "boxed"),
    (r"\boxed{x = 9}", "9", "boxed"),
    ("It leaves 50\\%, so 50%.", "50", "last number"),
    ("the balance is \u22125", "-5", "last number"),
    ("A robin is a bird.\nSo the answer is B.", "B", "answer is"),
    ("The answer is (B) a bank.", "B", "answer is"),
    (r"\boxed{\text{(C)}}", r"\text{(C)}", "boxed"),
    ("(B)", "B", "last letter"),
    ("Evelyn", r"\text{Evelyn}", "bare"),
    ("The answer is Tuesday.", "Tuesday", "answer is"),
]
WRONG = [
    ("#### 7", "8"),
    ("7 - 3 = 4", "7"),
    ("#### 5 million", "5"),
    (r"\boxed{2x}", "2"),
    ("The answer is A.", "B"),
    ("#### " + "9" * 5000, "9"),
    ("#### 1e999999999", "1"),
    ("#### 1/0", "1"),
]
UNPARSEABLE = [
    ("I do not know", "7"),
    ("", "7"),
    ("A dog is an animal", "B"),
    ("a\nb", r"\frac{x}{2}"),
    ("7", ""),
    ("7", " \n"),
]


@pytest.mark.parametrize(("response", "reference", "rule"), CORRECT)
def test_correct(response: str, reference: str, rule: str) -> None:
    found = grade(response, reference)
    assert (found.outcome, found.rule) == (Outcome.CORRECT, rule)


@pytest.mark.parametrize(("response", "reference"), WRONG)
def test_wrong(response: str, reference: str) -> None:
    assert grade(response, reference).outcome == Outcome.WRONG


@pytest.mark.parametrize(("response", "reference"), UNPARSEABLE)
def test_unparseable(response: str, reference: str) -> None:
    assert grade(response, reference).outcome == Outcome.UNPARSEABLE


@pytest.mark.parametrize(
    "text",
    [
        "#### 7\n",
        "#### -1,000",
        r"\boxed{7}",
        "Final Answer: x + 1",
        "The answer is 7.\n",
        "So the answer is B.",
        "Answer: 7",
    ],
)
def test_final_answer(text: str) -> None:
    assert has_final_answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "3 + 4 = 7\n",
        "####",
        "#### \n",
        "#### Step 1: add",
        "#### 1. First step",
        r"\boxed{7",
        r"\boxed{}",
        "The answer is not known.",
    ],
)
def test_no_final_answer(text: str) -> None:
    assert not has_final_answer(text)


PIECES = st.sampled_from(
    [r"\boxed{", "}", "{", "####", " ", "\n", r"\frac", "12", ",345", ".", "-", "/", "the answer is ", "(B)", r"\text{"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join))


@given(TEXTS, TEXTS)
def test_any_text_gets_a_grade(response: str, reference: str) -> None:
    assert grade(response, reference).outcome in Outcome
    has_final_answer(response)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=3),
    st.sampled_from("#b$"),
)
def test_a_number_is_equal_to_itself_however_it_is_written(number: object, style: str) -> None:
    response = {"#": f"so\n#### {number:,}", "b": rf"so \boxed{{{number}}}", "$": f"The answer is ${number}."}[style]
    assert grade(response, str(number)).outcome == Outcome.CORRECT


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_different_integers_are_different(a: int, b: int) -> None:
    assert (grade(f"#### {a}", f"#### {b}").outcome == Outcome.CORRECT) == (a == b)


@pytest.mark.parametrize(
    "unit", [r"\boxed{", "{", "1,234,", "9", "#### ", "answer is ", " ", r"\text{", r"\frac", "\\", "(A) ", "-.", "\n"]
)
def test_time_is_linear_on_hostile_text(unit: str) -> None:
    start = time.perf_counter()
    grade(unit * 50_000, "7")
    grade("7", unit * 50_000)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(("name", "split", "count"), [("gsm8k", "train", 7473), ("gsm8k", "test", 1319), ("math", "train", 500)])
def test_real_references_are_correct_against_themselves(name: str, split: str, count: int) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no data sets at {DATA}: set REASONING_DATA")
    problems = load(name, split, DATA)[:count]
    assert sum(grade(p.answer, p.answer).outcome == Outcome.CORRECT for p in problems) == count
    assert sum(grade(p.solution, p.solution).outcome == Outcome.CORRECT for p in problems) == count
    # Two of the 500 of MATH list several numbers ("2, 3, and 4"), which exact comparison does not read.
    assert sum(grade(p.solution, p.answer).outcome == Outcome.CORRECT for p in problems) >= count - 2 * (name == "math")
