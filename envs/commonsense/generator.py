"""The default problem source: what is a bird, what has feathers, what is not a bird.

Which of these has feathers? (A) carp (B) robin (C) drill (D) tulip

A bird has feathers.
A robin is a bird.
So the answer is B.
"""

from __future__ import annotations

import random
import string
from functools import partial

from envs.problems import Generated, with_choices

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


def categories(split: str = "train", choices: int = 4, count: int | None = None, seed: int = 0) -> Generated:
    """Return procedural questions about kinds of things, with worked chains; `choices` is from 2 to 8.

    The other arguments are those of `envs.problems.Generated`.
    """
    if not 2 <= choices <= len(CATEGORIES):
        raise ValueError(f"choices={choices}: wanted from 2 to {len(CATEGORIES)}")
    return Generated(f"categories-c{choices}", partial(_draw, choices), split, count, seed)


def _draw(choices: int, rng: random.Random) -> tuple[str, str, str, tuple[str, ...]]:
    """Return (question, worked solution, letter, choices): what is a bird, what has feathers, or what is not a bird."""
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
    return with_choices(stem, shown), "\n".join([*chain, f"So the answer is {letter}."]), letter, tuple(shown)


def _members(kind: str) -> list[str]:
    return CATEGORIES[kind][1].split()


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
