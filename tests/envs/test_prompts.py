"""Templates: what is shown, and that responses of the shape they ask for are cut and graded right."""

from __future__ import annotations

import pytest

import envs
from envs.grading import Outcome, grade
from envs.problem_env import DELIMITERS, segment
from envs.prompts import EXAMPLES, PROMPTS, prompt_of


@pytest.mark.parametrize("name", PROMPTS)
def test_worked_examples_are_cut_into_their_steps_and_are_correct(name: str) -> None:
    prompt = PROMPTS[name]
    assert prompt.segment in DELIMITERS
    for example in EXAMPLES:
        solution = prompt.work(example)
        assert grade(solution, example.answer).outcome is Outcome.CORRECT
        if prompt.segment != "sentences":  # of which a step may have several
            assert len(segment(solution, prompt.segment)) == len(example.steps) + 1
        assert "".join(segment(solution, prompt.segment)) == solution


@pytest.mark.parametrize("name", PROMPTS)
def test_the_question_comes_once_and_last(name: str) -> None:
    shown = PROMPTS[name].ask("Why {not}?")
    assert shown.count("Why {not}?") == 1
    assert all(shown.index(e.question) < shown.index("Why {not}?") for e in EXAMPLES[: PROMPTS[name].shots])


def test_format_guides_to_the_letter() -> None:
    question = "2 + 3?"
    assert PROMPTS["gsm8k"].ask(question) == (
        "2 + 3?\nPlease reason step by step, and produce a final answer following 4 '#', like '#### 0'."
    )
    assert PROMPTS["math"].ask(question) == "2 + 3?\nPlease reason step by step, and put your final answer within \\boxed{}."


def test_an_environment_takes_a_name_or_a_template_and_cuts_by_its_rule() -> None:
    row = {"question": "2 + 3?", "answer": "5"}
    env = envs.make("math", problems=[row], prompt="dvo").unwrapped
    assert "2 + 3?" in env.reset()[0] and env.rule == "blank"  # type: ignore[attr-defined]
    env = envs.make("math", problems=[row], prompt="dvo", segment="lines").unwrapped
    assert env.rule == "lines"  # type: ignore[attr-defined]
    assert envs.make("math", problems=[row], prompt="Q: {question}\nA:").reset()[0] == "Q: 2 + 3?\nA:"


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'gsm8k'"):
        prompt_of("gms8k")
