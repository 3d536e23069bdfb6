"""What a set of problems is like, in numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from envs.problem_env import DELIMITERS, segment
from envs.problems import Problem

_NUMBER = re.compile(r"-?\$?(?:\d{1,3}(?:,\d{3})+|\d*\.?\d+|\d+\.)(?:/\d+)?(?:%|\\%)?|-?\\[dt]?frac\{?-?\d+\}?\{?\d+\}?", re.ASCII)
_TEXT = re.compile(r"(?:\\text\{)?[^\W\d_]{2,}(?:[ .,'-]+[^\W_]+)*\.?\}?")


@dataclass(frozen=True)
class Numbers:
    """Counts of a set; lengths are (median, largest) in words parted by white space, steps by segment rule."""

    problems: int
    question: tuple[float, int]
    solution: tuple[float, int]
    steps: dict[str, tuple[float, int]]
    answers: Counter[str]
    levels: Counter[Any]
    subjects: Counter[Any]


def describe(problems: Sequence[Problem]) -> Numbers:
    """Count a set that is not empty."""
    return Numbers(
        len(problems),
        _spread(len(p.question.split()) for p in problems),
        _spread(len(p.solution.split()) for p in problems),
        {rule: _spread(_steps(p.solution, rule) for p in problems) for rule in DELIMITERS},
        Counter(kind_of(p) for p in problems),
        Counter(p.info["level"] for p in problems if "level" in p.info),
        Counter(p.info["subject"] for p in problems if "subject" in p.info),
    )


def kind_of(problem: Problem) -> str:
    """Return what the answer is: "choice", "number" (a fraction, a percentage), "text" (words) or "expression"."""
    answer = problem.answer.strip()
    if problem.choices:
        return "choice"
    if _NUMBER.fullmatch(answer):
        return "number"
    return "text" if _TEXT.fullmatch(answer) else "expression"


def _steps(solution: str, rule: str) -> int:
    return sum(1 for piece in segment(solution, rule) if piece.strip())


def _spread(values: Iterable[int]) -> tuple[float, int]:
    found = list(values)
    return median(found), max(found)
