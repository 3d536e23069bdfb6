"""The scripted agents. The expert is played by hand-written answers, and on official games where they are present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import Action, Agent, History, Turn
from agents.alfworld_expert import likely, priors
from agents.alfworld_world import Goal, World, read_goal
from agents.scripted import SCRIPTED, ExpertAgent, RandomAgent, ReplayAgent, possible

ROOM = "You are in the middle of a room. Looking quickly around you, you see {}.\n\nYour task is to: {}."
KITCHEN = "a cabinet 2, a cabinet 1, a countertop 1, a fridge 1, a garbagecan 1, a microwave 1, and a sinkbasin 1"
BEDROOM = "a bed 1, a desk 1, and a drawer 1"


def respond(history: History, agent: Agent) -> str:
    """Let the agent act and write its action down, as a collector does."""
    action = agent.act([history])[0]
    history.turns[-1].action = action
    return action.text


def play(agent: Agent, first: str, script: list[tuple[str, str]]) -> None:
    """Play an episode in which each expected command (the left column) gets the answer beside it."""
    history = History("task", 0, [Turn(first)])
    for expected, answer in script:
        assert respond(history, agent) == expected
        history.turns.append(Turn(answer))


@pytest.mark.parametrize(
    ("sentence", "goal"),
    [
        ("put a mug in desk", Goal("mug", "desk")),
        ("put some soapbar on toilet", Goal("soapbar", "toilet")),
        ("look at cd under the desklamp", Goal("cd", "desklamp", light=True)),
        ("examine the book with the floorlamp", Goal("book", "floorlamp", light=True)),
        ("clean some bowl and put it in cabinet", Goal("bowl", "cabinet", "clean")),
        ("put a clean mug in coffeemachine", Goal("mug", "coffeemachine", "clean")),
        ("heat some egg and put it in garbagecan", Goal("egg", "garbagecan", "heat")),
        ("put a hot apple in fridge", Goal("apple", "fridge", "heat")),
        ("cool some pan and put it in stoveburner", Goal("pan", "stoveburner", "cool")),
        ("put a cool tomato in microwave", Goal("tomato", "microwave", "cool")),
        ("put two cd in safe", Goal("cd", "safe", count=2)),
        ("find two pen and put them in drawer", Goal("pen", "drawer", count=2)),
    ],
)
def test_the_twelve_sentences(sentence: str, goal: Goal) -> None:
    assert read_goal(ROOM.format(KITCHEN, sentence)) == goal


def test_heating_with_a_door_to_open_at_the_end() -> None:
    """The microwave heats with its door closed; the fridge must be opened to put something in."""
    script = [
        ("go to garbagecan 1", "You arrive at garbagecan 1. On the garbagecan 1, you see a cup 1, and a apple 2."),
        ("take apple 2 from garbagecan 1", "You pick up the apple 2 from the garbagecan 1."),
        ("go to microwave 1", "You arrive at microwave 1. The microwave 1 is closed."),
        ("heat apple 2 with microwave 1", "You heat the apple 2 using the microwave 1."),
        ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
        ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a egg 1."),
        ("move apple 2 to fridge 1", "You move the apple 2 to the fridge 1."),
    ]
    play(ExpertAgent(), ROOM.format(KITCHEN, "heat some apple and put it in fridge"), script)


def test_light_remembers_a_lamp_seen_before_the_thing() -> None:
    script = [
        ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a desklamp 1, and a pen 1."),
        ("go to bed 1", "You arrive at bed 1. On the bed 1, you see nothing."),
        ("go to drawer 1", "You arrive at drawer 1. The drawer 1 is closed."),
        ("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see a book 1."),
        ("take book 1 from drawer 1", "You pick up the book 1 from the drawer 1."),
        ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a desklamp 1, and a pen 1."),
        ("use desklamp 1", "You turn on the desklamp 1."),
    ]
    play(ExpertAgent(), ROOM.format(BEDROOM, "look at book under the desklamp"), script)


def test_two_things_go_into_the_receptacle_that_has_one() -> None:
    """A pen in the drawer counts already, and "go to" a drawer that shares the spot is answered by nothing."""
    room = "a desk 1, a drawer 2, and a drawer 1"
    script = [
        ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a pen 1."),
        ("take pen 1 from desk 1", "You pick up the pen 1 from the desk 1."),
        ("go to drawer 2", "You arrive at drawer 2. The drawer 2 is closed."),
        ("open drawer 2", "You open the drawer 2. The drawer 2 is open. In it, you see nothing."),
        ("move pen 1 to drawer 2", "You move the pen 1 to the drawer 2."),
        ("go to drawer 1", "Nothing happens."),
        ("examine drawer 1", "The drawer 1 is closed."),
        ("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see a pen 2, and a cd 1."),
        ("take pen 2 from drawer 1", "You pick up the pen 2 from the drawer 1."),
        ("move pen 2 to drawer 2", "You move the pen 2 to the drawer 2."),
    ]
    play(ExpertAgent(), ROOM.format(room, "put two pen in drawer"), script)


def test_the_expert_goes_on_from_other_hands() -> None:
    """It reads what another agent did, puts a wrong thing down, and ignores that commands in the wrong place failed."""
    room = "a countertop 1, a cabinet 1, and a sinkbasin 1"
    before = [
        ("clean mug 1 with sinkbasin 1", "Nothing happens."),
        ("go to cabinet 1", "You arrive at cabinet 1. On the cabinet 1, you see a mug 1, and a plate 1."),
        ("take plate 1 from cabinet 1", "You pick up the plate 1 from the cabinet 1."),
    ]
    history = History("task", 0, [Turn(ROOM.format(room, "put a clean mug in countertop"))])
    for command, answer in before:
        history.turns[-1].action = Action(command)
        history.turns.append(Turn(answer))
    answers = {
        "move plate 1 to cabinet 1": "You move the plate 1 to the cabinet 1.",
        "take mug 1 from cabinet 1": "You pick up the mug 1 from the cabinet 1.",
        "go to sinkbasin 1": "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.",
        "clean mug 1 with sinkbasin 1": "You clean the mug 1 using the sinkbasin 1.",
        "go to countertop 1": "You arrive at countertop 1. On the countertop 1, you see nothing.",
        "move mug 1 to countertop 1": "You move the mug 1 to the countertop 1.",
    }
    for expected, answer in answers.items():
        assert respond(history, ExpertAgent()) == expected
        history.turns.append(Turn(answer))


def test_worked_solutions_are_one_response() -> None:
    history = History("sum", 0, [Turn("What is 1 + 1?", {"solution": "1 + 1 = 2\n\\boxed{2}"})])
    assert ExpertAgent().act([history]) == [Action("1 + 1 = 2\n\\boxed{2}")]


def test_places_that_must_be_opened_count_half() -> None:
    world = World.first(ROOM.format("a cabinet 1, and a drawer 1", "put a spatula in countertop"))
    open_now = World.first(ROOM.format("a cabinet 1, and a drawer 1", "put a spatula in countertop"))
    world.closed = {"drawer 1"}
    holding, of = priors()["holds"]["spatula"]["drawer"]
    assert likely(world, "drawer 1", ["spatula"]) == pytest.approx(holding / of / 2, abs=1e-4)
    assert likely(open_now, "drawer 1", ["spatula"]) > likely(world, "drawer 1", ["spatula"])


HISTORIES = st.lists(st.tuples(st.text(max_size=5), st.integers(0, 9)), min_size=1, max_size=6)


@given(HISTORIES, st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_a_choice_depends_on_task_and_seed_only(names: list[tuple[str, int]], seed: int) -> None:
    """Not on the batch around it nor on what was drawn before."""
    first = ROOM.format(KITCHEN, "put a mug in cabinet")
    info = {"admissible_commands": [f"go to cabinet {number}" for number in range(20)]}
    for agent in (RandomAgent(seed), ExpertAgent(noise=0.5, order="random", forget=0.5, seed=seed)):
        together = agent.act([History(*name, [Turn(first, info)]) for name in names])
        alone = [agent.act([History(*name, [Turn(first, info)])])[0] for name in names]
        assert together == alone


@given(st.lists(st.text(max_size=60) | st.sampled_from(["Nothing happens.", "The fridge 1 is closed."]), max_size=12))
@settings(max_examples=100, deadline=None)
def test_no_answer_makes_the_expert_fall(answers: list[str]) -> None:
    agent = ExpertAgent(noise=0.2, forget=0.2)
    history = History("task", 0, [Turn(ROOM.format(KITCHEN, "put two mug in cabinet"))])
    for answer in answers:
        assert respond(history, agent)
        history.turns.append(Turn(answer))
    assert agent.act([history])[0].text


def test_dials_are_in_the_name_and_checked() -> None:
    assert [make().name for make in SCRIPTED.values()] == ["random", "expert"]
    assert ExpertAgent(noise=0.2, order="random").name == "expert(noise=0.2, order=random)"
    assert RandomAgent(3).name == "random(seed=3)"
    with pytest.raises(ValueError, match="noise=2"):
        ExpertAgent(noise=2)
    with pytest.raises(ValueError, match="order='best'"):
        ExpertAgent(order="best")


def test_replay_repeats_and_says_what_is_missing() -> None:
    logged = Action("go to bed 1", (5, 6), (-0.1, -0.2))
    agent = ReplayAgent({("a/b", 1): [logged, "look"]})
    history = History("a/b", 1, [Turn("first")])
    assert agent.act([history]) == [logged]
    history.turns += [Turn("second")]
    assert agent.act([history]) == [Action("look")]
    history.turns += [Turn("third")]
    with pytest.raises(LookupError, match="has 2 actions, but the episode goes on to turn 3"):
        agent.act([history])
    with pytest.raises(LookupError, match=r"with seed 2 among 1; this task has seeds \[1\]"):
        agent.act([History("a/b", 2, [Turn("first")])])
    with pytest.raises(LookupError, match="the nearest task is 'a/b'"):
        agent.act([History("a/bc", 1, [Turn("first")])])


@pytest.mark.parametrize(("info", "why"), [({}, "it lists none"), ({"solution": "2"}, "use the expert")])
def test_random_needs_commands(info: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RandomAgent().act([History("task", 0, [Turn("text", info)])])


def test_a_text_that_is_not_alfworld_is_refused() -> None:
    with pytest.raises(ValueError, match="No 'Your task is to"):
        ExpertAgent().act([History("task", 0, [Turn("What is 1 + 1?")])])
    with pytest.raises(ValueError, match="Cannot read the task 'eat a mug'"):
        ExpertAgent().act([History("task", 0, [Turn(ROOM.format(KITCHEN, "eat a mug"))])])


def test_possible_moves_are_those_in_reach() -> None:
    world = World.first(ROOM.format("a bed 1, and a desk 1", "put a mug in desk"))
    world.read("go to bed 1", "You arrive at bed 1. On the bed 1, you see a mug 1, and a desklamp 1.")
    assert possible(world) == ["look", "inventory", "go to desk 1", "examine bed 1", "take mug 1 from bed 1"]


def test_official_games_are_won(alfworld_games: Path) -> None:
    """One game of each task type, by a plain expert, whose `info` is kept from it."""
    gym = pytest.importorskip("gymnasium")
    import envs  # noqa: F401

    env = gym.make("AlfWorld-v0", games=alfworld_games, split="valid_unseen")
    tasks = {task.split("-")[0]: task for task in reversed(env.unwrapped.tasks)}
    for task in tasks.values():
        history, won, truncated = History(task, 0, [Turn(env.reset(options={"task": task})[0])]), False, False
        while not (won or truncated):
            text, _, won, truncated, _ = env.step(respond(history, ExpertAgent()))
            history.turns.append(Turn(text))
        assert won and len(history.turns) <= 25, task
    env.close()
