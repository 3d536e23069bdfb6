"""AlfWorld-v0 and the finding of its games. The tests that play skip, with a reason, without official games."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import ResetNeeded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import envs
from agents.scripted import ExpertAgent
from envs.alfworld import engine, games
from envs.alfworld.engine import BANNER, Scene
from envs.alfworld.env import AlfWorldEnv
from envs.alfworld.games import find_games, task_id
from envs.alfworld.sources import GameFile
from envs.alfworld.textworld_engine import TextWorldEngine
from rollouts.episodes import collect, episode_keys
from rollouts.trajectory import Trajectory
from tests.envs.alfworld_house import GOALS, game, write

TASKS = ("pick_and_place_simple-Mug-None-Desk-308/trial_T1", "look_at_obj_in_light-Pen-None-DeskLamp-308/trial_T2")


def make_games(folder: Path, tasks: tuple[str, ...] = TASKS, content: str = "{}") -> Path:
    """Write files that are found like games, but are none."""
    for task in tasks:
        (folder / task).mkdir(parents=True)
        (folder / task / "game.tw-pddl").write_text(content)
    return folder


class ThreeSteps:
    """A stand-in engine: a game that is won by "win", whatever the file."""

    def __init__(self, wording: str) -> None:
        pass

    def reset(self, source: GameFile) -> Scene:
        return Scene(f"You are in {task_id(source.path)}.", ["look", "win"], False)

    def step(self, command: str) -> Scene:
        return Scene("Nothing happens.", ["look", "win"], command == "win")

    def close(self) -> None:
        pass


@pytest.fixture
def make_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make an environment over two stand-in games, which needs no simulator."""
    monkeypatch.setitem(engine.ENGINES, "three", f"{__name__}:ThreeSteps")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[ThreeSteps.__module__])
    make_games(tmp_path)
    return lambda **options: AlfWorldEnv(tmp_path, engine="three", **options)


# Finding games


@pytest.mark.parametrize("below", ["json_2.1.1/valid_seen", "valid_seen", ""])
def test_a_folder_is_read_at_its_split(tmp_path: Path, below: str) -> None:
    make_games(tmp_path / below)
    found = find_games(tmp_path, "valid_seen")
    assert list(found) == sorted(TASKS)
    assert all(path.is_file() for path in found.values())


def test_a_missing_split_is_never_another_one(tmp_path: Path) -> None:
    make_games(tmp_path / "json_2.1.1" / "valid_seen")
    with pytest.raises(FileNotFoundError, match=r"has no split 'train', only valid_seen.*alfworld-download"):
        find_games(tmp_path, "train")


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    data = make_games(tmp_path / "data")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(data)
    (data / "again").symlink_to(tmp_path / "linked")
    (data / "broken").symlink_to(tmp_path / "nowhere")
    (data / "itself").symlink_to(data / "itself")
    assert list(find_games(tmp_path / "linked", "train")) == sorted(TASKS)


def test_tasks_that_upstream_leaves_out_are_left_out(tmp_path: Path) -> None:
    movable, sliced = (
        "pick_and_place_with_movable_recep-A-B-C-1/trial_T1",
        "pick_heat_then_place_in_recep-AppleSliced-1/t",
    )
    make_games(tmp_path, (*TASKS, movable, sliced))
    assert list(find_games(tmp_path)) == sorted(TASKS)


def test_a_list_of_files_ignores_the_split(tmp_path: Path) -> None:
    make_games(tmp_path / "valid_seen")
    paths = [tmp_path / "valid_seen" / task / "game.tw-pddl" for task in TASKS]
    assert list(find_games(paths, "train")) == sorted(TASKS)
    assert list(find_games(str(paths[0]), "train")) == [TASKS[0]]


