"""Generated games: tasks in the package's 120 rooms, furnished by chance, in the official file format.

A task's number, the seed and the difficulty determine everything: `generated("train", 500)[7]` is the same game on every machine.
The rooms stand as in the official games (same receptacles, doors and, for nearly all, the same places to reach them from); the
floor plans are split as the official ones are. What lies where is drawn as ALFRED draws it: one to three of every kind of object
that belongs into the room, each in a place that takes it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from envs.alfworld import rooms
from envs.alfworld.games import SPLITS, TASK_TYPES
from envs.alfworld.planner import shortest_plan
from envs.alfworld.problem import Fact, write_problem
from envs.alfworld.rules import Game
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

_APPLIANCES = {
    "pick_clean_then_place_in_recep": ("SinkBasin", "Cleanable"),
    "pick_heat_then_place_in_recep": ("Microwave", "Heatable"),
    "pick_cool_then_place_in_recep": ("Fridge", "Coolable"),
}
_LAMP = "DeskLamp"
_LAMP_STANDS = ("Desk", "Dresser", "SideTable", "Shelf", "CoffeeTable")
_FLOOR = ("BaseballBat", "BasketBall", "Boots", "PaperTowelRoll", "ScrubBrush", "TeddyBear")
"""Things that lie on the floor where no receptacle takes them."""
_ONE = {
    "BaseballBat",
    "BasketBall",
    "Boots",
    "Box",
    "HandTowel",
    "PaperTowelRoll",
    "Plunger",
    "ScrubBrush",
    "TeddyBear",
    "TennisRacket",
    "Towel",
}
"""Things that nearly every official game has one of, where it has any."""

# How many times as much as a cabinet holds a receptacle holds in the official games, by its kind: large and open ones most.
_ROOMY = {
    "ArmChair": 1, "BathtubBasin": 6, "Bed": 5, "Cabinet": 1, "Cart": 4, "CoffeeMachine": 8, "CoffeeTable": 4,
    "CounterTop": 4, "Desk": 5, "DiningTable": 6, "Drawer": 1, "Dresser": 5, "Fridge": 4, "GarbageCan": 1.5,
    "HandTowelHolder": 18, "Microwave": 1.3, "Ottoman": 2, "Safe": 4, "Shelf": 1.7, "SideTable": 2.4, "SinkBasin": 1.8,
    "Sofa": 4, "StoveBurner": 7, "Toilet": 3.4, "ToiletPaperHanger": 3, "TowelHolder": 2.4,
}  # fmt: skip


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


@dataclass(frozen=True)
class GeneratedGame:
    """A game that is made when it is played; equal where it is the same game."""

    task: Task
    difficulty: Difficulty

    def __str__(self) -> str:
        return f"generated game {self.task.id}"

    @property
    def max_steps(self) -> int:
        """Commands that an episode has."""
        return self.difficulty.max_steps

    def version(self) -> None:
        """The same game is always the same."""

    def read(self) -> str:
        """The text of its game file."""
        return json.dumps(make_game(self))


def difficulty_of(wanted: str | Mapping[str, int | None] | Difficulty | None) -> Difficulty:
    """Dials by name, or by the names and values of some of them. Raises ValueError for an unknown name, dial or value."""
    if isinstance(wanted, Difficulty):
        return wanted
    if isinstance(wanted, Mapping):
        for name in wanted:
            choose("difficulty", name, [dial.name for dial in fields(Difficulty)])
        return Difficulty(**wanted)  # type: ignore[arg-type]
    return DIFFICULTIES[choose("difficulty", wanted or DEFAULT_DIFFICULTY, DIFFICULTIES)]


def generated(
    split: str,
    count: int | None = None,
    seed: int = 0,
    difficulty: str | Mapping[str, int | None] | Difficulty | None = None,
    task_types: Sequence[str] | None = None,
    scenes: Sequence[int] | None = None,
) -> dict[str, GeneratedGame]:
    """The games of a split by task id, of those `task_types` and `scenes` (floor plans); `count` None is the official number.

    Raises ValueError for an unknown split or task type, a scene that is not of the split, and where no game is possible.
    """
    choose("split", split, SPLITS)
    for kind in task_types or ():
        choose("task type", kind, TASK_TYPES)
    count = SIZES[split] if count is None else count
    if count < 1:
        raise ValueError(f"count={count}: wanted at least one game")
    dials = difficulty_of(difficulty)
    tasks = _tasks(split, count, seed, tuple(task_types or TASK_TYPES), None if scenes is None else tuple(scenes))
    games = (GeneratedGame(task._replace(trial=f"{task.trial}_{dials}"), dials) for task in tasks)
    return {game.task.id: game for game in games}


def scenes_of(split: str) -> tuple[int, ...]:
    """The floor plans of a split: four that training never sees, else the official 108."""
    return UNSEEN if split == "valid_unseen" else tuple(scene for scene in rooms.SCENES if scene not in UNSEEN + UNUSED)


@functools.lru_cache(maxsize=8)
def _tasks(split: str, count: int, seed: int, kinds: tuple[str, ...], scenes: tuple[int, ...] | None) -> tuple[Task, ...]:
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
        lit = _LAMP in plan.objects and any(place in _LAMP_STANDS for place in places)
        return tuple((thing, _LAMP) for thing in things if lit)
    tool, able = _APPLIANCES.get(kind, ("", ""))
    if tool and tool not in places:
        return ()
    things = [thing for thing in things if not tool or thing in rooms.rules().can[able]]
    pairs = ((thing, place) for thing in things for place in places if thing in holds[place] and place != tool)
    return tuple((thing, place) for thing, place in pairs if any(thing in holds[other] for other in places if other != place))


# Furnishing


def make_game(game: GeneratedGame) -> dict[str, Any]:
    """The content of a game file, with a shortest solution under `walkthrough`."""
    task, rules = game.task, rooms.rules()
    random = Random(f"room of {task.id}")
    room = _Room(rooms.floor_plan(task.scene), random)
    room.furnish(task, game.difficulty)
    goal = rules.goals[task.kind]
    words = {"obj": task.thing, "recep": task.place, "toggle": task.place}
    sentence = random.choice(goal["templates"]).format(**{name: word.lower() for name, word in words.items()})
    formula = goal["pddl"].format(**words).replace("#", "-").strip()
    content = {
        "pddl_domain": rules.domain,
        "grammar": rules.grammar.replace("UNKNOWN GOAL", sentence),
        "pddl_problem": write_problem(f"plan_{task.trial}", room.types(), room.facts(), formula.removesuffix(")").strip()),
    }
    walkthrough = shortest_plan(Game(content))
    if not walkthrough:
        raise AssertionError(f"{game} has no solution, or is solved at the start: a fault of the generator, please report it")
    return content | {"solvable": True, "walkthrough": walkthrough}


def traj_data(task: Task) -> dict[str, Any]:
    """What stands beside a game file in ALFRED's data, as far as ALFWorld reads it."""
    lamp = task.kind == "look_at_obj_in_light"
    return {
        "task_id": task.trial,
        "task_type": task.kind,
        "pddl_params": {
            "object_target": task.thing,
            "parent_target": "" if lamp else task.place,
            "toggle_target": task.place if lamp else "",
            "mrecep_target": "",
            "object_sliced": False,
        },
        "scene": {"floor_plan": f"FloorPlan{task.scene}", "scene_num": task.scene},
        "turk_annotations": {"anns": []},
    }


