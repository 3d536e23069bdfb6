"""The scripted agents. The expert is played by hand-written answers, and on official games where they are present."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import Action, Agent, History, Turn
from agents.alfworld_expert import likely, priors
from agents.alfworld_world import Goal, World, command_in, read_goal
from agents.scripted import SCRIPTED, ExpertAgent, RandomAgent, ReplayAgent, possible
from envs.alfworld.env import _command

ROOM = "You are in the middle of a room. Looking quickly around you, you see {}.\n\nYour task is to: {}."
KITCHEN = "a cabinet 2, a cabinet 1, a countertop 1, a fridge 1, a garbagecan 1, a microwave 1, and a sinkbasin 1"
BEDROOM = "a bed 1, a desk 1, and a drawer 1"
REACT = re.compile(r"Thought: [A-Z][^.\n]*\.(?: [A-Z][^.\n]*\.)?\nAction: (.+)")
"""One or two sentences and a command."""


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


def test_thoughts_say_what_is_known_and_wanted() -> None:
    """What is wanted, why here, what is left to do. Of the training games' desks 58% have a pen, of the beds none."""
    room = "a bed 1, a desk 2, a desk 1, and a drawer 1"
    script = [
        ("I need a pen. A desk often has one, so I try desk 2.", "go to desk 2"),
        ("I need a pen, and desk 2 has none. A desk often has one, so I try desk 1.", "go to desk 1"),
        ("The pen 1 is right here. I take it to a drawer, the first of two.", "take pen 1 from desk 1"),
        ("I have the pen 1, and it belongs at drawer 1. I go there.", "go to drawer 1"),
        ("I have the pen 1, and it belongs at drawer 1. The drawer 1 is closed, so I open it.", "open drawer 1"),
        ("I have the pen 1. I put it down at drawer 1, the first of two.", "move pen 1 to drawer 1"),
        ("I need another pen. None of the places left is a usual one, so I try bed 1.", "go to bed 1"),
        ("The pen 2 is right here. I take it to drawer 1, where the other one is.", "take pen 2 from bed 1"),
        ("I have the pen 2, and it belongs at drawer 1, where the other one is. I go there.", "go to drawer 1"),
        ("I have the pen 2. I put it down at drawer 1, which makes two.", "move pen 2 to drawer 1"),
    ]
    answers = [
        "You arrive at desk 2. On the desk 2, you see a pencil 1.",
        "You arrive at desk 1. On the desk 1, you see a pen 1.",
        "You pick up the pen 1 from the desk 1.",
        "You arrive at drawer 1. The drawer 1 is closed.",
        "You open the drawer 1. The drawer 1 is open. In it, you see nothing.",
        "You move the pen 1 to the drawer 1.",
        "You arrive at bed 1. On the bed 1, you see a pen 2.",
        "You pick up the pen 2 from the bed 1.",
        "You arrive at drawer 1. The drawer 1 is open. In it, you see a pen 1.",
        "You move the pen 2 to the drawer 1.",
    ]
    said = [f"Thought: {why}\nAction: {command}" for why, command in script]
    play(ExpertAgent(thoughts=True), ROOM.format(room, "put two pen in drawer"), list(zip(said, answers, strict=True)))


def test_a_move_at_random_claims_no_reason() -> None:
    agent = ExpertAgent(noise=1, thoughts=True)
    actions = agent.act([History("task", seed, [Turn(ROOM.format(KITCHEN, "put a mug in cabinet"))]) for seed in range(20)])
    thoughts = {action.text.partition("\n")[0] for action in actions}
    assert thoughts == {"Thought: I leave my plan for a moment. This is a move at random."}


def test_disturbances_are_the_moves_of_noise_and_marked() -> None:
    first = ROOM.format(KITCHEN, "put a mug in cabinet")
    plain, noisy, disturbed = (
        agent.act([History("task", seed, [Turn(first)]) for seed in range(200)])
        for agent in (ExpertAgent(), ExpertAgent(noise=0.3), ExpertAgent(disturb=0.3))
    )
    assert [action.text for action in disturbed] == [action.text for action in noisy]
    marked = [bool(action.info.get("disturbance")) for action in disturbed]
    assert marked == [ours.text != theirs.text for ours, theirs in zip(disturbed, plain, strict=True)]
    assert 30 < sum(marked) < 90 and not any(action.info for action in noisy)


def test_a_random_search_claims_no_likelihood() -> None:
    history = History("task", 0, [Turn(ROOM.format("a bed 1", "put a mug in cabinet"))])
    said = respond(history, ExpertAgent(order="random", thoughts=True))
    assert said == "Thought: I need a mug. I search the places in a random order, and bed 1 is next.\nAction: go to bed 1"


