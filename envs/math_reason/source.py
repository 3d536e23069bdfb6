"""Where maths problems come from: generators, named data sets (files or the Hugging Face hub), a file, a list."""

from __future__ import annotations

import operator
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from typing import Any

from envs.files import Hub, Problems, Source, load_problems
from envs.grading.extract import explicit
from envs.math_reason.generator import arithmetic
from envs.math_reason.procedural import reasoning_gym
from envs.problems import Problem, ProblemSet, narrowed, with_choices
from envs.rows import Columns, Row

__all__ = ["GENERATORS", "SOURCES", "Problem", "load", "problem_of"]

GENERATORS = {"arithmetic": arithmetic, "reasoning_gym": reasoning_gym}

_STATED = re.compile(r"\nThe answer is: *(\S[^\n]*?)\s*\Z")
_LAST_LINE = re.compile(r"\n\s*answer *:[^\n]*\Z", re.IGNORECASE)
_UNITS = re.compile(r"(-?[\d.]+) +\(.*\)")
_OPERATION = re.compile(r"\( (-?[\d./]+) ([-+*/]) (-?[\d./]+) \)")
_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_WHOLE = re.compile(r"\.0+(?= )")
_BRACKETED = re.compile(r"(-?)\((\d+/\d+)\)")


def load(
    problems: Problems = "arithmetic",
    split: str = "train",
    data_dir: str | PathLike[str] | None = None,
    columns: Columns | None = None,
    levels: Sequence[int | str] | None = None,
    subjects: Sequence[str] | None = None,
    **options: Any,
) -> ProblemSet:
    """Return the problems of one split.

    Args:
        problems: "arithmetic" (the generator), "reasoning_gym:NAME", a key of `SOURCES`, the path of a file (JSON
            lines, a JSON list, CSV, parquet), or a list of `Problem` or of rows. `problem_of` says what a row has.
        split: train, valid or test of a generator, or a split that the data set has. A file or a list ignores it.
        data_dir: the folder that holds `gsm8k/train.jsonl.gz` and so on; by default $REASONING_DATA.
        columns: of a file or a list: the column (or the columns, to be joined by a space) of each field that the rows
            call otherwise, as in {"question": ["Body", "Question"], "answer": "Final"}. The fields are
            `envs.rows.FIELDS`.
        levels: keep the problems of these levels only.
        subjects: keep the problems of these subjects only.
        options: `difficulty`, `count`, `seed` of `envs.math_reason.generator.arithmetic`, or those of
            `envs.math_reason.procedural.reasoning_gym`.

    The errors are those of `envs.files.load_problems`, and ValueError for levels or subjects that no problem has.
    """
    origin = f"problems={problems!r}" if isinstance(problems, str | PathLike) else "the given list"
    if isinstance(problems, str) and problems.startswith("reasoning_gym:"):
        problems, _, options["name"] = problems.partition(":")
    found = load_problems(problems, split, data_dir, GENERATORS, SOURCES, problem_of, columns, **options)
    return narrowed(found, origin, levels=levels, subjects=subjects)


def problem_of(row: Row) -> Problem:
    """Read a row of GSM8K (question, answer = worked solution), of MATH (problem, solution, answer), or like them.

    The question may also be called `query` and the solution `response` (MetaMath). Where there are `choices` (or
    `options`), a list of texts, the question shows them with letters and `answer` (or `label`) is a letter. `level`,
    `subject` (or `type`) and `source` go to the problem's info.
    """
    question = row.text("question", "problem", "query")
    info = _info(row)
    if row.data.get("choices") or row.data.get("options"):
        return _multiple_choice(row, question, info)
    answer = row.optional("answer")
    solution = row.optional("solution", "response") or answer
    if not solution:
        raise row.error("answer", "is missing: wanted a worked solution or a bare answer")
    stated = None if answer else _STATED.search(solution)
    found = explicit(answer or solution)
    if not (stated or found or answer):
        raise row.error("solution", "holds no final answer: wanted \\boxed{} or ####, or a field 'answer'")
    reference = stated[1] if stated else found.answer if found else str(answer)
    return Problem(row.id(), question, solution, reference, info=info)