class _Room:
    """A floor plan being furnished."""

    def __init__(self, plan: rooms.FloorPlan, random: Random) -> None:
        self.plan, self.random = plan, random
        self.start = random.choice(plan.spots)
        self.receptacles: list[str] = []
        self.things: dict[str, tuple[str, str]] = {}
        """id -> receptacle ("" for the floor) and location"""

    def furnish(self, task: Task, dials: Difficulty) -> None:
        """Place the task's things and others."""
        holds, of = rooms.rules().holds, rooms.kind
        lamp = task.kind == "look_at_obj_in_light"
        # A thing that is to be brought somewhere starts elsewhere; its state must be changed first where it may lie there.
        elsewhere = [name for name in self.plan.receptacles if task.thing in holds[of(name)] and of(name) != task.place]
        needed = [self._choose(elsewhere)]
        needed.append(
            self._choose([name for name in self.plan.receptacles if of(name) in (_LAMP_STANDS if lamp else (task.place,))])
        )
        if tool := _APPLIANCES.get(task.kind):
            needed.append(self._choose([name for name in self.plan.receptacles if of(name) == tool[0]]))
        self.receptacles = self._keep(needed, dials.receptacles)
        copies = self.random.randint(1, dials.copies + 1 if dials.copies > 2 else dials.copies)
        for number in range(max(copies, 2) if task.kind == "pick_two_obj_and_place" else copies):
            self._put(task.thing, needed[0] if not number else self._place(task.thing, task.place))
        if lamp:
            self._put(_LAMP, needed[1])
        self._scatter(task, dials)

    def types(self) -> dict[str, str]:
        """Every id of the problem, with its PDDL type."""
        kinds = {rooms.kind(name) for name in self.receptacles}
        return {
            "agent1": "agent",
            **dict.fromkeys(sorted(set(self._locations())), "location"),
            **{f"{kind}Type": "rtype" for kind in sorted(kinds)},
            **{f"{kind}Type": "otype" for kind in sorted({rooms.kind(thing) for thing in self.things})},
            **dict.fromkeys(self.receptacles, "receptacle"),
            **dict.fromkeys(self.things, "object"),
        }

    def facts(self) -> Iterator[Fact]:
        """The facts at the start, each with its predicate first."""
        holds, can, of = rooms.rules().holds, rooms.rules().can, rooms.kind
        yield "atLocation", "agent1", self.start
        for name in self.receptacles:
            yield "receptacleType", name, f"{of(name)}Type"
            yield "receptacleAtLocation", name, self.plan.receptacles[name]
            if name in self.plan.openable:
                yield "openable", name
        kinds = sorted({of(thing) for thing in self.things})
        for place in sorted({of(name) for name in self.receptacles}):
            yield from (("canContain", f"{place}Type", f"{kind}Type") for kind in kinds if kind in holds[place])
        for thing, (receptacle, location) in self.things.items():
            kind = of(thing)
            yield "objectType", thing, f"{kind}Type"
            yield "objectAtLocation", thing, location
            if receptacle:
                yield "inReceptacle", thing, receptacle
            if _portable(kind):
                yield "pickupable", thing
            if kind in rooms.rules().containers:
                yield "isReceptacleObject", thing
            for verb, able in can.items():
                if kind in able:
                    yield verb.lower(), thing

    def _locations(self) -> Iterator[str]:
        yield self.start
        yield from (self.plan.receptacles[name] for name in self.receptacles)
        yield from (location for _, location in self.things.values())

    def _choose(self, names: Sequence[str]) -> str:
        return self.random.choices(names, [_ROOMY.get(rooms.kind(name), 1) for name in names])[0]

    def _keep(self, needed: Sequence[str], most: int | None) -> list[str]:
        """The receptacles that stand in the room: what is needed, and others in an order that only the floor plan decides."""
        names = list(self.plan.receptacles)
        Random(f"order of floor plan {self.plan.number}").shuffle(names)
        names = list(dict.fromkeys([*needed, *names]))
        return sorted(names if most is None else names[: max(most, len(set(needed)))])

    def _scatter(self, task: Task, dials: Difficulty) -> None:
        """Lay about what else belongs into the room."""
        kinds = [kind for kind in self.plan.objects if kind not in (task.thing, _LAMP) or (kind == _LAMP and task.place != _LAMP)]
        things = []
        for kind in kinds:
            single = kind in _ONE or kind == _LAMP
            copies = self.random.randint(1, dials.copies) if _portable(kind) and not single else rooms.numbered(kind)
            things += [kind] * copies
        self.random.shuffle(things)
        for kind in things if dials.objects is None else things[: dials.objects]:
            self._put(kind, self._place(kind))

    def _place(self, kind: str, but: str = "") -> str:
        """A receptacle for a thing, not of the kind `but`; "" is the floor."""
        holds, of = rooms.rules().holds, rooms.kind
        stands = _LAMP_STANDS if kind == _LAMP else ()
        fit = [name for name in self.receptacles if (kind in holds[of(name)] or of(name) in stands) and of(name) != but]
        return self._choose(fit) if fit else ""

    def _put(self, kind: str, receptacle: str) -> None:
        location = self.plan.receptacles[receptacle] if receptacle else self.random.choice(self.plan.spots)
        while True:
            name = rooms.place_id(kind, *(round(self.random.uniform(low, 3), 2) for low in (-3, 0, -3)))
            if name not in self.things:
                self.things[name] = receptacle, location
                return


@functools.cache
def _portable(kind: str) -> bool:
    return kind in _FLOOR or any(kind in things for things in rooms.rules().holds.values())