@pytest.mark.parametrize("form", ["{}", "  {} ", "Thought: Why not.\nAction: {}", "Action:{}\nObservation: no\nAction: look"])
def test_the_command_of_an_action_is_what_is_read(form: str) -> None:
    plain, other = (World.first(ROOM.format(BEDROOM, "put two pen in drawer")) for _ in range(2))
    answers = {
        "go to bed 1": "You arrive at bed 1. On the bed 1, you see a desklamp 1.",
        "use desklamp 1": "Nothing happens.",
        "go to desk 1": "Nothing happens.",
    }
    for command, answer in answers.items():
        plain.read(command, answer)
        other.read(form.format(command), answer)
    assert other == plain
    assert plain.useless and plain.beside


@given(st.text(max_size=20), st.text(max_size=20) | st.just("\n look \n\nAction: go"))
def test_player_and_environment_agree_on_the_command(before: str, after: str) -> None:
    """They know nothing of each other."""
    action = f"{before}Action:{after}"
    assert command_in(action) == _command(action)


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
@settings(max_examples=50)
def test_a_choice_depends_on_task_and_seed_only(names: list[tuple[str, int]], seed: int) -> None:
    """Not on the batch around it nor on what was drawn before."""
    first = ROOM.format(KITCHEN, "put a mug in cabinet")
    info = {"admissible_commands": [f"go to cabinet {number}" for number in range(20)]}
    for agent in (RandomAgent(seed), ExpertAgent(noise=0.5, order="random", forget=0.5, seed=seed)):
        together = agent.act([History(*name, [Turn(first, info)]) for name in names])
        alone = [agent.act([History(*name, [Turn(first, info)])])[0] for name in names]
        assert together == alone


@given(st.lists(st.text(max_size=60) | st.sampled_from(["Nothing happens.", "The fridge 1 is closed."]), max_size=12))
@settings(max_examples=100)
def test_no_answer_makes_the_expert_fall(answers: list[str]) -> None:
    """With thoughts it gives the same commands, each after a sentence or two."""
    plain, aloud = (ExpertAgent(noise=0.2, forget=0.2, thoughts=thoughts) for thoughts in (False, True))
    one, other = (History("task", 0, [Turn(ROOM.format(KITCHEN, "put two mug in cabinet"))]) for _ in range(2))
    for answer in [*answers, "the end"]:
        command, said = respond(one, plain), REACT.fullmatch(respond(other, aloud))
        assert said and said[1] == command
        for history in (one, other):
            history.turns.append(Turn(answer))


def test_dials_are_in_the_name_and_checked() -> None:
    assert [make().name for make in SCRIPTED.values()] == ["random", "expert"]
    assert ExpertAgent(noise=0.2, order="random").name == "expert(noise=0.2, order=random)"
    assert ExpertAgent(thoughts=True).name == "expert(thoughts=True)"
    assert RandomAgent(3).name == "random(seed=3)"
    with pytest.raises(ValueError, match="noise=2"):
        ExpertAgent(noise=2)
    with pytest.raises(ValueError, match=r"noise=0.6 and disturb=0.5: wanted probabilities whose sum is at most 1"):
        ExpertAgent(noise=0.6, disturb=0.5)
    with pytest.raises(ValueError, match="order='best'"):
        ExpertAgent(order="best")
    with pytest.raises(ValueError, match="thoughts='yes': wanted true or false"):
        ExpertAgent(thoughts="yes")  # type: ignore[arg-type]


def test_replay_repeats_and_says_what_is_missing() -> None:
    logged = Action("go to bed 1", (5, 6), (-0.1, -0.2))
    agent = ReplayAgent({("a/b", 1): [Turn("first", action=logged), Turn("second", action=Action("look"))]})
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


def test_replayed_log_probabilities_are_of_what_was_observed() -> None:
    """They stay while the observations are the logged ones, and go from the first other one on."""
    first, second = Action("look", (5,), (-0.1,)), Action("go", (6,), (-0.2,))
    agent = ReplayAgent({("a", 1): [Turn("room", action=first), Turn("desk", action=second)]})
    same = History("a", 1, [Turn("room", action=first), Turn("desk")])
    other = History("a", 1, [Turn("hall", action=first), Turn("desk")])
    assert agent.act([same]) == [second]
    assert agent.act([other]) == [Action("go", (6,))]


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


@pytest.mark.parametrize("thoughts", [False, True])
def test_official_games_are_won(alfworld_games: Path, thoughts: bool) -> None:
    """One game of each task type, by an expert whose `info` is kept from it."""
    gym = pytest.importorskip("gymnasium")
    import envs  # noqa: F401

    agent, form = ExpertAgent(thoughts=thoughts), "react" if thoughts else "command"
    env = gym.make("AlfWorld-v0", games=alfworld_games, split="valid_unseen", form=form)
    tasks = {task.split("-")[0]: task for task in reversed(env.unwrapped.tasks)}
    for task in tasks.values():
        history, won, truncated = History(task, 0, [Turn(env.reset(options={"task": task})[0])]), False, False
        while not (won or truncated):
            text, _, won, truncated, _ = env.step(respond(history, agent))
            history.turns.append(Turn(text))
        assert won and len(history.turns) <= 25, task
    env.close()
