"""Problem sets: sequences of `Problem` that are found by task id, listed or generated on demand."""

from __future__ import annotations

import random
import re
import string
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from envs.grading import Grade, grade
from envs.hints import choose, did_you_mean

# The share of all problems that each split may draw from, in hundredths of the hash of the problem's text.
_BUCKETS = {"train": range(0, 80), "valid": range(80, 90), "test": range(90, 100)}
COUNTS = {"train": 10_000, "valid": 1_000, "test": 1_000}
"""How many generated problems each split has by default."""


@dataclass(frozen=True)
class Problem:
    """One task: `question` is shown, `solution` is worked and ends in the answer, `answer` is what grading wants.

    Of a multiple-choice question `choices` are the texts in the order shown and `answer` is a letter. `info` is what
    else is known (level, subject), in plain values; an environment's `reset` gives it beside the rest.
    """

    id: str
    question: str
    solution: str
    answer: str
    choices: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict, hash=False)  # a dict has no hash, and pickles where a view does not


@dataclass(frozen=True)
class Scored(Grade):
    """A grade by a scorer that also gives part marks, 0 to 1; they are logged and are no reward."""

    score: float = 0.0


def with_choices(stem: str, choices: Iterable[str]) -> str:
    """Return the question with its lettered choices: "Which is red? (A) a rose (B) the sky"."""
    return " ".join([stem, *(f"({letter}) {text}" for letter, text in zip(string.ascii_uppercase, choices, strict=False))])


_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})")
_WORD = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?|[^\W\d_]+|[-+*/=<>^]")


def words(text: str) -> list[str]:
    """Return the words, numbers and signs of arithmetic of `text`, without case, spaces and all other punctuation."""
    return [word.replace(",", "") for word in _WORD.findall(_HYPHEN.sub(" ", text.casefold()))]


def masked(text: Sequence[str]) -> tuple[str, ...]:
    """Return `words` with every number as "0"."""
    return tuple("0" if word[0].isdigit() else word for word in text)


def split_of(question: str) -> str:
    """Return the split that a published problem is dealt to where its set has none.

    It hangs on its `masked` words alone: copies of a problem, and problems that differ in their numbers only, are dealt
    to the same split.
    """
    bucket = zlib.crc32(" ".join(masked(words(question))).encode()) % 100
    return next(split for split, buckets in _BUCKETS.items() if bucket in buckets)


