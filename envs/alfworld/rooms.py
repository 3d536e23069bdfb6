"""The rooms that games are generated in: what the pip package alfworld knows of 120 floor plans and of the things in them.

The package's files are read, its modules are never imported: doing so changes the environment variables of who imports it.
"""

from __future__ import annotations

import ast
import functools
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

KITCHEN, LIVING_ROOM, BEDROOM, BATHROOM = 0, 2, 3, 4
"""Kinds of rooms: the hundreds of a floor plan's number."""
SCENES = tuple(hundred * 100 + number for hundred in (KITCHEN, LIVING_ROOM, BEDROOM, BATHROOM) for number in range(1, 31))

# What the layouts leave out. A burner is one of four; every kind that is not named here stands there once.
_SEVERAL = {"StoveBurner": 4, "StoveKnob": 4, "Chair": 2}
_SHUT = 5
"""To so many cabinets and drawers that open comes one that does not, as in the official games: the layouts lack those too."""
_CODES = (("+", "_plus_"), ("-", "_minus_"), (".", "_dot_"))


@dataclass(frozen=True)
class Rules:
    """What holds in every room: the domain, the grammar and the goals that a game file carries, and what fits where."""

    domain: str
    grammar: str
    """with `UNKNOWN GOAL` in the place of the task's sentence"""
    goals: Mapping[str, Mapping[str, Any]]
    """task type -> `pddl`, a formula with {obj}, {recep} and {toggle} to be filled in, and `templates`, sentences likewise"""
    holds: Mapping[str, frozenset[str]]
    """kind of receptacle -> kinds of objects that it takes"""
    can: Mapping[str, frozenset[str]]
    """Heatable, Coolable, Cleanable, Toggleable, Sliceable -> kinds of objects"""
    containers: frozenset[str]
    """kinds of objects that hold others (ALFRED's movable receptacles)"""
    objects: frozenset[str]
    """all kinds"""


@dataclass(frozen=True)
class FloorPlan:
    """One room without its objects: the same in all games that are played in it."""

    number: int
    receptacles: Mapping[str, str]
    """id -> the location from which it is reached"""
    openable: frozenset[str]
    objects: tuple[str, ...]
    """kinds of objects that belong into the room, sorted"""
    spots: tuple[str, ...]
    """locations on the free floor from which no receptacle is reached"""


def kind(identifier: str) -> str:
    """The kind of a receptacle or object: `Sink|-01.2|...|SinkBasin`, a part of something, is of the part's kind."""
    first, *rest = identifier.split("_bar_")
    return rest[-1] if len(rest) == 4 else first


def encode(identifier: str) -> str:
    """An id as ALFRED writes it (`Cabinet|+00.68|+00.50|-02.20`) as PDDL takes it."""
    first, *rest = identifier.split("|")
    for sign, code in _CODES:
        rest = [part.replace(sign, code) for part in rest]
    return "_bar_".join([first, *rest])


@functools.cache
def rules() -> Rules:
    """Read what holds in every room. Raises FileNotFoundError where the package is not installed."""
    folder = _package()
    constants = _literals(folder / "gen" / "constants.py")
    holds = dict(constants["VAL_RECEPTACLE_OBJECTS"])
    table = holds.pop("TableTop")
    holds |= dict.fromkeys(("DiningTable", "CoffeeTable", "SideTable"), table)
    whole = {place: frozenset(one for one in things if not one.endswith("Sliced")) for place, things in holds.items()}
    return Rules(
        domain=(folder / "data" / "alfred.pddl").read_text("utf-8"),
        grammar=(folder / "data" / "alfred.twl2").read_text("utf-8"),
        goals=_literals(folder / "gen" / "goal_library.py"),
        holds={place: things for place, things in whole.items() if place not in constants["MOVABLE_RECEPTACLES"]},
        can={verb: frozenset(things) for verb, things in constants["VAL_ACTION_OBJECTS"].items()},
        containers=frozenset(constants["MOVABLE_RECEPTACLES"]),
        objects=frozenset(constants["OBJECTS"]) - set(holds) | set(constants["MOVABLE_RECEPTACLES"]),
    )


