"""What a set of problems is like, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from envs.grading import kind_of
from envs.problem_env import DELIMITERS, segment
from envs.problems import Problem


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
        Counter("choice" if p.choices else kind_of(p.answer) or "none" for p in problems),
        Counter(p.info["level"] for p in problems if "level" in p.info),
        Counter(p.info["subject"] for p in problems if "subject" in p.info),
    )


def _steps(solution: str, rule: str) -> int:
    return sum(1 for piece in segment(solution, rule) if piece.strip())


def _spread(values: Iterable[int]) -> tuple[float, int]:
    found = list(values)
    return median(found), max(found)
