"""Generated games: each can be solved, looks like an official one, and is played by upstream as by the native engine."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from benchmarks.alfworld_engine import Times, compare
from envs.alfworld import rooms, sources
from envs.alfworld.engine import without_banner
from envs.alfworld.env import AlfWorldEnv
from envs.alfworld.export import write_games
from envs.alfworld.games import SPLITS, TASK_TYPES, VARIABLE, find_games, scene, task_type
from envs.alfworld.generator import GeneratedGame, generated
from envs.alfworld.inspection import faults
from envs.alfworld.problem import PREDICATES, TYPES, parse_problem, write_problem
from envs.alfworld.rules import load_game, object_names
from envs.alfworld.sources import find_sources
from envs.alfworld.tasks import UNSEEN, UNUSED, Difficulty, scenes_of

DIALS = st.builds(
    Difficulty,
    receptacles=st.none() | st.integers(0, 40),
    objects=st.none() | st.integers(0, 60),
    copies=st.integers(2, 5),
)


def game_of(split: str, seed: int, difficulty: Any = None) -> GeneratedGame:
    return next(iter(generated(split, 1, seed, difficulty).values()))


# What is generated


@settings(max_examples=60)
@given(split=st.sampled_from(SPLITS), seed=st.integers(0, 10**6), dials=DIALS)
def test_every_game_has_a_solution_that_is_not_empty(split: str, seed: int, dials: Difficulty) -> None:
    assert faults(game_of(split, seed, dials)) == []


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), dials=DIALS)
def test_things_lie_where_the_package_allows(seed: int, dials: Difficulty) -> None:
    facts = parse_problem(json.loads(game_of("train", seed, dials).read())["pddl_problem"]).facts
    kinds = {thing: kind.removesuffix("type") for thing, kind in facts["objecttype"]}
    places = {place: kind.removesuffix("type") for place, kind in facts["receptacletype"]}
    holds = {place.lower(): {thing.lower() for thing in things} for place, things in rooms.rules().holds.items()}
    for thing, place in facts["inreceptacle"]:
        assert kinds[thing] == "desklamp" or kinds[thing] in holds[places[place]]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), dials=DIALS)
def test_the_dials_bound_the_room(seed: int, dials: Difficulty) -> None:
    game = game_of("train", seed, dials)
    facts = load_game(game.read()).problem.facts
    kinds = [kind for _, kind in facts["objecttype"]]
    own = {f"{name}Type".lower() for name in (game.task.thing, game.task.place)}
    if dials.receptacles is not None:
        assert len(facts["receptacletype"]) <= max(dials.receptacles, 3)  # source, place and appliance stay
    if dials.objects is not None:
        assert sum(kind not in own for kind in kinds) <= dials.objects
    fixed = {"chairtype", "stoveknobtype"}
    # The task's own thing may come once more where there are three of a kind, as in the official games.
    assert all(kinds.count(kind) <= dials.copies + (kind in own and dials.copies > 2) for kind in set(kinds) - fixed)


def test_a_game_is_the_same_on_every_call_and_in_every_process() -> None:
    command = "from envs.alfworld.generator import generated; [g] = generated('train', 1, 5).values(); print(g.read(), end='')"
    other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert game_of("train", 5).read() == other


def test_every_type_and_kind_of_room_occurs_about_as_often_as_officially() -> None:
    tasks = list(generated("train", 2000))
    share = {kind: sum(task_type(task) == kind for task in tasks) / 2000 for kind in TASK_TYPES}
    official = dict(zip(TASK_TYPES, (849, 339, 708, 498, 579, 854), strict=True))
    for kind, count in official.items():
        assert share[kind] == pytest.approx(count / 3827, abs=0.04)  # four standard errors of 2,000 draws
    assert {(scene(task) or 0) // 100 for task in tasks} == {0, 2, 3, 4}


def test_splits_go_by_floor_plan() -> None:
    scenes = {split: {scene(task) for task in generated(split)} for split in SPLITS}
    assert scenes["valid_unseen"] == set(UNSEEN)
    assert scenes["train"] == set(scenes_of("train")) and len(scenes["train"]) == 108
    assert scenes["valid_seen"] <= scenes["train"] and scenes["train"].isdisjoint((*UNSEEN, *UNUSED))


def test_the_numbers_of_games_are_the_official_ones() -> None:
    assert [len(generated(split)) for split in SPLITS] == [3553, 140, 134]


def test_splits_share_no_task() -> None:
    train, seen, unseen = (set(generated(split)) for split in SPLITS)
    assert not train & seen and not train & unseen


def test_difficulties_pose_the_same_tasks_under_other_names() -> None:
    small, official = generated("train", 50), generated("train", 50, difficulty="official")
    assert not small.keys() & official.keys()
    posed = [[task.split("/")[0] for task in games] for games in (small, official)]
    assert posed[0] == posed[1]


def test_types_and_scenes_can_be_chosen() -> None:
    tasks = list(generated("train", 40, task_types=["pick_heat_then_place_in_recep"], scenes=[1, 2]))
    assert len(tasks) == 40
    assert {(task_type(task), scene(task)) for task in tasks} == {
        ("pick_heat_then_place_in_recep", 1),
        ("pick_heat_then_place_in_recep", 2),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split='valid' is not known"),
        ({"count": 0}, "count=0: wanted at least one"),
        ({"difficulty": "smal"}, r"difficulty='smal' is not known.*Did you mean 'small'"),
        ({"difficulty": {"receptacle": 3}}, "Did you mean 'receptacles'"),
        ({"difficulty": {"receptacles": -1}}, "receptacles=-1, wanted a whole number of at least 0"),
        ({"difficulty": {"copies": None}}, "copies=None, wanted a whole number of at least 2"),
        ({"difficulty": {"objects": "many"}}, "objects='many', wanted a whole number"),
        ({"scenes": [10]}, r"scene 10 is not of split 'train': its floor plans are 1, 2"),
        ({"scenes": [401], "task_types": ["pick_heat_then_place_in_recep"]}, "no game of the types pick_heat.* is possible"),
    ],
)  # fmt: skip
def test_what_cannot_be_generated_is_refused(arguments: dict[str, Any], message: str) -> None:
    everything: dict[str, Any] = {"split": "train"} | arguments
    with pytest.raises(ValueError, match=message):
        generated(**everything)


@settings(max_examples=100)
@given(seed=st.integers(0, 10**6))
def test_one_starts_in_the_middle_of_the_room_as_in_official_games(seed: int) -> None:
    assert without_banner(load_game(game_of("train", seed).read()).intro).startswith("You are in the middle of a room.")


def test_the_text_names_every_receptacle_by_its_kind() -> None:
    for number in rooms.SCENES:
        # Floor plan 420 has a sink in its bath: upstream's text calls it a bathtubbasin too, though its kind is another.
        receptacles = [one for one in rooms.floor_plan(number).receptacles if not (number == 420 and one.startswith("Bathtub"))]
        names = object_names(one.lower() for one in receptacles)
        assert {one: names[one.lower()].split()[0] for one in receptacles} == {one: rooms.kind(one).lower() for one in receptacles}


def test_a_floor_plan_that_alfred_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="no floor plan 131: kitchens are 1-30"):
        rooms.floor_plan(131)


def test_nothing_of_the_package_is_run() -> None:
    """Importing alfworld would change the environment variables and make folders."""
    command = (
        "import os, sys; from envs.alfworld.generator import generated; [g] = generated('train', 1).values(); g.read();"
        "assert 'alfworld' not in sys.modules and 'ALFWORLD_DATA' not in os.environ"
    )
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    subprocess.run([sys.executable, "-c", command], check=True, env=clean)


# PDDL

_WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@settings(max_examples=100)
@given(
    objects=st.dictionaries(_WORD, st.sampled_from(TYPES), min_size=1, max_size=8),
    picks=st.lists(st.tuples(st.sampled_from(sorted(PREDICATES)), st.integers(0, 10**6)), max_size=12),
)
def test_a_problem_is_read_as_it_was_written(objects: dict[str, str], picks: list[tuple[str, int]]) -> None:
    names = sorted(objects)
    facts = [(name, *random.Random(seed).choices(names, k=len(PREDICATES[name]))) for name, seed in picks]
    problem = parse_problem(write_problem("p", objects, facts, f"(:goal (isclean {names[0]}))"))
    assert problem.objects == objects and problem.goal == ["isclean", names[0]]
    assert {(predicate, *fact) for predicate, rows in problem.facts.items() for fact in rows} == set(facts)


# Played


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_generated_games_are_played_text_for_text_as_textworld_does(kind: str) -> None:
    """Random, walkthrough's and nonsense commands in lockstep; needs no download."""
    (game,) = generated("train", 1, seed=3, difficulty="medium", task_types=[kind]).values()
    steps, verbs, difference = compare(game, 25, 1, {"textworld": Times(), "native": Times()})
    assert (steps, difference) == (25, "")
    assert len(verbs) > 3


