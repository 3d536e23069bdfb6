"""The native engine: text for text what TextWorld and alfworld's demangler give, and safe with what a stranger's file holds."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import envs
from agents.scripted import ExpertAgent
from benchmarks.alfworld_engine import Times, choose, compare
from envs.alfworld.env import AlfWorldEnv
from envs.alfworld.games import find_games
from envs.alfworld.grammar import parse_expression, parse_query, parse_symbols
from envs.alfworld.logic import Relation, parse_goal
from envs.alfworld.native_engine import NativeEngine
from envs.alfworld.rules import Game, World, object_names
from envs.alfworld.sources import GameFile
from envs.alfworld.textworld_engine import TextWorldEngine
from rollouts.episodes import collect, episode_keys
from rollouts.trajectory import Trajectory
from tests.envs.alfworld_house import FACTS, GOALS, game, write

OLD_RULES = Path(os.environ.get("REASONING_DATA") or Path(__file__).parents[3] / "shared" / "data") / "alfworld_old_grammar"


def times() -> dict[str, Times]:
    return {"textworld": Times(), "native": Times()}


# Beside TextWorld


def test_official_games_are_played_text_for_text(alfworld_games: Path) -> None:
    """One game of each task type of valid_unseen, in lockstep: random, walkthrough's and nonsense commands."""
    chosen = {task.split("-")[0]: path for task, path in find_games(alfworld_games, "valid_unseen").items()}
    for path in chosen.values():
        steps, verbs, difference = compare(GameFile(path), 15, 1, times())
        assert difference == ""
        assert steps == 15 and len(verbs) > 4


@pytest.mark.parametrize("goal", GOALS)
def test_a_small_house_is_played_text_for_text(goal: str, tmp_path: Path) -> None:
    """Needs no download; small enough to come to rare states: two at one place, things put down where they were not."""
    steps, _, difference = compare(GameFile(write(tmp_path, game(goal))), 60, sorted(GOALS).index(goal), times())
    assert (steps, difference) == (60, "")


def test_the_older_release_is_played_text_for_text(tmp_path: Path) -> None:
    """`put X in/on Y`, and "You arrive at loc 3"."""
    if not OLD_RULES.is_dir():
        pytest.skip(f"needs the older release's domain and grammar: there is no {OLD_RULES}")
    path = write(tmp_path, game(old_rules=OLD_RULES))
    steps, verbs, difference = compare(GameFile(path), 80, 0, times())
    assert (steps, difference) == (80, "")
    assert "put" in verbs and "move" not in verbs


def test_both_wordings_are_those_of_the_releases(tmp_path: Path) -> None:
    """The newer game reworded is the older one to the letter, but for `help`; and back."""
    if not OLD_RULES.is_dir():
        pytest.skip(f"needs the older release's domain and grammar: there is no {OLD_RULES}")
    old, new = write(tmp_path / "old", game(old_rules=OLD_RULES)), write(tmp_path / "new", game())
    pairs = [(old, "file", new, "put"), (new, "file", old, "move")]
    for one, one_wording, other, other_wording in pairs:
        theirs, ours = NativeEngine(one_wording), NativeEngine(other_wording)
        scenes, rng = (theirs.reset(GameFile(one)), ours.reset(GameFile(other))), random.Random(0)
        for _ in range(100):
            commands = [[c for c in scene.commands if c != "help"] for scene in scenes]
            assert (scenes[0].text, commands[0], scenes[0].won) == (scenes[1].text, commands[1], scenes[1].won)
            command = rng.choice(commands[0])
            scenes = theirs.step(command), ours.step(command)


@pytest.mark.parametrize("wording", ["put", "move"])
def test_the_expert_reads_either_wording(tmp_path: Path, wording: str) -> None:
    write(tmp_path, game("put a hot apple in countertop"))
    found: list[Trajectory] = []
    make = lambda: envs.make("alfworld", games=str(tmp_path), wording=wording)  # noqa: E731
    collect(make, ExpertAgent(), episode_keys(make(), None), found.append)
    assert found[0].success