@functools.cache
def floor_plan(number: int) -> FloorPlan:
    """Read a floor plan. Raises ValueError for a number that ALFRED does not have."""
    if number not in SCENES:
        raise ValueError(
            f"there is no floor plan {number}: kitchens are 1-30, living rooms 201-230, bedrooms 301-330, bathrooms 401-430"
        )
    layouts = _package() / "gen" / "layouts"
    places = json.loads((layouts / f"FloorPlan{number}-openable.json").read_text("utf-8"))
    present = sorted(json.loads((layouts / f"FloorPlan{number}-objects.json").read_text("utf-8")))
    free = np.load(layouts / f"FloorPlan{number}-layout.npy", allow_pickle=False)
    receptacles = {encode(name): _location(*place) for name, place in sorted(places.items())}
    everything = receptacles | _fixtures(number, present, receptacles, free)
    spots = (_location(x, z, 90 * side, 45) for x, z in free.tolist() for side in range(4))
    return FloorPlan(
        number,
        everything,
        openable=frozenset(name for name in receptacles if kind(name) in ("Cabinet", "Drawer", "Fridge", "Microwave", "Safe")),
        objects=tuple(one for one in present if one in rules().objects),
        spots=tuple(spot for spot in spots if spot not in everything.values()),
    )


def numbered(kind: str) -> int:
    """How many of a kind a room holds where it holds any and games do not differ in it."""
    return _SEVERAL.get(kind, 1)


def place_id(name: str, x: float, y: float, z: float) -> str:
    """The id of a thing of the kind `name` at a position in metres; a basin is a part of its sink or bath."""
    whole = name.removesuffix("Basin")
    part = [name] if whole != name else []
    return encode("|".join([whole, *(f"{value:+06.2f}" for value in (x, y, z)), *part]))


def _fixtures(number: int, present: list[str], known: Mapping[str, str], free: np.ndarray) -> dict[str, str]:
    """The receptacles that stand in a room but are not in its layout, each at a place of the free floor, always the same."""
    random = Random(f"fixtures of floor plan {number}")
    listed = Counter(kind(name) for name in known)
    lacking = {name: numbered(name) for name in present if name in rules().holds and name not in listed}
    lacking |= {name: round(listed[name] / _SHUT) for name in ("Cabinet", "Drawer")}
    points = free.tolist()
    found: dict[str, str] = {}
    for name, several in lacking.items():
        (x, z), side = random.choice(points), random.randrange(4)
        for i in range(several):
            found[place_id(name, x + 0.2 * (i % 2), 0.9, z + 0.2 * (i // 2))] = _location(x, z, 90 * side, 45)
    return found


def _location(x: float, z: float, rotation: float, horizon: float) -> str:
    """A place to stand at, in steps of 25 cm and quarter turns."""
    parts = (round(x / 0.25), round(z / 0.25), round(rotation / 90), round(horizon))
    return "loc_bar_" + "_bar_".join(f"_minus_{-part}" if part < 0 else str(part) for part in parts)


def _package() -> Path:
    spec = find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "games are generated from what the pip package alfworld holds, and it is not there: pip install alfworld"
        )
    return Path(spec.submodule_search_locations[0])


def _literals(file: Path) -> dict[str, Any]:
    """The literal values that a Python file assigns to names, or to entries of a dictionary (then by the entry's key)."""
    found: dict[str, Any] = {}
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            name = target.slice if isinstance(target, ast.Subscript) else target
            with suppress(ValueError):  # what the package computes is not of interest
                found[name.id if isinstance(name, ast.Name) else ast.literal_eval(name)] = ast.literal_eval(node.value)
    return found