def _info(row: Row) -> dict[str, Any]:
    """Level as a number where it is one ("Level 3" is 3, "Level ?" is none), and subject and source, as far as there."""
    level = row.optional("level") or ""
    number = re.fullmatch(r"(?:level *)?(\d+)", level, re.IGNORECASE | re.ASCII)
    known = {
        "level": int(number[1]) if number else None if "?" in level else level,
        "subject": row.optional("subject", "type"),
        "source": row.optional("source"),
    }
    return {name: value for name, value in known.items() if value}


def _multiple_choice(row: Row, stem: str, info: dict[str, Any]) -> Problem:
    """Read a row with choices. A worked solution ends in "So the answer is D.", in place of its own "Answer: Option D"."""
    given = row.data.get("choices") or row.data.get("options")
    if not isinstance(given, list) or not 2 <= len(given) <= 10 or not all(isinstance(x, str) and x.strip() for x in given):
        raise row.error("choices", "is malformed: wanted a list of 2 to 10 texts")
    letters = string.ascii_uppercase[: len(given)]
    # AGIEval writes the letter into each choice, "(A)2".
    lettered = all(text.startswith(f"({letter})") for letter, text in zip(letters, given, strict=True))
    choices = tuple((text[3:] if lettered else text).strip() for text in given)
    answer = row.text("answer", "label")
    if answer not in tuple(letters):
        raise row.error("answer", f"is {answer!r}: wanted one of the letters {', '.join(letters)}")
    ending = f"So the answer is {answer}."
    worked = row.optional("solution", "response")
    solution = f"{_LAST_LINE.sub('', worked.rstrip())}\n{ending}" if worked else ending
    return Problem(row.id(), with_choices(stem, choices), solution, answer, choices, info)


def _math(row: Row) -> Problem:
    """Read a row of MATH. Its answer is what the solution's box holds; the column has lost units, words and line breaks of it."""
    return problem_of(replace(row, data={**row.data, "answer": None}))


def _agieval(row: Row) -> Problem:
    """Read a row of AGIEval: the passage belongs to the question, and what `other` holds to the row."""
    other = row.data.get("other")
    if not isinstance(other, Mapping):
        raise row.error("other", "is missing: wanted the solution")
    question = "\n".join(filter(None, [row.optional("passage"), row.text("question")]))
    return problem_of(replace(row, data={**row.data, **other, "question": question}))


def _svamp(row: Row) -> Problem:
    """Read a row of SVAMP. Its equation, "( ( 8.0 + 2.0 ) - 4.0 )", is worked out a line at a time."""
    answer, left = row.text("answer"), _WHOLE.sub("", row.optional("Equation") or "")
    lines = []
    while innermost := _OPERATION.search(left):
        first, sign, second = innermost.groups()
        result = _number(_OPERATORS[sign](Fraction(first), Fraction(second)))
        lines.append(f"{first} {sign} {second} = {result}")
        left = f"{left[: innermost.start()]}{result}{left[innermost.end() :]}"
    return problem_of(replace(row, data={**row.data, "solution": _with_answer(lines, answer)}))


def _number(value: Fraction) -> str:
    """A decimal where it ends within four places, as 7/2 is 3.5, else the fraction."""
    return f"{float(value):.4f}".rstrip("0").rstrip(".") if (value * 10_000).denominator == 1 else str(value)


def _with_answer(lines: Sequence[str], answer: str) -> str:
    """A worked solution that ends as those of GSM8K do."""
    return "\n".join((*filter(None, lines), f"#### {answer}"))


def _asdiv(row: Row) -> Problem:
    """Read a row of ASDiv, whose answers have units: "9 (apples)" is 9, and "-(1/3)" is -1/3. Words and ratios stay.

    Its formulas, "6+9=15; 15-4=11", are the lines of the solution.
    """
    answer = row.text("answer")
    if match := _UNITS.fullmatch(answer):
        answer = match[1]
    elif match := _BRACKETED.fullmatch(answer):
        answer = match[1] + match[2]
    lines = [line.strip() for line in (row.optional("formula") or "").split(";")]
    return problem_of(replace(row, data={**row.data, "answer": answer, "solution": _with_answer(lines, answer)}))


