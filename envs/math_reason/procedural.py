"""Problems of the optional package reasoning-gym: `problems="reasoning_gym:leg_counting"`.

Its generators make the problems and its scorers decide. A task's text may come in several splits where the space of
problems is small: the splits have other seeds, nothing more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from envs.grading import Grade, Outcome
from envs.grading.extract import explicit
from envs.hints import choose, did_you_mean
from envs.problems import COUNTS, Numbered, Problem, ProblemSet, Scored

MAX_COUNT = 1_000_000
"""Problems of a split: item i of a reasoning-gym dataset has the seed s + i, so this keeps the splits' seeds apart."""

MAX_SEED = 2**32 // (3 * MAX_COUNT) - 1  # some datasets seed NumPy, which takes 32 bits

# They iterate over sets of strings, whose order is another in each process unless hashing is fixed. Found by comparing
# 60 problems of each dataset in three processes.
UNORDERED = frozenset(
    [
        "codeio",
        "intermediate_integration",
        "isomorphic_strings",
        "knight_swap",
        "list_functions",
        "polynomial_multiplication",
        "ransom_note",
        "word_ladder",
    ]
)

# Their scorers give the agent's answer to `eval`, or to sympy's parser, which does. A composite may hold any of them.
RUNS_ANSWERS = frozenset(
    [
        "binary_matrix",
        "composite",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    ]
)


def reasoning_gym(
    split: str = "train", name: str = "", count: int | None = None, seed: int = 0, run_answers: bool = False, **options: Any
) -> ReasoningGym:
    """Return `count` problems of the dataset `name` (10,000 of train and 1,000 of valid and test by default).

    `options` are the fields of the dataset's own configuration. `run_answers` allows the datasets whose scorers run an
    agent's answer as Python code. Raises ModuleNotFoundError without the package, and ValueError for an unknown name,
    split or option, with the near match, and for a dataset that needs `run_answers` or PYTHONHASHSEED=0.
    """
    if name in RUNS_ANSWERS and not run_answers:
        raise ValueError(f"the scorer of reasoning_gym:{name} runs answers as code: pass run_answers=True if you trust the agent")
    return ReasoningGym(name, split, COUNTS[choose("split", split, COUNTS)] if count is None else count, seed, options)


class ReasoningGym(ProblemSet):
    """One split of a reasoning-gym dataset, which is made when a problem is asked for; only its arguments are pickled."""

    def __init__(self, name: str, split: str, count: int, seed: int, options: dict[str, Any]) -> None:
        if name not in _datasets():
            hint = did_you_mean(name, _datasets())
            raise ValueError(f"reasoning_gym has no dataset {name!r}: wanted one of its {len(_datasets())}.{hint}")
        if not 1 <= count <= MAX_COUNT or not 0 <= seed <= MAX_SEED:
            raise ValueError(f"count={count}, seed={seed}: wanted 1 to {MAX_COUNT} problems and a seed from 0 to {MAX_SEED}")
        if name in UNORDERED and sys.flags.hash_randomization:
            raise ValueError(
                f"reasoning_gym:{name} has other problems in each process unless hashing is fixed: set PYTHONHASHSEED=0"
            )
        fields = _datasets()[name][1].__dataclass_fields__
        for option in options:
            choose(f"option of reasoning_gym:{name}", option, [field for field in fields if field not in ("seed", "size")])
        self._name, self._options = name, options
        self._seed = (3 * seed + list(COUNTS).index(split)) * MAX_COUNT
        self._tasks = Numbered(f"reasoning_gym-{name}{f'-s{seed}' if seed else ''}/{split}/", count)
        self._made: Any = None
        try:
            self._dataset()
        except (AssertionError, TypeError, ValueError) as error:
            given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "none"
            raise ValueError(f"reasoning_gym:{name} refuses its options ({given}): {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}  # some datasets hold lambdas, which cannot be pickled

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def tasks(self) -> Sequence[str]:
        """The ids, in the order of the problems, without making a list of them."""
        return self._tasks

    def problem(self, index: int) -> Problem:
        """Return problem `index`. A few datasets give no answer, only a scorer: `solution` and `answer` are "" there."""
        entry = self._dataset()[index]
        answer = "" if entry["answer"] is None else str(entry["answer"])
        return Problem(self.tasks[index], entry["question"], answer, answer)

    def grade(self, problem: Problem, response: str, rules: str | None = None) -> Grade:
        """Let the dataset's scorer judge the bare answer: what a marker names, else the last lines of the response.

        There are as many last lines as the dataset's own answer has. Only the full score is correct. Raises ValueError for `rules`:
        published rule sets are for mathematical answers.
        """
        if rules is not None:
            raise ValueError(f"rules={rules!r}: reasoning-gym's own scorers decide; leave it out")
        answer, rule = _bare(response, problem.answer.count("\n") + 1)
        if not answer:
            return Scored(Outcome.UNPARSEABLE, None, problem.answer, "none", "no answer")
        try:
            score = float(self._dataset().score_answer(answer, self._dataset()[self.find(problem.id)]))
        except Exception:  # scorers parse the answer, and raise whatever their parsers raise on nonsense
            score = 0.0
        outcome = Outcome.CORRECT if score >= 1 else Outcome.WRONG
        return Scored(outcome, answer, problem.answer, rule, "scorer", score)

    def _dataset(self) -> Any:
        if self._made is None:
            kind, configuration = _datasets()[self._name]
            self._made = kind(configuration(seed=self._seed, size=len(self._tasks), **self._options))
        return self._made


def _datasets() -> dict[str, tuple[Any, Any]]:
    """Return reasoning-gym's registry: name -> (dataset, configuration)."""
    try:
        from reasoning_gym.factory import DATASETS  # pyright: ignore[reportMissingImports]  # optional, and slow to import
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "problems='reasoning_gym:...' needs the package reasoning-gym: pip install 'reasoning-gym-offline[reasoning-gym]'"
        ) from error
    return DATASETS


def _bare(response: str, lines: int) -> tuple[str, str]:
    """Return the answer in a response, "" where there is none, and the rule that found it."""
    if found := explicit(response):
        return found.answer.strip(), found.rule
    last = [line for line in response.splitlines() if line.strip()][-lines:]
    return "\n".join(last).strip().removeprefix("####").strip(), "last line"