def test_textworld_is_reworded_too(tmp_path: Path) -> None:
    path = write(tmp_path, game())
    engine = TextWorldEngine("put")
    engine.reset(GameFile(path))
    engine.step("go to countertop 1")
    assert "put knife 1 in/on countertop 1" in engine.step("take knife 1 from countertop 1").commands
    engine.close()


def test_an_unknown_wording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"putt.*'put'"):
        NativeEngine("putt")
    strange = game() | {"grammar": str(game()["grammar"]).replace("move {o} to {r}", "lay {o} on {r}")}
    with pytest.raises(ValueError, match="has neither"):
        NativeEngine("put").reset(GameFile(write(tmp_path, strange)))


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["a ", "\\n", "\n", "\n\n", "  ", ". Next", "\t", "'", '"q; ""x"', "#rule#", "#look-variations#", "{o.name}"]
            + ["{o.indefinite + ' ' + o.name}", "[{o.name | holds(a:agent, o:object)}]", "[{#overview(o)# | opened(r:receptacle)}]"]
        ),
        min_size=1,
        max_size=6,
    ).map("".join)
)
def test_texts_are_cut_into_symbols_as_textworld_does(text: str) -> None:
    from textworld.envs.pddl.textgen import _parse_and_convert

    try:
        theirs = _parse_and_convert(text, rule_name="symbols")
    except Exception:
        return  # what TextWorld cannot read is no text of a game
    try:
        ours = parse_symbols(text)
    except ValueError:
        return  # TextWorld drops what follows; we refuse
    assert [kind_of(symbol) for symbol in ours] == [found for found in map(kind_of, theirs) if found != ("text", "")]


def kind_of(symbol: Any) -> tuple[str, str]:
    """Class and, for literal text, the text."""
    name = type(symbol).__name__
    if name in ("TerminalSymbol", "Literal"):
        return "text", getattr(symbol, "text", None) or str(getattr(symbol, "symbol", ""))
    return {
        "NonterminalSymbol": "Reference",
        "EvalSymbol": "expression",
        "ConditionalSymbol": "expression",
        "ListSymbol": "Each",
    }.get(name, "expression" if name in ("Property", "Joined") else name), ""


ids = st.tuples(
    st.sampled_from(["mug", "sink", "bathtub", "agent1", "loc", "mugtype"]), st.sampled_from(["_bar__plus_", "_bar__minus_", ""]),
    st.integers(0, 30).map(str), st.sampled_from(["", "_bar_sinkbasin", "_bar_bathtubbasin", "_dot_00"]),
).map("".join)  # fmt: skip


@given(st.sets(ids, max_size=12))
def test_objects_are_named_as_the_demangler_names_them(found: set[str]) -> None:
    from alfworld.agents.utils.misc import Demangler
    from textworld.generator.game import EntityInfo

    theirs = Demangler(game_infos={one: EntityInfo(one, "o") for one in found})
    assert object_names(found) == {one: theirs.demangle_alfred_name(one) for one in found}


def test_walkthroughs_win(alfworld_games: Path) -> None:
    env = AlfWorldEnv(alfworld_games, "valid_unseen")
    for task in env.tasks:
        env.reset(options={"task": task})
        commands = json.loads(env.source(task).read())["walkthrough"]
        ends = [env.step(command)[1:4] for command in commands]
        assert ends == [(0.0, False, False)] * (len(commands) - 1) + [(1.0, True, False)]


# State


def test_a_snapshot_goes_back_and_on_alike(tmp_path: Path) -> None:
    env = AlfWorldEnv([write(tmp_path, game("put a hot apple in countertop"))])
    rng = random.Random(0)
    _, info = env.reset()
    for _ in range(10):
        _, _, _, _, info = env.step(rng.choice(info["admissible_commands"]))
    saved = pickle.loads(pickle.dumps(env.snapshot()))
    commands = ["look", "inventory", *rng.sample(info["admissible_commands"], 8)]
    first = [env.step(command) for command in commands]
    assert env.restore(saved) == info
    assert [env.step(command) for command in commands] == first
    other = AlfWorldEnv([tmp_path / "pick_and_place_simple-Mug-None-SideTable-1" / "trial_T1" / "game.tw-pddl"])
    other.restore(saved)  # another process
    assert [other.step(command) for command in commands] == first