def _mawps(row: Row) -> Problem:
    """Read a row of MAWPS, where thirds and their like are rounded to ten decimals: 0.6666666667 is 2/3."""
    answer = row.text("answer")
    if re.fullmatch(r"-?\d+\.\d{10}", answer):
        exact = Fraction(answer).limit_denominator(1000)
        if round(float(exact), 10) != float(answer):
            raise row.error("answer", f"is {answer}, which is no fraction rounded to ten decimals")
        answer = str(exact)
    return problem_of(replace(row, data={**row.data, "answer": answer}))


def _numinamath(row: Row) -> Problem | None:
    """Read a row of NuminaMath; proofs and other solutions without a box are no problems that can be graded."""
    return problem_of(row) if "\\boxed" in row.text("solution") and explicit(row.text("solution")) else None


def _unnamed(row: Row) -> Problem:
    """Read a row whose own id is a mere number, which says nothing about where the problem is from."""
    return replace(problem_of(row), id=row.numbered())


_SVAMP = {"question": ("Body", "Question"), "answer": "Answer", "subject": "Type", "id": "ID"}
_ASDIV = {"question": ("body", "question"), "subject": "solution_type"}

SOURCES: dict[str, Source] = {
    "gsm8k": Source(problem_of, {"train": "gsm8k/train", "test": "gsm8k/test"}, Hub("openai/gsm8k", "main")),
    "math": Source(
        _math,
        {"train": "math_hendrycks/train", "test": "math_hendrycks/test"},
        Hub("DigitalLearningGmbH/MATH-lighteval"),
        # Their boxes are empty: the zero that should stand there was lost.
        skip={"train": frozenset({5342, 5344})},
    ),
    "math500": Source(problem_of, {"test": "math500/test500"}, Hub("HuggingFaceH4/MATH-500", splits={"test": "test"})),
    "aime24": Source(_unnamed, {"test": "aime24/test"}, Hub("HuggingFaceH4/aime_2024", splits={"test": "train"})),
    "amc23": Source(_unnamed, {"test": "amc23/test"}, Hub("math-ai/amc23", splits={"test": "test"})),
    "agieval_math": Source(_agieval, {"test": "agieval/math"}),
    "sat_math": Source(_agieval, {"test": "agieval/sat-math"}),
    "aqua": Source(_agieval, {"test": "agieval/aqua-rat"}),
    "svamp": Source(
        _svamp,
        {"all": "svamp/test"},
        Hub("ChilleD/SVAMP", splits={"all": "train+test"}),
        _SVAMP,
        {"all": frozenset({352})},  # 4 - 2 + 3 = 5 by its own equation, and 1 by its answer
    ),
    "asdiv": Source(
        _asdiv,
        {"all": "asdiv/test"},
        Hub("EleutherAI/asdiv", "asdiv", {"all": "validation"}),
        _ASDIV,
        # 778: 86 students in buses of 9 need 10 and not 9. 1316: 5/2, where the denominator is 3 more than the numerator.
        # The others: rounded answers (10/3 is 3.333, the mean 114/7 is 16.3) to questions that do not ask for rounding.
        {"all": frozenset({575, 778, 1160, 1316, 1890, 1893, 1894, 1895, 1900, 1902})},
    ),
    "mawps": Source(
        _mawps,
        {"all": "mawps/test"},
        Hub("MU-NLPC/Calc-mawps", "default", {"all": "train+validation+test"}, {"question": "question", "answer": "result"}),
        {"question": "input", "answer": "target", "subject": "type"},
    ),
    "metamath": Source(problem_of, {"train": "metamath/train"}, Hub("meta-math/MetaMathQA", splits={"train": "train"})),
    "numinamath": Source(_numinamath, {"train": "numinamath/train", "test": "numinamath/test"}, Hub("AI-MO/NuminaMath-CoT")),
}
"""Published sets: name -> how a row is read, the files, the hub, and what is left out."""