def test_upstream_loads_the_files_and_their_walkthrough_wins(tmp_path: Path) -> None:
    games = generated("valid_unseen", 3, difficulty="official")
    write_games(games, "valid_unseen", tmp_path)
    script = f"""
from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv
import json
import os
config = {{
    "env": {{"goal_desc_human_anns_prob": 0, "expert_type": "handcoded", "domain_randomization": False, "task_types": range(1, 7)}},
    "dataset": {{"eval_ood_data_path": {str(tmp_path / "json_2.1.1" / "valid_unseen")!r}, "num_eval_games": -1}},
    "general": {{"training_method": "dqn"}}, "rl": {{"training": {{"max_nb_steps_per_episode": 40}}}},
}}
upstream = AlfredTWEnv(config, train_eval="eval_out_of_distribution")
assert upstream.num_games == 3, upstream.num_games
env = upstream.init_env(batch_size=1)
for _ in range(3):
    _, info = env.reset()
    for command in json.load(open(info["extra.gamefile"][0]))["walkthrough"]:
        _, _, done, info = env.step([command])
    assert info["won"] == [True] or info["won"] == (True,), info["won"]
print("won all")
"""
    file = tmp_path / "upstream.py"
    file.write_text('if __name__ == "__main__":\n' + "".join(f"    {line}\n" for line in script.strip().splitlines()))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, env=os.environ | {"HOME": str(tmp_path)})
    assert "won all" in done.stdout, done.stderr[-2000:]


