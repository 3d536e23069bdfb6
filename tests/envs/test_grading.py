"""`grade`: where the answer is found, what comes of it, on hand-picked texts, on any text, and on the real references."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.grading import Outcome, grade, has_final_answer, kind_of
from envs.math_reason.source import load

DATA = Path(os.environ.get("REASONING_DATA", Path(__file__).parents[2] / "../shared/data"))

# response, reference, where the answer is found
CORRECT = [
    ("So 3 + 4 = 7.\n#### 7", "7", "hash"),
    ("#### 1,234", "#### 1234", "hash"),
    ("#### $18.00", "18", "hash"),
    ("#### 18 dollars", "18", "hash"),
    ("#### 5 + 3 = 8", "8", "hash"),
    ("#### 1 1/2", "1.5", "hash"),
    ("#### **18**", "18", "hash"),
    ("####-5", "-5", "hash"),
    ("The answer is 5. That was easy.", "5", "answer is"),
    ("The answer is 5, so we are done.", "5", "answer is"),
    ("The answer is 5 because 2 + 3 = 5.", "5", "answer is"),
    ("The answer is x = 5.", "5", "answer is"),
    ("The answer is 2**3.", "8", "answer is"),
    ("My final answer is __7__.", "7", "answer is"),
    ("Hence the answer is $12$ dollars.", "12", "answer is"),
    (r"Therefore, the final answer is: $\frac{1}{2}$.", "0.5", "answer is"),
    ("The answer is (1, 2).", "(1,2)", "answer is"),
    ("So the answers are 3 and 5.", "5, 3", "answer is"),
    ("The answer is 10 apples. He has 3 left.", "10", "answer is"),
    ("Final Answer: 3/4", "0.75", "final answer"),
    ("**Final Answer:** 5", "5", "final answer"),
    ("Answer: **5**", "5", "final answer"),
    ("Final Answer:\n\n5", "5", "final answer"),
    ("Final Answer: The final answer is $5$. I hope it is correct.", "5", "answer is"),
    ("Final answer: 3 1/2 cups", "3.5", "final answer"),
    ("Answer: $5 million", "5000000", "final answer"),
    (r"so \boxed{\frac{3}{4}}", ".75", "boxed"),
    (r"first \boxed{1}, then \boxed{\frac{\sqrt{2}}{2}}.", r"\frac{\sqrt2}2", "boxed"),
    (r"\boxed{\{1, 2\}}", r"\boxed{ \{1,2\} }", "boxed"),
    (r"\boxed{45^\circ}", "45", "boxed"),
    (r"\boxed 2$", "2", "boxed"),
    (r"\boxed{9\text{ values}}", "9", "boxed"),
    (r"**Final Answer**: \boxed{5}", "5", "boxed"),
    (r"\boxed{\boxed{5}}", "5", "boxed"),
    (r"x = \boxed{1} or x = \boxed{2}", "1, 2", "boxed"),
    ("It leaves 50\\%, so 50%.", "50", "last number"),
    ("the balance is \u22125", "-5", "last number"),
    (r"The result is \frac{3}{4}", "3/4", "last number"),
    ("It costs $12.50.", "12.5", "last number"),
    ("A robin is a bird.\nSo the answer is B.", "B", "answer is"),
    ("The answer is (B) a bank.", "B", "answer is"),
    ("answer: B", "B", "final answer"),
    (r"\boxed{\text{(C)}}", r"\text{(C)}", "boxed"),
    ("I choose option C.", "C", "last letter"),
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
    (r"\boxed{1} and \boxed{2}", "1"),
    (r"\boxed{1} and \boxed{3}", "1, 2"),
    ("The answer is 5, 6", "5"),
    ("no solution", r"\text{yes}"),
    (r"\boxed{1,234}", r"\boxed{5}"),
    (r"\boxed{3 \cdot 1,234}", "5"),
    (r"\boxed{2,345\frac{1}{2}}", "1,234"),
]
UNPARSEABLE = [
    ("I do not know", "7", "no answer"),
    ("", "7", "no answer"),
    (r"\boxed{}", "7", "no answer"),
    ("Final Answer: Tuesday", "B", "no choice"),
    ("A dog is an animal", "B", "no answer"),
    ("a\nb", r"\frac{x}{2}", "no answer"),
    ("The answer is Tuesday.", "B", "no choice"),
    ("7", "", "no reference"),
    ("7", " \n", "no reference"),
    ("7", r"\boxed{}", "no reference"),
    ("#### " + "9" * 5000, "9", "size limit"),
    ("#### 1e999999999", "1", "size limit"),
    (r"\boxed{9^{9^{9}}}", "7", "size limit"),
    (r"\boxed{" + "(" * 100 + "1" + ")" * 100 + "}", "7", "size limit"),
    (r"\boxed{7}", "9^{9^{9}}", "size limit"),
]


RESPONSES = [json.loads(line) for line in (Path(__file__).parent / "grading_responses.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("case", RESPONSES)
def test_responses_by_hand(case: dict[str, Any]) -> None:
    result = grade(case["response"], case["reference"])
    assert (result.outcome == Outcome.CORRECT) == case["correct"], result


@pytest.mark.parametrize(("response", "reference", "found"), CORRECT)
def test_correct(response: str, reference: str, found: str) -> None:
    result = grade(response, reference)
    assert (result.outcome, result.found) == (Outcome.CORRECT, found)


@pytest.mark.parametrize(("response", "reference"), WRONG)
def test_wrong(response: str, reference: str) -> None:
    assert grade(response, reference).outcome == Outcome.WRONG


@pytest.mark.parametrize(("response", "reference", "rule"), UNPARSEABLE)
def test_unparseable(response: str, reference: str, rule: str) -> None:
    result = grade(response, reference)
    assert (result.outcome, result.rule) == (Outcome.UNPARSEABLE, rule)


def test_a_grade_says_what_was_compared_and_what_decided() -> None:
    result = grade(r"So \boxed{50\%}.", "It is half.\n#### 0.5")
    assert (result.answer, result.reference, result.found, result.rule) == (r"50\%", "0.5", "boxed", "unit")


CHOICES = ("a bank", "a library", "E")


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("The answer is B.", "correct"),
        ("Final Answer: a library", "correct"),
        ("Final Answer: A Library.", "correct"),
        (r"\boxed{\text{a library}}", "correct"),
        ("Final Answer: a bank", "wrong"),
        ("Final Answer: E", "wrong"),  # the text of C, and no letter of the three
        ("Final Answer: a mall", "unparseable"),
        ("Final Answer: B. a bank", "correct"),  # the letter counts
        ("a library", "correct"),
        ("The answer is a library.", "correct"),
        ("It is **a library**.", "correct"),
        ("Answer: A Library (B)", "correct"),
    ],
)
def test_choices_may_be_named_by_their_texts(response: str, outcome: str) -> None:
    assert grade(response, "B", choices=CHOICES).outcome == outcome


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("-3", "number"),
        ("1,000", "number"),
        ("$2.50", "number"),
        ("5/2", "number"),
        (r"\frac{1}{2}", "number"),
        (r"25\%", "number"),
        ("12 + 3 = 15\n#### 15 apples", "number"),
        ("Rug B", "text"),
        (r"\text{Saturday}", "text"),
        ("B", "choice"),
        (r"\textbf{(C)}", "choice"),
        ("x^2 + 1", "math"),
        ("(3,4]", "math"),
        ("5:6", "math"),
        (r"\sqrt{2}", "math"),
        ("", None),
    ],
)
def test_what_a_reference_wants(reference: str, kind: str | None) -> None:
    assert kind_of(reference) == kind


def test_a_letter_is_a_letter_even_where_a_choice_is_one() -> None:
    assert grade("The answer is C.", "C", choices=("B", "c", "d")).outcome == "correct"


def test_an_eleventh_choice_has_no_letter() -> None:
    assert grade("Answer: t11", "B", choices=[f"t{i}" for i in range(1, 13)]).outcome == "unparseable"


def test_the_kind_that_is_wanted_can_be_given() -> None:
    assert grade("The points are C", "C", kind="text").outcome == "wrong"
    assert grade("so (C)", "C").outcome == "correct"
    assert grade("It has 3 sides and 4 corners", "4 corners", kind="number").found == "last number"
    with pytest.raises(ValueError, match="Did you mean 'number'"):
        grade("7", "7", kind="nubmer")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "#### 7\n",
        "#### -1,000",
        r"\boxed{7}",
        "Final Answer: x + 1",
        "The answer is 7.\n",
        "The answer is x.",
        "So the answer is B.",
        "Answer: 7",
        "**Answer:** 12",
        "The answer is:\n5",
        "The answer is\n\n$$5$$",
        "**Final Answer**\n\n5",
        "### Final Answer\n5",
        "### Answer: 5",
        "- Answer: 5",
        "Ans: 5",
        "<answer>5</answer>",
        "Correct answer: C",
        "The correct option is (C).",
        "The answer is Tuesday.",
        "The answer is Yes",
        "The answer is no.",
        "The answer is {1,2}",
        "The answer is [−1,2]",
        "The answer is ± 1",
        "The answer is ½",
        "The answer is ∞",
        'The answer is "C"',
        "The answer equals 5",
        "The answer = 5",
        "#### Yes",
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
        "The answer is a number.",
        "The answer is in the book.",
        "#### 3 steps to solve",
        "#### 1 - Compute",
        "#### A. Compute the cost",
        "#### (a) Find x",
        "#### 1st step",
        "#### f(x) analysis of",
        "\\boxed{?}",
        "\\boxed{answer}",
        "<think>\\boxed{5}</think>",
        "<think>\\boxed{5}",
        "Answer: First we compute",
        "Answer:\n\nFirst, we compute 3+4.",
        "Final Answer:\nLet's compute",
        "**Answer:** To solve this, we",
        "Answer: Step 1: add",
        "answer: ?",
        "Answer: $$",
        "Answer: \\[",
        "Answer: -",
        "the answer is $",
        "Suppose the answer is 5.",
        "If the answer is 5, then",
        "Let's check whether the answer is 5.",
        "the answer would be 5 if",
        "The answer is 5 times what Tom has",
        "The answer is 3 more than x.",
        "So the possible answers are (A), (B), (C).",
        "The answer is a",
        "Answer the question",
        "#### 2. ",
    ],
)
def test_no_final_answer(text: str) -> None:
    assert not has_final_answer(text)


PIECES = st.sampled_from(
    [
        r"\boxed{",
        "}",
        "{",
        "####",
        " ",
        "\n",
        r"\frac",
        "12",
        ",345",
        ".",
        "-",
        "/",
        "the answer is ",
        "(B)",
        r"\text{",
        "^",
        "x",
        "|",
    ]
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
    "unit",
    [
        r"\boxed{",
        "{",
        "1,234,",
        "9",
        "#### ",
        "answer is ",
        " ",
        r"\text{",
        r"\frac",
        "\\",
        "(A) ",
        "-.",
        "\n",
        "$",
        "^",
        "**",
        "\x00",
    ],
)
def test_time_is_linear_on_hostile_text(unit: str) -> None:
    """The slowest takes a tenth of a second; quadratic time would take hours."""
    start = time.perf_counter()
    grade(unit * 50_000, "7")
    grade("7", unit * 50_000)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(("name", "split"), [("gsm8k", "train"), ("gsm8k", "test"), ("math", "train"), ("math", "test")])
def test_real_solutions_are_correct_against_their_answers_and_wrong_against_others(name: str, split: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no data sets at {DATA}: set REASONING_DATA")
    problems = load(name, split, DATA)[:1000]
    odd = [p.id for p in problems if grade(p.solution, p.answer).outcome != Outcome.CORRECT]
    assert odd == []
    for one, other in itertools.pairwise(problems):
        result = grade(one.solution, other.answer)
        # Equal by figure (25 and 25%) or by text: the same answer to two problems.
        assert result.outcome != Outcome.CORRECT or result.rule in ("same text", "number", "unit", "choice"), result
