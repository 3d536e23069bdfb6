"""A problem solved by hand."""

from __future__ import annotations

import io

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from envs.play import Solving
from envs.problem_env import ProblemEnv
from envs.problems import Listed, Problem

SUM = Problem("sum", "What is [2 + 3] * 2?", "2 + 3 = 5\n5 * 2 = 10\n#### 10", "10")
CHOICE = Problem("choice", "Which is red? (A) a rose (B) the sky", "A rose is red.", "A", ("a rose", "the sky"))


def solved(problem: Problem, *lines: str, **settings: object) -> tuple[bool, str]:
    """Whether it was solved by these lines, and what was shown."""
    shown = Console(file=io.StringIO(), width=100)
    with create_pipe_input() as keys:
        keys.send_text("".join(line + "\r" for line in lines))
        session: PromptSession[str] = PromptSession(input=keys, output=DummyOutput())
        env = ProblemEnv(Listed([SUM, CHOICE]), **settings)  # type: ignore[arg-type]
        won = Solving(env, shown, session).play(problem.id, seed=0)
    return won, shown.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", ["lines", "sentences", "blank"])
def test_steps_and_the_answer(rule: str) -> None:
    """Typed steps are whole steps by every rule: the first does not end the response."""
    won, shown = solved(SUM, "2 + 3 = 5", "#### 10", segment=rule)
    assert won and "What is [2 + 3] * 2?" in shown and "correct: the answer was read as 10" in shown
    assert "solution" not in shown


def test_a_wrong_answer_shows_the_solution() -> None:
    won, shown = solved(SUM, "#### 11")
    assert not won and "wrong: the answer was read as 11" in shown and "5 * 2 = 10" in shown


def test_giving_up_shows_the_answer() -> None:
    won, shown = solved(SUM, "give up")
    assert not won and "#### 10" in shown and "answer\n10" in shown


def test_a_choice_by_its_letter() -> None:
    assert solved(CHOICE, "A", "done")[0]


def test_steps_are_taken_back() -> None:
    won, shown = solved(SUM, "undo", "2 + 3 = 6", "undo", "2 + 3 = 5", "#### 10", max_steps=2)
    assert won and shown.index("nothing to take back") < shown.index("taken back: 2 + 3 = 6")


@pytest.mark.parametrize(("problem", "answer"), [(SUM, "#### 10"), (CHOICE, "#### A")])
def test_after_a_step_was_taken_back_the_problem_is_the_same(problem: Problem, answer: str) -> None:
    assert solved(problem, "no", "undo", answer)[0]


def test_the_last_step_is_said() -> None:
    won, shown = solved(SUM, "a", "b", max_steps=2)
    assert not won and "unparseable: 2 steps are all that an episode has" in shown


def test_help_and_quit() -> None:
    won, shown = solved(SUM, "?", "quit")
    assert not won and "take a step back" in shown and "solution\n" not in shown