class ProblemSet(Sequence[Problem]):
    """A sequence of problems whose ids are known without making the problems."""

    @property
    @abstractmethod
    def tasks(self) -> Sequence[str]:
        """The ids, in the order of the problems."""

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> list[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | list[Problem]:
        """Return one problem, or a list of them for a slice. Raises IndexError outside the set."""
        if isinstance(index, slice):
            return [self.problem(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"problem {index} of {len(self)}: wanted an index from 0 to {len(self) - 1}")
        return self.problem(index % len(self))

    @abstractmethod
    def problem(self, index: int) -> Problem:
        """Return problem `index`, 0 <= index < len(self)."""

    def find(self, task: str) -> int:
        """Return the index of the problem with the id `task`. Raises ValueError with the near match."""
        try:
            return self.tasks.index(task)
        except ValueError:
            sample = self.tasks[:2000]
            raise ValueError(
                f"unknown task {task!r}: wanted one of {len(self)} ids such as {sample[0]!r} "
                f"(env.unwrapped.tasks lists them), or an index.{did_you_mean(task, sample)}"
            ) from None

    def grade(self, problem: Problem, response: str, rules: str | None = None) -> Grade:
        """Compare the final answer of a whole response with the problem's, by a published rule set where one is named."""
        return grade(response, problem.answer, "choice" if problem.choices else None, problem.choices, rules)


class Listed(ProblemSet):
    """A problem set held in memory. Raises ValueError where it is empty or an id comes twice."""

    def __init__(self, problems: Iterable[Problem], origin: str = "the given list") -> None:
        self._problems = list(problems)
        self._index = {problem.id: i for i, problem in enumerate(self._problems)}
        self._tasks = tuple(self._index)
        if not self._problems:
            raise ValueError(f"{origin} holds no problems: wanted at least one")
        if len(self._index) < len(self._problems):
            twice = next(p.id for i, p in enumerate(self._problems) if self._index[p.id] != i)
            raise ValueError(f"{origin} holds the id {twice!r} twice: give each problem its own 'id', or leave ids out")

    def __len__(self) -> int:
        return len(self._problems)

    @property
    def tasks(self) -> Sequence[str]:
        """The ids, in the order of the problems."""
        return self._tasks

    def problem(self, index: int) -> Problem:
        """Return problem `index`."""
        return self._problems[index]

    def find(self, task: str) -> int:
        """Return the index of the problem with the id `task`."""
        return self._index[task] if task in self._index else super().find(task)


def narrowed(problems: ProblemSet, origin: str, **wanted: Sequence[Any] | None) -> ProblemSet:
    """Return the problems whose `info[name]` is among `wanted[name + "s"]`, for each that is not None.

    Raises ValueError for values that no problem has (with the near match), and where problems have no such info.
    """
    for names, values in wanted.items():
        if values is None:
            continue
        name = names.removesuffix("s")
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise ValueError(f"{names}={values!r} is a {type(values).__name__}: wanted a list")
        known = sorted({p.info[name] for p in problems if name in p.info}, key=str) if isinstance(problems, Listed) else []
        if not known:
            raise ValueError(f"{names} is wanted, and {origin} says no {name} of its problems: leave it out")
        for value in values:
            if value not in known:
                choose(names, value, known)
        problems = Listed((p for p in problems if p.info.get(name) in values), f"{origin} with {names}={values!r}")
    return problems


class Generated(ProblemSet):
    """`count` procedural problems, each made when asked for from (seed, split, index) alone.

    `draw(rng)` returns (question, solution, answer), and choices where it has them. Which split a problem may appear in
    is decided by the hash of its question, so splits never share one, whatever their seeds and counts; within a split a
    problem may come twice. Ids are `NAME/SPLIT/000123`, with the seed in the name where it is not 0.
    """

    def __init__(
        self, name: str, draw: Callable[[random.Random], tuple[Any, ...]], split: str, count: int | None, seed: int
    ) -> None:
        choose("split", split, _BUCKETS)
        self._count = COUNTS[split] if count is None else count
        if self._count < 1:
            raise ValueError(f"count={count}: wanted at least one problem")
        self._tasks = Numbered(f"{name}{f'-s{seed}' if seed else ''}/{split}/", self._count)
        self._draw = draw
        self._bucket = _BUCKETS[split]

    def __len__(self) -> int:
        return self._count

    @property
    def tasks(self) -> Sequence[str]:
        """The ids, in the order of the problems, without making a list of them."""
        return self._tasks

    def problem(self, index: int) -> Problem:
        """Return problem `index`; ten draws are expected for the small splits."""
        name = self.tasks[index]
        rng = random.Random(name)  # seeded with text, which random hashes with SHA-512: the same on every machine
        while True:
            question, *rest = self._draw(rng)
            if zlib.crc32(question.encode()) % 100 in self._bucket:
                return Problem(name, question, *rest)


class Numbered(Sequence[str]):
    """`PREFIX000000`, `PREFIX000001`, ... with `index` in constant time."""

    def __init__(self, prefix: str, count: int) -> None:
        self._prefix = prefix
        self._range = range(count)

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [f"{self._prefix}{i:06d}" for i in self._range[index]]
        return f"{self._prefix}{self._range[index]:06d}"

    def __contains__(self, value: object) -> bool:
        digits = value.removeprefix(self._prefix) if isinstance(value, str) else ""
        return digits.isdecimal() and digits.isascii() and len(digits) <= 12 and value == self._name(int(digits))

    def _name(self, number: int) -> str | None:
        return self[number] if number in self._range else None

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Return the place of an id. Raises ValueError for any other text."""
        if value not in self:
            raise ValueError(f"{value!r} is not one of these ids")
        return self._range.index(int(value.removeprefix(self._prefix)))