def test_games_are_chosen_by_task_type_and_scene(tmp_path: Path) -> None:
    make_games(tmp_path, (*TASKS, "pick_and_place_simple-Mug-None-Desk-301/trial_T1"))
    assert list(find_games(tmp_path, task_types=["look_at_obj_in_light"])) == [TASKS[1]]
    assert list(find_games(tmp_path, scenes=[301])) == ["pick_and_place_simple-Mug-None-Desk-301/trial_T1"]
    assert len(find_games(tmp_path, task_types=["pick_and_place_simple"], scenes=[301, 308])) == 2
    with pytest.raises(ValueError, match=r"pick_and_plac'.*pick_and_place_simple"):
        find_games(tmp_path, task_types=["pick_and_plac"])
    with pytest.raises(FileNotFoundError, match="none of the 3 games"):
        find_games(tmp_path, scenes=[1])


def test_a_listing_is_kept_and_notices_what_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_games(tmp_path)
    find_games(tmp_path)
    walks: list[Path] = []
    walk = games._walk
    monkeypatch.setattr(games, "_walk", lambda folder: walks.append(folder) or walk(folder))
    find_games(tmp_path)
    games._LISTINGS.clear()  # another process
    assert list(find_games(tmp_path)) == sorted(TASKS)
    assert walks == []
    make_games(tmp_path, ("pick_and_place_simple-Mug-None-Desk-308/trial_T0",))
    assert len(find_games(tmp_path)) == 3
    (tmp_path / TASKS[0] / "game.tw-pddl").unlink()
    assert len(find_games(tmp_path)) == 2
    assert len(walks) == 2


def test_a_cache_that_is_spoilt_or_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_games(tmp_path / "games")
    find_games(tmp_path / "games")
    for file in (games.cache_folder() / "listings").iterdir():
        file.write_text('{"version": 0, "folders": {}, "games": ["a list, as an older release kept it"]}')
    games._LISTINGS.clear()
    assert len(find_games(tmp_path / "games")) == 2
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    games._LISTINGS.clear()
    assert len(find_games(tmp_path / "games")) == 2


@pytest.mark.parametrize("kind", ["zip", "tar", "xztar", "gztar"])
def test_an_archive_is_a_folder(tmp_path: Path, kind: str) -> None:
    make_games(tmp_path / "data" / "json_2.1.1" / "valid_seen")
    archive = shutil.make_archive(str(tmp_path / "games"), kind, tmp_path / "data")
    first = find_games(archive, "valid_seen")
    assert list(first) == sorted(TASKS)
    assert find_games(archive, "valid_seen") == first
    with pytest.raises(FileNotFoundError, match="no split 'train'"):
        find_games(archive)


def test_an_archive_that_is_torn_or_hostile_is_not_unpacked(tmp_path: Path) -> None:
    make_games(tmp_path / "data" / "valid_seen")
    whole = Path(shutil.make_archive(str(tmp_path / "games"), "zip", tmp_path / "data"))
    (tmp_path / "torn.zip").write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"torn.zip cannot be unpacked"):
        find_games(tmp_path / "torn.zip")
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as packed:
        packed.writestr("../../evil/game.tw-pddl", "{}")
    with pytest.raises(ValueError, match="written outside of its folder"):
        find_games(tmp_path / "hostile.zip")
    assert not list((games.cache_folder() / "unpacked").glob("*")) and not (tmp_path / "evil").exists()


