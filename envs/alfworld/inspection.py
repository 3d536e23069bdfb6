"""What a set of games is like, in numbers, and whether each of them can be played and solved."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from statistics import mean
from typing import NamedTuple

from envs.alfworld import rooms
from envs.alfworld.engine import Source
from envs.alfworld.games import TASK_TYPES, scene, task_type
from envs.alfworld.planner import shortest_plan
from envs.alfworld.rules import Game, World, load_game

ROOMS = {rooms.KITCHEN: "kitchen", rooms.LIVING_ROOM: "living room", rooms.BEDROOM: "bedroom", rooms.BATHROOM: "bathroom"}
"""By the hundreds of the floor plan's number."""


class GameNumbers(NamedTuple):
    """One game at its start."""

    kind: str
    """task type"""
    room: str
    receptacles: int
    openable: int
    """receptacles that are closed at first"""
    objects: int
    portable: int
    """objects that can be picked up"""
    placed: int
    """objects in a receptacle"""
    occupied: float
    """share of the receptacles that hold something"""
    commands: int
    """admissible commands at the start"""
    optimum: int
    """commands of a shortest solution"""
    holders: Counter[str]
    """kind of receptacle -> objects in such ones"""


def describe(task: str, source: Source) -> GameNumbers:
    """Count one game. Raises ValueError for what is no game, or none that can be solved."""
    game = load_game(source.read())
    plan = shortest_plan(game)
    if plan is None:
        raise ValueError(f"{source} cannot be solved")
    facts = game.problem.facts
    places = {receptacle for receptacle, _ in facts["receptacleatlocation"]}
    held = [receptacle for _, receptacle in facts["inreceptacle"]]
    number = scene(task)
    return GameNumbers(
        kind=task_type(task),
        room=ROOMS.get((number or -1) // 100, "other"),
        receptacles=len(places),
        openable=len(facts["openable"]),
        objects=len(facts["objectatlocation"]),
        portable=len(facts["pickupable"]),
        placed=len(held),
        occupied=len(set(held) & places) / max(len(places), 1),
        commands=len(World(game).commands),
        optimum=len(plan),
        holders=Counter(game.names[receptacle].split()[0] for receptacle in held),
    )


def means(games: Iterable[GameNumbers]) -> dict[str, dict[str, tuple[int, float]]]:
    """By quantity and group (a room, or for the optimum a task type): the number of games and the mean of the quantity."""
    by_room: dict[str, list[GameNumbers]] = defaultdict(list)
    by_kind: dict[str, list[GameNumbers]] = defaultdict(list)
    for game in games:
        by_room[game.room].append(game)
        by_kind[game.kind].append(game)
    in_rooms = {name: by_room[name] for name in (*ROOMS.values(), "other") if name in by_room}
    kinds = {name: by_kind[name] for name in (*TASK_TYPES, *sorted(by_kind.keys() - set(TASK_TYPES))) if name in by_kind}
    quantities = ("receptacles", "openable", "objects", "portable", "placed", "occupied", "commands")
    found = {name: _means(in_rooms, name) for name in quantities}
    return found | {"optimum": _means(kinds, "optimum")}


def _means(groups: Mapping[str, list[GameNumbers]], quantity: str) -> dict[str, tuple[int, float]]:
    return {name: (len(games), mean(getattr(game, quantity) for game in games)) for name, games in groups.items()}


def holder_shares(games: Iterable[GameNumbers]) -> dict[str, float]:
    """Kind of receptacle -> the share of all placed objects that lie in such ones, the largest first."""
    counts = sum((game.holders for game in games), Counter[str]())
    return {name: count / counts.total() for name, count in counts.most_common()}


def faults(source: Source) -> list[str]:
    """What is wrong with a game: it cannot be read, is solved at the start, has no solution, or one that fails."""
    try:
        text = source.read()
        game = load_game(text)
        plan = shortest_plan(game)
    except (OSError, ValueError) as error:
        return [str(error)]
    if plan is None:
        return ["it has no solution"]
    if not plan:
        return ["its goal holds at the start"]
    return [
        fault
        for name, commands in (("the planner's solution", plan), *_walkthrough(text))
        if (fault := _played(game, name, commands))
    ]


def _walkthrough(text: str) -> list[tuple[str, list[str]]]:
    data = json.loads(text)
    return [("its walkthrough", data["walkthrough"])] if "walkthrough" in data else []


def _played(game: Game, name: str, commands: list[str]) -> str:
    """What goes wrong when commands are played; "" where they reach the goal."""
    world = World(game)
    for number, command in enumerate(commands, start=1):
        if command.strip() not in world.commands:
            return f"{name} gives {command!r} at step {number}, which is not admissible there"
        world.do(command)
    return "" if world.won else f"{name} does not reach the goal in its {len(commands)} commands"
