"""Generated games: tasks in the package's 120 rooms, furnished by chance, in the official file format.

A task's number, the seed and the difficulty determine everything: `generated("train", 500)` is the same on every machine. The rooms
stand as in the official games (same receptacles, doors and, for nearly all, the same places to reach them from). What lies where is
drawn as ALFRED draws it: one to three of every kind of object that belongs into the room, each in a place that takes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from envs.alfworld import rooms
from envs.alfworld.furnishing import Room
from envs.alfworld.games import SPLITS, TASK_TYPES
from envs.alfworld.planner import shortest_plan
from envs.alfworld.problem import write_problem
from envs.alfworld.rules import Game
from envs.alfworld.tasks import SIZES, Difficulty, Task, difficulty_of, draw_tasks
from envs.hints import choose


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
    tasks = draw_tasks(split, count, seed, tuple(task_types or TASK_TYPES), None if scenes is None else tuple(scenes))
    games = (GeneratedGame(task._replace(trial=f"{task.trial}_{dials}"), dials) for task in tasks)
    return {game.task.id: game for game in games}


def make_game(game: GeneratedGame) -> dict[str, Any]:
    """The content of a game file, with a shortest solution under `walkthrough`."""
    task, rules = game.task, rooms.rules()
    random = Random(f"room of {task.id}")
    room = Room(rooms.floor_plan(task.scene), random)
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
