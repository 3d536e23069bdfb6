"""The planner: its plans are as short as any, which a search through all states of small rooms proves."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import pytest

from envs.alfworld.games import TASK_TYPES, find_games
from envs.alfworld.generator import generated
from envs.alfworld.planner import Errands, errands, shortest_plan
from envs.alfworld.rules import Game, World, load_game
from tests.envs.alfworld_house import FACTS, GOALS, game

IDLE = ("look", "inventory", "help", "examine")


def breadth_first(game: Game) -> int:
    """The length of a shortest solution, by trying every command in every state: knows nothing of errands."""
    world = World(game)
    start = world.snapshot()
    queue, seen = deque([(start, 0)]), {frozenset(start.items())}
    while queue:
        state, depth = queue.popleft()
        world.restore(state)
        for command in [command for command in world.commands if not command.startswith(IDLE)]:
            world.restore(state)
            world.do(command)
            if world.won:
                return depth + 1
            after = {name: rows for name, rows in world.snapshot().items() if not name.startswith("not_")}
            if (key := frozenset(after.items())) not in seen:
                seen.add(key)
                queue.append((after, depth + 1))
    raise AssertionError("no solution")


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_no_sequence_of_commands_is_shorter(kind: str) -> None:
    for source in generated(
        "train", 3, seed=1, difficulty={"receptacles": 3, "objects": 0, "copies": 2}, task_types=[kind]
    ).values():
        tiny = load_game(source.read())
        plan = shortest_plan(tiny)
        assert plan is not None and len(plan) == breadth_first(tiny)


@pytest.mark.parametrize("goal", GOALS)
def test_a_plan_wins(goal: str) -> None:
    house = Game(game(goal))
    world = World(house)
    for command in shortest_plan(house) or []:
        assert not world.won and command in world.commands
        world.do(command)
    assert world.won


def test_goals_are_taken_apart() -> None:
    found = [errands(Game(game(goal))) for goal in GOALS]
    assert found == [
        Errands("mugtype", "sidetabletype"),
        Errands("appletype", "sidetabletype", amount=2),
        Errands("appletype", "countertoptype", change="ishot"),
        Errands("booktype", "", lamp="desklamptype"),
    ]


def test_the_official_solutions_are_as_long(alfworld_games: Path) -> None:
    """Upstream's planner made them shortest."""
    for path in list(find_games(alfworld_games, "valid_unseen").values())[:20]:
        text = path.read_text()
        plan = shortest_plan(load_game(text))
        assert plan is not None and len(plan) == len(json.loads(text)["walkthrough"])


def test_what_cannot_be_solved_has_no_plan() -> None:
    facts = FACTS.replace("(canContain SideTableType MugType)", "")
    assert shortest_plan(Game(game("put a mug in sidetable", facts))) is None


def test_a_reached_goal_has_an_empty_plan() -> None:
    facts = FACTS + "(inReceptacle Mug_bar__plus_00_dot_40 SideTable_bar__minus_02_dot_00)"
    assert shortest_plan(Game(game("put a mug in sidetable", facts))) == []


def test_another_goal_is_refused() -> None:
    content = game()
    problem = str(content["pddl_problem"])
    content["pddl_problem"] = problem[: problem.index("(:goal")] + "(:goal (exists (?a - agent) (holdsAny ?a))))"
    with pytest.raises(ValueError, match="none of ALFWorld's six types"):
        shortest_plan(Game(content))