def test_files_and_memory_hold_the_same_games(tmp_path: Path) -> None:
    games = generated("valid_seen", 5)
    assert write_games(games, "valid_seen", tmp_path) == 5
    assert list(find_games(tmp_path, "valid_seen")) == sorted(games)
    disk, memory = AlfWorldEnv(tmp_path, "valid_seen"), AlfWorldEnv(games)
    assert disk.tasks == memory.tasks
    for task in games:
        assert disk.reset(options={"task": task}) == memory.reset(options={"task": task})


def test_a_stopped_export_leaves_whole_games_and_is_gone_on_with(tmp_path: Path) -> None:
    games = generated("train", 3)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_games(games, "train", tmp_path, stop)
    assert len(find_games(tmp_path)) == 1
    assert write_games(games, "train", tmp_path) == 2
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(["game.tw-pddl", "traj_data.json"] * 3)


def test_a_failed_game_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GeneratedGame, "read", lambda self: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_games(generated("train", 1), "train", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or "trial" in path.name]


# The environment without data


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sources, "HOME", tmp_path / "nothing")
    sources._say_generated.cache_clear()


def test_without_data_generated_games_are_played_and_it_is_said_once(no_data: None) -> None:
    with pytest.warns(UserWarning, match="ALFWORLD_DATA is not set.*generated ones are played"):
        env = envs.make("alfworld")
    assert len(env.unwrapped.tasks) == 3553  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = envs.make("alfworld", difficulty="medium")
    text, info = env.reset(seed=0)
    assert "Your task is to:" in text and info["task"].endswith("_medium")


def test_an_empty_data_folder_is_never_replaced_by_generated_games(
    no_data: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="games='generated' plays without any"):
        AlfWorldEnv()


def test_a_difficulty_is_of_generated_games_only(tmp_path: Path) -> None:
    write_games(generated("train", 1), "train", tmp_path)
    with pytest.raises(ValueError, match="difficulty='small' is the generator's, and these games are files"):
        find_sources(tmp_path, difficulty="small")
    with pytest.raises(ValueError, match="count=5 is the generator's, and these games are files"):
        find_sources(tmp_path, count=5)


def test_as_many_games_are_generated_as_are_asked_for() -> None:
    few, many = (find_sources("generated", "train", count=count) for count in (7, 20))
    assert (len(few), len(many)) == (7, 20) and few.keys() <= many.keys()


def test_folds_divide_the_tasks() -> None:
    whole = find_sources("generated", "train", count=200)
    held, rest = (find_sources("generated", "train", count=200, fold=fold) for fold in ("0/20", "1-19/20"))
    assert held.keys() | rest.keys() == whole.keys() and not held.keys() & rest.keys()
    assert {zlib.crc32(task.encode()) % 20 for task in held} == {0}


@pytest.mark.parametrize("fold", ["20/20", "3-1/20", "0", "-1/5", "a/b", "0/0", 0.2])
def test_what_is_no_fold_is_refused(fold: str) -> None:
    with pytest.raises(ValueError, match=r"wanted K/N or K-L/N with K <= L < N, such as 0/20"):
        find_sources("generated", "train", count=2, fold=fold)


def test_a_fold_without_a_game_is_refused() -> None:
    game = game_of("train", 0)
    empty = (zlib.crc32(game.task.id.encode()) + 1) % 20
    with pytest.raises(ValueError, match=r"has none of the 1 games"):
        find_sources("generated", "train", count=1, fold=f"{empty}/20")


def test_a_task_has_its_shortest_solution_beside_it() -> None:
    game = game_of("train", 0)
    env = AlfWorldEnv({game.task.id: game})
    env.reset()
    for command in json.loads(env.source(game.task.id).read())["walkthrough"]:
        *_, info = env.step(command)
    assert info["won"]
