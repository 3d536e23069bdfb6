"""The default problem source: word problems of `difficulty` computations, worked line by line in the shape of GSM8K.

    Ana plants 3 rows of 4 roses. 5 of them dry out. How many roses does Ana have?

    Ana plants 3 * 4 = 12 roses.
    12 - 5 = 7 roses are left.
    #### 7

A problem is a chain: an opening (which may be a computation already), then moves that each change the running number,
then a question about it. Families are data: to add one, add a `Family` to `FAMILIES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from envs.problems import Generated

MAX_DIFFICULTY = 10

NAMES = [
    "Ana",
    "Ben",
    "Carla",
    "Dan",
    "Eva",
    "Finn",
    "Gina",
    "Hugo",
    "Ivy",
    "Jack",
    "Kim",
    "Leo",
    "Mia",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tina",
    "Walt",
]
THINGS = ["apples", "books", "cards", "coins", "eggs", "marbles", "nuts", "pens", "shells", "stamps"]
PLANTS = ["beans", "ferns", "lilies", "roses", "trees", "tulips"]
EXTRAS = ["bag", "belt", "book", "cap", "coat", "cup", "fan", "hat", "kite", "lamp", "map", "scarf"]


@dataclass(frozen=True)
class Move:
    """One computation `a op b = c`: the sentence of the problem (it may use b) and the line of the solution."""

    op: str
    sentence: str
    line: str


@dataclass(frozen=True)
class Family:
    """A kind of story. `opening` is a sentence with {a}, or a Move that makes the first number from {a} and {b}."""

    opening: str | Move
    moves: tuple[Move, ...]
    question: str


FAMILIES: dict[str, Family] = {
    "collect": Family(
        "{who} has {a} {things}.",
        (
            Move("+", "{who} finds {b} more.", "{who} has {a} + {b} = {c} {things}."),
            Move("+", "A friend brings {b} more.", "{who} has {a} + {b} = {c} {things}."),
            Move("-", "{who} gives away {b}.", "{who} has {a} - {b} = {c} {things}."),
            Move("-", "{who} loses {b}.", "{who} has {a} - {b} = {c} {things}."),
        ),
        "How many {things} does {who} have now?",
    ),
    "compare": Family(
        "{who} has {a} {things}.",
        (
            Move("+", "{who} has {b} more than {before}.", "{who} has {a} + {b} = {c} {things}."),
            Move("-", "{who} has {b} fewer than {before}.", "{who} has {a} - {b} = {c} {things}."),
            Move("*", "{who} has {b} times as many as {before}.", "{who} has {a} * {b} = {c} {things}."),
        ),
        "How many {things} does {who} have?",
    ),
    "shop": Family(
        Move("*", "{who} buys {a} {things} at {b} dollars each.", "The {things} cost {a} * {b} = {c} dollars."),
        (
            Move("+", "{who} adds a {extra} for {b} dollars.", "With the {extra} it is {a} + {b} = {c} dollars."),
            Move("-", "A coupon takes {b} dollars off.", "The coupon leaves {a} - {b} = {c} dollars."),
        ),
        "How many dollars does {who} pay?",
    ),
    "garden": Family(
        Move("*", "{who} plants {a} rows of {b} {plants}.", "{who} plants {a} * {b} = {c} {plants}."),
        (
            Move("-", "{b} of them dry out.", "{a} - {b} = {c} {plants} are left."),
            Move("+", "{who} plants {b} more.", "With the new ones it is {a} + {b} = {c} {plants}."),
        ),
        "How many {plants} does {who} have?",
    ),
    "bus": Family(
        "A bus has {a} riders.",
        (
            Move("+", "{b} riders get on.", "The bus has {a} + {b} = {c} riders."),
            Move("-", "{b} riders get off.", "The bus has {a} - {b} = {c} riders."),
        ),
        "How many riders are on the bus now?",
    ),
    "bakery": Family(
        "{who} bakes {a} rolls.",
        (
            Move("+", "{who} bakes {b} more.", "{who} has {a} + {b} = {c} rolls."),
            Move("-", "{who} sells {b}.", "{who} has {a} - {b} = {c} rolls."),
            Move("/", "{who} puts them in {b} equal bags and keeps one bag.", "One bag holds {a} / {b} = {c} rolls."),
        ),
        "How many rolls does {who} have now?",
    ),
    "trip": Family(
        "{who} rides {a} miles.",
        (
            Move("+", "Then {who} rides {b} miles more.", "{who} has gone {a} + {b} = {c} miles."),
            Move("-", "A short cut makes the way {b} miles shorter.", "The way is {a} - {b} = {c} miles."),
            Move("*", "{who} rides this whole way {b} times.", "In all {who} rides {a} * {b} = {c} miles."),
        ),
        "How many miles does {who} ride?",
    ),
    "game": Family(
        "A team has {a} points.",
        (
            Move("+", "It wins {b} points.", "The team has {a} + {b} = {c} points."),
            Move("-", "It loses {b} points.", "The team has {a} - {b} = {c} points."),
            Move("*", "A bonus gives it {b} times its points.", "The team has {a} * {b} = {c} points."),
            Move("/", "A foul divides its points by {b}.", "The team has {a} / {b} = {c} points."),
        ),
        "How many points does the team have?",
    ),
}

_APPLY: dict[str, Callable[[int, int], int]] = {
    "+": int.__add__,
    "-": int.__sub__,
    "*": int.__mul__,
    "/": int.__floordiv__,
}


def arithmetic(split: str = "train", difficulty: int = 2, count: int | None = None, seed: int = 0) -> Generated:
    """Return the problems of one split, made on demand.

    Args:
        split: train, valid or test; they never share a problem.
        difficulty: the number of computations in each solution, 1 to 10. Numbers grow with it: operands are at most
            5 * difficulty (but at least 10), results five times that.
        count: how many problems; by default 10,000 for train and 1,000 for valid and test.
        seed: another seed gives other problems of the same split.
    """
    if isinstance(difficulty, bool) or not isinstance(difficulty, int) or not 1 <= difficulty <= MAX_DIFFICULTY:
        raise ValueError(f"difficulty={difficulty!r}: wanted a whole number of computations from 1 to {MAX_DIFFICULTY}")
    return Generated(f"arithmetic-d{difficulty}", partial(_draw, difficulty), split, count, seed)


def _draw(difficulty: int, rng: random.Random) -> tuple[str, str, str]:
    """Return (question, worked solution, answer) of one random problem."""
    family = FAMILIES[rng.choice(list(FAMILIES))]
    opening = family.opening
    # Small numbers keep a problem of few steps within reach of a small model: there are few facts to learn by heart.
    largest = max(10, 5 * difficulty)
    limit, factor = 5 * largest, min(9, largest // 2)
    fill = _filler(rng, family, difficulty)
    value = rng.randint(2, factor if isinstance(opening, Move) else largest)
    text = [fill(opening, 0, a=value)] if isinstance(opening, str) else []
    lines: list[str] = []
    for step in range(1, difficulty + 1):
        if step == 1 and isinstance(opening, Move):
            move, b = opening, rng.randint(2, factor)
        else:
            move, b = _next_move(rng, family.moves, value, largest, limit)
        result = _APPLY[move.op](value, b)
        text.append(fill(move.sentence, step, a=value, b=b))
        lines.append(fill(move.line, step, a=value, b=b, c=result))
        value = result
    text.append(fill(family.question, difficulty))
    return " ".join(text), "\n".join([*lines, f"#### {value}"]), str(value)


def _filler(rng: random.Random, family: Family, difficulty: int) -> Callable[..., str]:
    """Draw the words of one story; return `fill(template, step, **numbers)`."""
    names = rng.sample(NAMES, difficulty + 1)
    extras = ["", *rng.sample(EXTRAS, difficulty)]
    words = {"things": rng.choice(THINGS), "plants": rng.choice(PLANTS)}
    # Only a comparison brings in somebody new at each step.
    comparing = any("{before}" in move.sentence for move in family.moves)

    def fill(template: str, step: int, **numbers: int) -> str:
        who = step if comparing else 0
        return template.format(who=names[who], before=names[max(who - 1, 0)], extra=extras[step], **words, **numbers)

    return fill


def _next_move(rng: random.Random, moves: tuple[Move, ...], a: int, largest: int, limit: int) -> tuple[Move, int]:
    """Draw a move and its number b such that the result is whole and from 1 to `limit` (every family has + and -)."""
    for move in rng.sample(moves, len(moves)):
        fitting = {
            "+": range(2, min(largest, limit - a) + 1),
            "-": range(2, min(largest, a - 1) + 1),
            "*": range(2, min(5, limit // a) + 1),
            "/": [b for b in range(2, 11) if a % b == 0],
        }[move.op]
        if fitting:
            return move, rng.choice(fitting)
    raise AssertionError(f"no move fits {a}: a family needs both + and -")
