"""Where multiple-choice questions come from: the generator, named data sets (files or the hub), a file, a list."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from envs.commonsense.generator import categories
from envs.files import Hub, Problems, Source, load_problems
from envs.problems import Listed, Problem, ProblemSet, with_choices
from envs.rows import Columns, Row

GENERATORS = {"categories": categories}

MAX_CHOICES = 10  # grading reads the letters A to J

_WITH_VALID = {"train": "train", "valid": "validation", "test": "test"}
_ARC = re.compile(
    r"Please choose the correct answer to the question: (.*?)\n\n(Answer1: .*)\n\nAnswer format: ((?:answer\d/?)+)", re.DOTALL
)
_ARC_CHOICE = re.compile(r"(?:^| )Answer(\d): ")
_LETTER_NAMED = r"\([{0}]\)|\b(?i:answer|choice|option)s?\W+(?:is\W+)?[{0}]\b|\b[{1}]\b"


def load(
    problems: Problems = "categories",
    split: str = "train",
    data_dir: str | PathLike[str] | None = None,
    columns: Columns | None = None,
    shuffle: int | None = None,
    **generator: Any,
) -> ProblemSet:
    """Return the problems of one split.

    Args:
        problems: "categories" (the generator), a key of `SOURCES`, the path of a file (JSON lines, a JSON list, CSV,
            parquet), or a list of `Problem` or of rows in one of the layouts of `problem_of`.
        split: train, valid or test of the generator, or a split that the data set has. A file or a list ignores it.
        data_dir: the folder that holds `openbookqa/train.jsonl.gz` and so on; by default $REASONING_DATA.
        columns: of a file or a list, as in `envs.math_reason.source.load`.
        shuffle: a seed: the choices of each question are shown in an order drawn from it and the task's id, the same on
            every machine. None leaves them as they are.
        generator: `choices`, `count`, `seed` of `envs.commonsense.generator.categories`.

    The errors are those of `envs.files.load_problems`, and those of `shuffled`.
    """
    found = load_problems(problems, split, data_dir, GENERATORS, SOURCES, problem_of, columns, **generator)
    return found if shuffle is None else Listed(shuffled(problem, shuffle) for problem in found)


def shuffled(problem: Problem, seed: int) -> Problem:
    """Return the problem with its choices in another order; the letters stay A, B, ... and the answer follows.

    The last line "So the answer is B." of a worked solution follows too. Raises ValueError where a solution names letters
    anywhere else: which of its words mean a choice cannot be told, and a wrong letter would teach nonsense.
    """
    if not problem.choices:
        raise ValueError(f"task {problem.id!r} has no choices to shuffle: leave shuffle out, or give its 'choices'")
    letters = string.ascii_uppercase[: len(problem.choices)]
    order = shuffled_order(len(letters), f"{seed}/{problem.id}")
    letter = letters[order.index(letters.index(problem.answer))]
    listed = with_choices("", problem.choices)
    worked = problem.solution.removesuffix(_last_line(problem.answer))
    alone = letters.replace("A", "").replace("I", "")  # these two are words as well
    named = re.search(_LETTER_NAMED.format(letters, alone), worked)
    if named or worked == problem.solution or not problem.question.endswith(listed):
        where = f"its solution names {named[0]!r}" if named else "its solution does not end in 'So the answer is LETTER.'"
        raise ValueError(f"task {problem.id!r} cannot be shuffled: {where}; leave shuffle out, or letters out of solutions")
    choices = tuple(problem.choices[i] for i in order)
    question = with_choices(problem.question.removesuffix(listed), choices)
    return replace(problem, question=question, solution=worked + _last_line(letter), answer=letter, choices=choices)


def shuffled_order(count: int, key: str) -> list[int]:
    """Return the numbers below `count` in an order that hangs on `key` alone, on every machine."""
    order = list(range(count))
    random.Random(key).shuffle(order)  # text seeds are hashed with SHA-512
    return order


def problem_of(row: Row) -> Problem:
    """Read one multiple-choice question; choices are lettered from A in their order, whatever their labels were.

    The layouts are CommonsenseQA's (`question` = {stem, choices: [{label, text}]}, `answerKey`), SWAG's (`sent1`,
    `sent2`, `ending0`..., `label` = index), the hub's (`question` or `question_stem`, `choices` = a list or
    {label: [...], text: [...]}, `answerKey`), ARC's as instructions (`instruction`, `answer`) and SciQ's (`question`,
    `correct_answer`, `distractor1`...; its choices have no order, so one is drawn from the row's id). Without a
    `solution` the worked solution is the answer alone.
    """
    if "instruction" in row.data:
        row = replace(row, data={**row.data, **_instruction(row)})
    elif "correct_answer" in row.data:
        row = replace(row, data={**row.data, **_distractors(row)})
    nested = row.data.get("question")
    if isinstance(nested, Mapping):
        row = replace(row, data={**row.data, "question": None, **nested})
    stem = " ".join(filter(None, [row.text("question", "stem", "question_stem", "sent1"), row.optional("sent2")]))
    labels, texts = _choices(row)
    key = row.text("answerKey", "answer", "label")
    if key not in labels:
        raise row.error("answerKey", f"is {key!r}: wanted one of the labels {', '.join(labels)}")
    letter = string.ascii_uppercase[labels.index(key)]
    solution = row.optional("solution") or _last_line(letter)
    known = {name: value for name in ("level", "subject") if (value := row.optional(name))}
    return Problem(row.id(), with_choices(stem, texts), solution, letter, tuple(texts), known)


def _last_line(letter: str) -> str:
    return f"So the answer is {letter}."


def _instruction(row: Row) -> dict[str, Any]:
    """Read "Please choose the correct answer to the question: ...Answer1: ... Answer2: ...Answer format: ...", or refuse."""
    match = _ARC.fullmatch(row.text("instruction"))
    _, *found = _ARC_CHOICE.split(match[2]) if match else ("",)
    labels = [f"answer{number}" for number in found[::2]]
    if match is None or labels != match[3].split("/") or labels != [f"answer{i}" for i in range(1, len(labels) + 1)]:
        raise row.error("instruction", "is no question in ARC's form: wanted Answer1: ... and the answer format beneath")
    return {"question": match[1], "choices": {"label": labels, "text": [text.strip() for text in found[1::2]]}}


def _distractors(row: Row) -> dict[str, Any]:
    texts = [row.text("correct_answer"), *(row.text(f"distractor{i}") for i in (1, 2, 3))]
    order = shuffled_order(len(texts), row.id())
    return {"choices": [texts[i] for i in order], "answer": string.ascii_uppercase[order.index(0)]}


def _choices(row: Row) -> tuple[list[str], list[str]]:
    """Return the labels and the texts of a row's choices."""
    labels, texts = _columns(row.data)
    if isinstance(texts, list) and 2 <= len(texts) <= MAX_CHOICES and all(isinstance(text, str) and text for text in texts):
        labels = list(string.ascii_uppercase[: len(texts)]) if labels is None else [str(label) for label in labels]
        if len(labels) == len(texts):
            return labels, texts
    raise row.error("choices", "is missing or malformed: wanted 2 to 10 texts, each with its label")


def _columns(data: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return (labels, texts) as they stand in the row, unchecked; labels None where there are none."""
    choices = data.get("choices")
    if choices is None:
        texts = [data[f"ending{i}"] for i in range(10) if f"ending{i}" in data]
        return range(len(texts)), texts
    if isinstance(choices, Mapping):
        return choices.get("label"), choices.get("text")
    if isinstance(choices, list) and all(isinstance(choice, Mapping) for choice in choices):
        return [choice.get("label") for choice in choices], [choice.get("text") for choice in choices]
    return None, choices


def _arc(title: str) -> Source:
    files = {split: f"arc/{title}_{split}" for split in ("train", "test")}
    return Source(problem_of, files, Hub("allenai/ai2_arc", title, _WITH_VALID))


SOURCES: dict[str, Source] = {
    # The test split of CommonsenseQA has no answers.
    "commonsense_qa": Source(
        problem_of,
        {"train": "commonsense_qa/train_rand_split", "valid": "commonsense_qa/dev_rand_split"},
        Hub("tau/commonsense_qa", splits={"train": "train", "valid": "validation"}),
    ),
    "openbookqa": Source(
        problem_of,
        {"train": "openbookqa/train", "valid": "openbookqa/dev", "test": "openbookqa/test"},
        Hub("allenai/openbookqa", "main", _WITH_VALID),
    ),
    "arc_challenge": _arc("ARC-Challenge"),
    "arc_easy": _arc("ARC-Easy"),
    "sciq": Source(problem_of, hub=Hub("allenai/sciq", splits=_WITH_VALID)),
}
"""Published sets: name -> how a row is read, the files, and the hub."""
