"""CommonsenseReason-v0: multiple choice, with the chain of thought written before the answer.

Which of these has feathers? (A) carp (B) robin (C) drill (D) tulip

A bird has feathers.
A robin is a bird.
So the answer is B.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

import gymnasium as gym

from envs.files import Problems, Row, Source, load_problems
from envs.problem_env import ProblemEnv, at_level
from envs.problems import Generated, Problem, ProblemSet
from envs.token_level import Tokenizer

SOURCES: dict[str, Source] = {
    # The test split of CommonsenseQA has no answers.
    "commonsense_qa": Source(
        "commonsense_qa", {"train": "train_rand_split", "valid": "dev_rand_split"}, ("tau/commonsense_qa", "default")
    ),
    "openbookqa": Source("openbookqa", {"train": "train", "valid": "dev", "test": "test"}, ("allenai/openbookqa", "main")),
}

CATEGORIES: dict[str, tuple[str, str]] = {
    "bird": ("has feathers", "crow dove duck eagle goose owl parrot robin sparrow swan"),
    "fish": ("has gills", "carp cod herring perch pike salmon shark trout tuna"),
    "flower": ("has petals", "daisy iris lily orchid poppy rose tulip violet"),
    "garment": ("is worn on the body", "coat dress hat jacket scarf shirt skirt sock sweater"),
    "instrument": ("is played to make music", "banjo cello drum flute guitar harp piano trumpet violin"),
    "insect": ("has six legs", "ant bee beetle cricket fly moth termite wasp"),
    "tool": ("is kept in a toolbox", "chisel drill hammer mallet saw screwdriver wrench"),
    "vehicle": ("carries people over roads", "bus car motorbike scooter taxi truck van"),
}
"""Kind of thing -> (what is true of this kind alone, its members)."""


class CommonsenseReasonEnv(ProblemEnv):
    """Questions with lettered choices; the reference is the letter (see `ProblemEnv` for the episode's rules)."""

    def __init__(
        self,
        problems: Problems = "categories",
        split: str = "train",
        level: str = "step",
        segment: str = "lines",
        max_steps: int = 20,
        instruction: str = "",
        data_dir: str | PathLike[str] | None = None,
        **generator: Any,
    ) -> None:
        """`problems`, `split`, `data_dir` and the generator's arguments are those of `load`."""
        super().__init__(load(problems, split, data_dir, **generator), level, segment, max_steps, instruction)


def make_commonsense_reason(
    level: str = "step", tokenizer: Tokenizer | None = None, max_length: int | None = None, **kwargs: Any
) -> gym.Env[Any, Any]:
    """Make a CommonsenseReasonEnv; `level="token"` is the token MDP, as in `envs.math_reason.env.make_math_reason`."""
    return at_level(CommonsenseReasonEnv, level, tokenizer, max_length, **kwargs)


def load(
    problems: Problems = "categories",
    split: str = "train",
    data_dir: str | PathLike[str] | None = None,
    **generator: Any,
) -> ProblemSet:
    """Return the problems of one split.

    `problems` is "categories" (the generator, with `choices`, `count` and `seed`), a key of `SOURCES`, the path of a
    .jsonl or .jsonl.gz file, or a list of `Problem` or rows in one of the layouts of `problem_of`. The errors are those
    of `envs.files.load_problems`.
    """
    return load_problems(problems, split, data_dir, {"categories": categories}, SOURCES, problem_of, **generator)


def problem_of(row: Row) -> Problem:
    """Read one multiple-choice question; choices are lettered from A in their order, whatever their labels were.

    The layouts are CommonsenseQA's (`question` = {stem, choices: [{label, text}]}, `answerKey`), SWAG's (`sent1`,
    `sent2`, `ending0`..., `label` = index) and the hub's (`question` or `question_stem`, `choices` = a list or
    {label: [...], text: [...]}, `answerKey`). Without a `solution` the worked solution is the answer alone.
    """
    nested = row.data.get("question")
    if isinstance(nested, Mapping):
        row = replace(row, data={**row.data, "question": None, **nested})
    stem = " ".join(filter(None, [row.text("question", "stem", "question_stem", "sent1"), row.optional("sent2")]))
    labels, texts = _choices(row)
    key = row.text("answerKey", "answer", "label")
    if key not in labels:
        raise row.error("answerKey", f"is {key!r}: wanted one of the labels {', '.join(labels)}")
    letter = string.ascii_uppercase[labels.index(key)]
    return Problem(row.id(), ask(stem, texts), row.optional("solution") or f"So the answer is {letter}.", letter)


def ask(stem: str, choices: list[str]) -> str:
    """Return the question with its lettered choices: "Which is red? (A) a rose (B) the sky"."""
    return " ".join([stem, *(f"({letter}) {text}" for letter, text in zip(string.ascii_uppercase, choices, strict=False))])


def _choices(row: Row) -> tuple[list[str], list[str]]:
    """Return the labels and the texts of a row's choices."""
    labels, texts = _columns(row.data)
    # Ten letters, A to J, are what grading reads.
    if isinstance(texts, list) and 2 <= len(texts) <= 10 and all(isinstance(text, str) and text for text in texts):
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


def categories(split: str = "train", choices: int = 4, count: int | None = None, seed: int = 0) -> Generated:
    """Return procedural questions about kinds of things, with worked chains; `choices` is from 2 to 8.

    The other arguments are those of `envs.problems.Generated`.
    """
    if not 2 <= choices <= len(CATEGORIES):
        raise ValueError(f"choices={choices}: wanted from 2 to {len(CATEGORIES)}")
    return Generated(f"categories-c{choices}", partial(_draw, choices), split, count, seed)


def _draw(choices: int, rng: random.Random) -> tuple[str, str, str]:
    """Return (question, worked solution, letter): what is a bird, what has feathers, or what is not a bird."""
    kinds = rng.sample(list(CATEGORIES), choices)
    odd = rng.random() < 1 / 3
    if odd:  # all are of one kind but the right one
        things = [rng.choice(_members(kinds[0])), *rng.sample(_members(kinds[1]), choices - 1)]
        stem = f"Which of these is not {_a(kinds[1])}?"
        chain = [
            f"{_a(things[0]).capitalize()} is {_a(kinds[0])}.",
            f"{_a(kinds[0]).capitalize()} is not {_a(kinds[1])}.",
        ]
    else:
        things = [rng.choice(_members(kind)) for kind in kinds]
        fact = CATEGORIES[kinds[0]][0]
        direct = rng.random() < 1 / 2
        stem = f"Which of these is {_a(kinds[0])}?" if direct else f"Which of these {fact}?"
        chain = [] if direct else [f"{_a(kinds[0]).capitalize()} {fact}."]
        chain.append(f"{_a(things[0]).capitalize()} is {_a(kinds[0])}.")
    shown = rng.sample(things, len(things))
    letter = string.ascii_uppercase[shown.index(things[0])]
    return ask(stem, shown), "\n".join([*chain, f"So the answer is {letter}."]), letter


def _members(kind: str) -> list[str]:
    return CATEGORIES[kind][1].split()


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
