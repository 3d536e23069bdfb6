"""Where maths problems come from: the generator, named data sets (files or the Hugging Face hub), a file, a list."""

from __future__ import annotations

from os import PathLike
from typing import Any

from envs.files import Problems, Row, Source, load_problems
from envs.grading.extract import explicit
from envs.math_reason.generator import arithmetic
from envs.problems import Problem, ProblemSet

__all__ = ["SOURCES", "Problem", "load", "problem_of"]

SOURCES: dict[str, Source] = {
    "gsm8k": Source("gsm8k", {"train": "train", "test": "test"}, ("openai/gsm8k", "main")),
    # Line 5342 of MATH's training split has an empty box where the answer should be.
    "math": Source(
        "math_hendrycks",
        {"train": "train", "test": "test"},
        ("DigitalLearningGmbH/MATH-lighteval", "default"),
        skip={"train": frozenset({5342})},
    ),
    "math500": Source("math500", {"test": "test500"}, ("HuggingFaceH4/MATH-500", "default")),
}


def load(
    problems: Problems = "arithmetic",
    split: str = "train",
    data_dir: str | PathLike[str] | None = None,
    **generator: Any,
) -> ProblemSet:
    """Return the problems of one split.

    Args:
        problems: "arithmetic" (the generator), a key of `SOURCES`, the path of a .jsonl or .jsonl.gz file, or a list of
            `Problem` or of rows. A row has `question` (or `problem`), `answer` and, where the answer is bare, a worked
            `solution`; `id` is optional.
        split: train, valid or test of the generator, or a split that the data set has. A file or a list ignores it.
        data_dir: the folder that holds `gsm8k/train.jsonl.gz` and so on; by default $REASONING_DATA.
        generator: `difficulty`, `count`, `seed` of `envs.math_reason.generator.arithmetic`.

    The errors are those of `envs.files.load_problems`.
    """
    return load_problems(problems, split, data_dir, {"arithmetic": arithmetic}, SOURCES, problem_of, **generator)


def problem_of(row: Row) -> Problem:
    """Read a row of GSM8K (question, answer = worked solution), of MATH (problem, solution, answer), or like them."""
    question = row.text("question", "problem")
    answer = row.optional("answer")
    solution = row.optional("solution") or answer
    if not solution:
        raise row.error("answer", "is missing: wanted a worked solution or a bare answer")
    found = explicit(answer or solution)
    if found is None and not answer:
        raise row.error("solution", "holds no final answer: wanted \\boxed{} or ####, or a field 'answer'")
    return Problem(row.id(), question, solution, found.answer if found else str(answer))
