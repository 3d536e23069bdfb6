"""What generated games ask for: task types in the package's rooms, drawn by number and seed, and how difficult they are.

Floor plans are split as the official ones are, and task types are as frequent.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import accumulate
from random import Random
from typing import NamedTuple

from envs.alfworld import rooms
from envs.alfworld.games import TASK_TYPES
from envs.hints import choose

UNSEEN = (10, 219, 308, 424)
"""The floor plans of the official valid_unseen: a kitchen, a living room, a bedroom, a bathroom."""
UNUSED = (9, 29, 215, 226, 315, 325, 404, 425)
"""Floor plans of no official split."""
SIZES = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}
"""Games of the official splits, and of the generated ones where no other number is asked for."""

_WEIGHTS: dict[str, int] = dict(zip(TASK_TYPES, (849, 339, 708, 498, 579, 854), strict=True))
"""How often the task types come among 3,827 official games."""

_ROOMS = {
    "look_at_obj_in_light": (rooms.LIVING_ROOM, rooms.BEDROOM),
    "pick_clean_then_place_in_recep": (rooms.KITCHEN, rooms.BATHROOM),
    "pick_heat_then_place_in_recep": (rooms.KITCHEN,),
    "pick_cool_then_place_in_recep": (rooms.KITCHEN,),
}
"""ALFRED's GOALS_VALID; the other types are played in every room."""

APPLIANCES: dict[str, tuple[str, str]] = {
    "pick_clean_then_place_in_recep": ("SinkBasin", "Cleanable"),
    "pick_heat_then_place_in_recep": ("Microwave", "Heatable"),
    "pick_cool_then_place_in_recep": ("Fridge", "Coolable"),
}
"""Task type -> the kind of receptacle that its thing is taken to first, and what the thing must be for that."""
LAMP = "DeskLamp"
LAMP_STANDS = ("Desk", "Dresser", "SideTable", "Shelf", "CoffeeTable")
"""Kinds of receptacles that a lamp stands on."""


@dataclass(frozen=True)
class Difficulty:
    """The dials of the generator; None is as many as the official games have."""

    receptacles: int | None = None
    """most receptacles of a room; those that the task needs stay"""
    objects: int | None = None
    """most things lying about besides the task's own"""
    copies: int = 3
    """most things of one kind"""
    max_steps: int = 40
    """commands that an episode has"""

    def __post_init__(self) -> None:
        for dial in fields(self):
            value = getattr(self, dial.name)
            least = {"copies": 2, "max_steps": 1}.get(dial.name, 0)
            if not (isinstance(value, int) and value >= least) and not (value is None and dial.default is None):
                raise ValueError(f"difficulty: {dial.name}={value!r}, wanted a whole number of at least {least}")

    def __str__(self) -> str:
        """The name among `DIFFICULTIES`, or the dials: a part of task ids, so that an id names one game."""
        names = [name for name, dials in DIFFICULTIES.items() if dials == self]
        return names[0] if names else "-".join("all" if value is None else str(value) for value in vars(self).values())


DIFFICULTIES = {
    "small": Difficulty(receptacles=4, objects=3, copies=2, max_steps=15),
    "medium": Difficulty(receptacles=12, objects=15, copies=2),
    "official": Difficulty(),
}
"""By name. `small` is what a model from scratch learns in minutes, `official` as large as the official games are."""
DEFAULT_DIFFICULTY = "small"


def difficulty_of(wanted: str | Mapping[str, int | None] | Difficulty | None) -> Difficulty:
    """Dials by name, or by the names and values of some of them. Raises ValueError for an unknown name, dial or value."""
    if isinstance(wanted, Difficulty):
        return wanted
    if isinstance(wanted, Mapping):
        for name in wanted:
            choose("difficulty", name, [dial.name for dial in fields(Difficulty)])
        return Difficulty(**wanted)  # type: ignore[arg-type]
    return DIFFICULTIES[choose("difficulty", wanted or DEFAULT_DIFFICULTY, DIFFICULTIES)]


class Task(NamedTuple):
    """What a generated game asks for, and what names it."""

    kind: str
    """task type"""
    thing: str
    """kind of object"""
    place: str
    """kind of receptacle, or of lamp"""
    scene: int
    """floor plan"""
    trial: str

    @property
    def id(self) -> str:
        """The name in the official form `type-Object-None-Receptacle-scene/trial`."""
        return f"{self.kind}-{self.thing}-None-{self.place}-{self.scene}/{self.trial}"


def scenes_of(split: str) -> tuple[int, ...]:
    """The floor plans of a split: four that training never sees, else the official 108."""
    return UNSEEN if split == "valid_unseen" else tuple(scene for scene in rooms.SCENES if scene not in UNSEEN + UNUSED)


@functools.lru_cache(maxsize=8)
def draw_tasks(split: str, count: int, seed: int, kinds: tuple[str, ...], scenes: tuple[int, ...] | None) -> tuple[Task, ...]:
    """`count` tasks of a split, of those `kinds` and `scenes` (None is all), sorted by id; the longer list holds the shorter.

    Raises ValueError for a scene that is not of the split, and where nothing is possible.
    """
    allowed = scenes_of(split)
    if unknown := [scene for scene in scenes or () if scene not in allowed]:
        raise ValueError(f"scene {unknown[0]} is not of split {split!r}: its floor plans are {', '.join(map(str, allowed))}")
    possible = {kind: [scene for scene in scenes or allowed if _pairs(kind, scene)] for kind in kinds}
    possible = {kind: found for kind, found in possible.items() if found}
    if not possible:
        raise ValueError(
            f"no game of the types {', '.join(kinds)} is possible in the scenes {', '.join(map(str, scenes or allowed))}"
        )
    weights = list(accumulate(_WEIGHTS[kind] for kind in possible))
    tasks = []
    for number in range(count):
        random = Random(f"task {number} of {split}, seed {seed}")
        kind = random.choices(list(possible), cum_weights=weights)[0]
        scene = random.choice(possible[kind])
        tasks.append(Task(kind, *random.choice(_pairs(kind, scene)), scene, f"trial_{split}_{seed}_{number:05}"))
    return tuple(sorted(tasks, key=lambda task: task.id))


@functools.cache
def _pairs(kind: str, scene: int) -> tuple[tuple[str, str], ...]:
    """The things and places that a task of a type can be about in a room, so that it is not done at the start."""
    if kind in _ROOMS and scene // 100 not in _ROOMS[kind]:
        return ()
    plan, holds = rooms.floor_plan(scene), rooms.rules().holds
    places = sorted({rooms.kind(receptacle) for receptacle in plan.receptacles})
    things = [thing for thing in plan.objects if any(thing in holds[place] for place in places)]
    if kind == "look_at_obj_in_light":
        lit = LAMP in plan.objects and any(place in LAMP_STANDS for place in places)
        return tuple((thing, LAMP) for thing in things if lit)
    tool, able = APPLIANCES.get(kind, ("", ""))
    if tool and tool not in places:
        return ()
    things = [thing for thing in things if not tool or thing in rooms.rules().can[able]]
    pairs = ((thing, place) for thing in things for place in places if thing in holds[place] and place != tool)
    return tuple((thing, place) for thing, place in pairs if any(thing in holds[other] for other in places if other != place))