def test_finding_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"valid_unsen.*valid_unseen"):
        find_games(tmp_path, "valid_unsen")
    with pytest.raises(FileNotFoundError, match=r"No game.tw-pddl under .*alfworld-download.*export ALFWORLD_DATA.*games="):
        find_games(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_games([tmp_path / "a" / "b" / "game.tw-pddl"])
    with pytest.raises(FileNotFoundError, match="empty list"):
        find_games([])
    for name in ("one", "two"):
        make_games(tmp_path / name)
    with pytest.raises(ValueError, match="Two games have the task id"):
        find_games(tmp_path)
    monkeypatch.setenv(games.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        find_games()


# The environment, over a stand-in engine


def test_an_episode(make_env) -> None:
    env = make_env()
    text, info = env.reset(options={"task": TASKS[0]})
    assert text == f"You are in {TASKS[0]}."
    assert info == {"task": TASKS[0], "admissible_commands": ["look", "win"], "won": False}
    assert env.step("look")[1:4] == (0.0, False, False)
    _, reward, terminated, truncated, info = env.step("win")
    assert (reward, terminated, truncated, info["won"]) == (1.0, True, False, True)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step("look")


def test_the_step_limit_truncates_and_a_win_at_it_terminates(make_env) -> None:
    env = make_env(max_steps=2)
    for last, ended in (("look", (False, True)), ("win", (True, False))):
        env.reset(seed=0)
        assert env.step("look")[2:4] == (False, False)
        assert env.step(last)[2:4] == ended


@pytest.mark.parametrize(
    ("action", "won"),
    [
        ("Thought: It is time.\nAction: win", True),
        ("Action:\n win \r\nObservation: You have won.", True),
        ("Action: win\nAction: look", True),
        ("Action: look\nAction: win", False),
        ("win", False),
        ("action: win", False),
        ("Action:", False),
    ],
)
def test_the_react_form_takes_what_stands_after_action(make_env, action: str, won: bool) -> None:
    env = make_env(form="react", max_steps=1)
    env.reset(seed=0)
    assert env.step(action)[:4] == ("Nothing happens.", float(won), won, not won)


@pytest.mark.parametrize("goal", GOALS)
def test_the_expert_thinks_aloud_in_the_react_form(tmp_path: Path, goal: str) -> None:
    """It gives the same commands as without."""
    write(tmp_path, game(goal))
    found: list[Trajectory] = []
    for thoughts, form in ((False, "command"), (True, "react")):
        make = lambda form=form: envs.make("alfworld", games=str(tmp_path), form=form)  # noqa: E731
        collect(make, ExpertAgent(thoughts=thoughts), episode_keys(make(), None), found.append)
    plain, aloud = found
    assert plain.success and aloud.success
    assert [step.action.split("\nAction: ")[1] for step in aloud.steps] == [step.action for step in plain.steps]
    assert all(step.action.startswith("Thought: ") for step in aloud.steps)


def test_tasks_are_chosen_by_id_index_and_path_and_drawn_by_seed(make_env, tmp_path: Path) -> None:
    env = make_env()
    assert env.reset(options={"task": 1})[1]["task"] == env.tasks[1]
    assert env.reset(options={"task": str(tmp_path / TASKS[1] / "game.tw-pddl")})[1]["task"] == TASKS[1]
    env.reset(seed=3)
    drawn = [env.reset()[1]["task"] for _ in range(20)]
    env.reset(seed=3)
    assert drawn == [env.reset()[1]["task"] for _ in range(20)]
    assert set(drawn) == set(TASKS)


def test_the_environment_says_what_is_wrong(make_env) -> None:
    env = make_env()
    with pytest.raises(ResetNeeded):
        env.step("look")
    with pytest.raises(ValueError, match=f"no task.*Did you mean '{TASKS[0]}'"):
        env.reset(options={"task": TASKS[0].replace("Mug", "Mag")})
    with pytest.raises(ValueError, match=r"index 2 is outside 0\.\.1"):
        env.reset(options={"task": 2})
    with pytest.raises(TypeError, match="an id, a path or an index"):
        env.reset(options={"task": 1.5})
    with pytest.raises(ValueError, match="unknown reset option 'tusk'"):
        env.reset(options={"tusk": 1})
    env.reset()
    with pytest.raises(TypeError, match="an action is a text"):
        env.step(3)
    with pytest.raises(ValueError, match="max_steps=0"):
        make_env(max_steps=0)
    with pytest.raises(ValueError, match=r"form='reakt'.*'react'"):
        make_env(form="reakt")
    with pytest.raises(ValueError, match=r"engine='textwrld'.*'textworld'"):
        AlfWorldEnv(env._sources, engine="textwrld")


# The TextWorld engine, on official games


@pytest.fixture(scope="module")
def real(alfworld_games: Path):
    """The environment over one real valid_unseen game of each task type."""
    found = find_games(alfworld_games, "valid_unseen")
    first = {task.split("-")[0]: path for task, path in reversed(found.items())}
    env = AlfWorldEnv(sorted(first.values()), engine="textworld")
    yield env
    env.close()


def play(env: AlfWorldEnv, task: str, commands: list[str]) -> list[Any]:
    """Record everything that an episode gives."""
    return [env.reset(options={"task": task}), *(env.step(command) for command in commands)]


def test_walkthroughs_win_and_a_restart_repeats_exactly(real: AlfWorldEnv) -> None:
    assert len({task.split("-")[0] for task in real.tasks}) == len(real.tasks) >= 1
    task, walkthrough, episode = "", [], []
    for task in real.tasks[::2]:  # the expert's test plays the others too; TextWorld is slow
        walkthrough = json.loads(real.source(task).read())["walkthrough"]
        episode = play(real, task, walkthrough)
        text, info = episode[0]
        assert text.startswith("You are in the middle of a room.") and "Your task is to: " in text
        assert text in real.observation_space
        assert info["admissible_commands"] == sorted(info["admissible_commands"])
        assert episode[-1][1:4] == (1.0, True, False)
        assert [step[1] for step in episode[1:-1]] == [0.0] * (len(episode) - 2)
    assert play(real, task, walkthrough) == episode  # the last one, loaded already


def test_the_engine_is_upstream_to_the_letter(real: AlfWorldEnv) -> None:
    """Played beside TextWorld as upstream starts it, without the kept translations."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler

    source = real.source(real.tasks[-1])
    assert isinstance(source, GameFile)
    infos = textworld.EnvInfos(feedback=True, won=True, admissible_commands=True)
    upstream = textworld.start(str(source.path), infos, wrappers=[AlfredDemangler])
    ours = TextWorldEngine()
    state, scene = upstream.reset(), ours.reset(source)
    for command in [*json.loads(source.read())["walkthrough"], "nonsense", "look", "inventory", "help"]:
        assert scene.text == state["feedback"].replace(BANNER, "").strip()
        assert (scene.commands, scene.won) == (state["admissible_commands"], state["won"])
        state, scene = upstream.step(command)[0], ours.step(command)
    ours.close()
    ours.close()


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(commands=st.lists(st.text(max_size=30) | st.sampled_from(["go to", "take x 1", "{0}"]), min_size=1, max_size=2))
def test_nonsense_changes_nothing(real: AlfWorldEnv, commands: list[str]) -> None:
    _, before = real.reset(options={"task": 0})
    for command in commands:
        text, reward, terminated, truncated, info = real.step(command)
        assert (text, reward, terminated, truncated) == ("Nothing happens.", 0.0, False, False)
        assert info == before


def test_importing_the_simulator_leaves_the_process_as_it_was(real: AlfWorldEnv) -> None:
    argv, data = list(sys.argv), os.environ.get("ALFWORLD_DATA")
    real.reset(options={"task": 0})
    assert (sys.argv, os.environ.get("ALFWORLD_DATA")) == (argv, data)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"pddl_domain": 1, "grammar": 2, "pddl_problem": 3}'])
def test_a_broken_game_is_named(tmp_path: Path, content: str) -> None:
    pytest.importorskip("textworld")
    make_games(tmp_path, TASKS[:1], content)
    env = AlfWorldEnv(tmp_path, engine="textworld")
    with pytest.raises(ValueError, match="is not an ALFWorld game"):
        env.reset()
    with pytest.raises(ResetNeeded):
        env.step("look")
    env.close()


def test_a_game_with_a_cut_problem_is_named(real: AlfWorldEnv, tmp_path: Path) -> None:
    game = json.loads(real.source(real.tasks[0]).read())
    game["pddl_problem"] = game["pddl_problem"][:20_000]
    make_games(tmp_path, TASKS[:1], json.dumps(game))
    env = AlfWorldEnv(tmp_path, engine="textworld")
    with pytest.raises(ValueError, match="is not an ALFWorld game"):
        env.reset()
    env.close()