def test_an_episode_is_pickled_as_it_stands(tmp_path: Path) -> None:
    env = AlfWorldEnv([write(tmp_path, game())])
    _, info = env.reset()
    env.step(info["admissible_commands"][-1])
    other = pickle.loads(pickle.dumps(env))
    assert [env.step(command) for command in ("look", "inventory")] == [other.step(command) for command in ("look", "inventory")]


def test_a_snapshot_after_the_end_stays_ended(tmp_path: Path) -> None:
    env = AlfWorldEnv([write(tmp_path, game())], max_steps=1)
    env.reset()
    env.step("look")
    saved = env.snapshot()
    env.reset()
    env.restore(saved)
    with pytest.raises(Exception, match="reset"):
        env.step("look")


def test_a_snapshot_is_what_differs_from_the_start() -> None:
    world = World(Game(game()))
    assert world.snapshot() == {}
    ((agent, start),) = world.facts["atlocation"].rows
    world.do("go to countertop 1")
    ((_, there),) = world.facts["atlocation"].rows
    assert world.snapshot() == {"atlocation": {(agent, start), (agent, there)}}
    there_and_back = world.snapshot()
    world.do("take apple 1 from countertop 1")
    world.do("move apple 1 to countertop 1")
    assert {name: facts for name, facts in world.snapshot().items() if not name.startswith("not_")} == there_and_back


pairs = st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")))


@given(pairs, st.lists(pairs, max_size=4))
def test_indexes_follow_what_changes(rows: set[tuple[str, ...]], changes: list[set[tuple[str, ...]]]) -> None:
    """A relation changed step by step finds what one made at once does."""
    places = [((), (0, 1)), ((0,), (1,)), ((1,), (0,))]
    relation = Relation(rows)
    for facts in changes:
        for known, asked in places:
            relation.index(known, asked)
        relation = relation.flipped(facts)
        rows = rows ^ facts
        assert relation.rows == rows
        for known, asked in places:
            found = {key: values for key, values in relation.index(known, asked).items() if values}
            assert found == Relation(rows).index(known, asked)


def test_worlds_of_one_game_do_not_share_their_state() -> None:
    shared = Game(game())
    one, other = World(shared), World(shared)
    one.do("go to countertop 1")
    one.do("take apple 1 from countertop 1")
    assert other.do("inventory") == "You are not carrying anything."
    assert World(shared).commands == other.commands


def test_the_list_of_commands_is_the_callers_own() -> None:
    world = World(Game(game()))
    world.commands.clear()
    assert world.commands


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_any_text_is_a_command(text: str) -> None:
    world = World(Game(game()))
    before = copy.copy(world.facts)
    if text.strip() not in world.commands:
        assert world.do(text) == "Nothing happens."
        assert world.facts == before


# What is wrong with a file


def broken(**parts: Any) -> dict[str, object]:
    return game() | parts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no text under 'pddl_domain'"),
        (json.dumps(broken(grammar=3)), "no text under 'grammar'"),
        (json.dumps(broken(pddl_domain="(define (domain alfred))")), r"PDDL domain \(digest .*engine='textworld'"),
        (json.dumps(broken(pddl_problem=str(game()["pddl_problem"])[:3000])), "cut off"),
        (json.dumps(broken(pddl_problem=str(game()["pddl_problem"])[:-20])), r"\(:goal .*cut off"),
        (json.dumps(broken(grammar=str(game()["grammar"])[:5000])), "cut off"),
        (json.dumps(game(facts=FACTS.replace("(openable", "(opnable"))), "unknown predicate 'opnable'.*openable"),
        (json.dumps(game(facts=FACTS + "(openable Cabinet_bar__plus_09_dot_00)")), "names 'cabinet_bar__plus_09_dot_00'"),
        (json.dumps(game(facts=FACTS + "(isHot)")), "has 0 arguments, wanted 1"),
        (json.dumps(game(facts=FACTS + "oops")), "not a fact: 'oops'"),
        ("[" * 100_000, "not JSON"),
        (json.dumps(broken(pddl_problem=str(game()["pddl_problem"]).replace("?o MugType", "?o JugType"))), "goal names jugtype"),
        (json.dumps(broken(grammar=str(game()["grammar"]).replace("lend", "lstart"))), "place that one leaves"),
        (json.dumps(broken(grammar=str(game()["grammar"]).replace("{r.name}", "{x}"))), "'x' where it"),
        (json.dumps(broken(grammar=str(game()["grammar"]).replace("Your task is to", "#task#"))), "nested too deeply"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_game_is_named_with_the_reason(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a" / "b" / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"(?s)game.tw-pddl is not an ALFWorld game.*{message}"):
        NativeEngine().reset(GameFile(path))


@pytest.mark.parametrize(
    "expression",
    ["__import__('os').system('x')", "o.name.upper()", "o.__class__", "open('x')", "[o for o in 'x']", "1 + 1", "f'{o}'"]
    + ["o.name if o else 1", "(" * 150, "o" * 300, "lambda: 1", "o.name * 9"],
)  # fmt: skip
def test_an_expression_that_would_have_to_be_run_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="expression"):
        parse_expression(expression)


def test_a_hostile_grammar_is_refused_before_it_is_played(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    hostile = str(game()["grammar"]).replace("{r.name}", "{open('" + str(marker).replace("/", "'+chr(47)+'") + "', 'w').name}", 1)
    with pytest.raises(ValueError, match="is not run"):
        NativeEngine().reset(GameFile(write(tmp_path, game() | {"grammar": hostile})))
    assert not marker.exists()


@pytest.mark.parametrize(
    "query", ["holding(a:agent)", "holds(a:agent)", "holds", "holds(a:agent, o:object) &", "holds(o:object, o:object)"]
)
def test_an_unknown_query_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="the grammar asks for"):
        parse_query(query)


@pytest.mark.parametrize(
    "goal",
    [
        ["forall", ["?o"], ["isclean", "?o"]],
        ["isclean", "?o"],
        ["exists", ["?o", "-", "object"], ["isshiny", "?o"]],
        ["exists", ["?o"], ["holds", "?o"]],
        ["exists", [["?o"]], ["isclean", "?o"]],
        ["exists", ["?o"], ["holds", "?o", ["x"]]],
        ["exists", ["?o"], ["holds", "?o", "?o"]],
        ["exists", ["?o"], ["not", ["isclean", "?o"]]],
        ["exists", ["?o", "?p"], ["and", ["isclean", "?o"], ["=", "?o", "?p"]]],
        ["exists", ["?r"], ["and", ["exists", ["?o"], ["inreceptacle", "?o", "?r"]], ["exists", ["?o"], ["ishot", "?o"]]]],
    ],
)
def test_an_unknown_goal_is_refused(goal: Any) -> None:
    with pytest.raises(ValueError, match="the goal holds"):
        parse_goal(goal)


def test_textworld_cannot_save_its_state() -> None:
    with pytest.raises(NotImplementedError, match="engine='native'"):
        TextWorldEngine().snapshot()


def test_commands_by_verb_reach_every_kind_of_action() -> None:
    """The lockstep test is worth something only if its commands do things."""
    seen: set[str] = set()
    for seed in range(30):
        world, rng = World(Game(game())), random.Random(seed)
        for _ in range(60):
            scene = type("Scene", (), {"commands": world.commands})
            command = choose(rng, scene, [])  # type: ignore[arg-type]
            if world.do(command) != "Nothing happens.":
                seen.add(command.split()[0])
    assert seen >= {"go", "open", "close", "take", "move", "clean", "heat", "cool", "use", "slice", "examine", "look", "inventory"}
