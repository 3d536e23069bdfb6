"""Minari keeps all of a log, and datasets of others are read without running anything."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings

from rollouts.exchange.minari import Export, Import, from_minari, to_minari
from rollouts.trajectory import End, Header, Step, Trajectory
from tests.rollouts.logs import lines, logs, maths_log, write

minari = pytest.importorskip("minari", reason="the extra minari is not installed")
pytest.importorskip("pyarrow", reason="the extra minari is not installed")


@pytest.fixture(autouse=True)
def datasets_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


def there_and_back(folder: Path) -> list[Header | Trajectory]:
    to_minari(Export(folder / "log.jsonl", folder / "datasets" / "log-v0"))
    from_minari(Import(folder / "datasets" / "log-v0", folder / "back.jsonl"))
    return lines(folder / "back.jsonl")


@settings(max_examples=40)
@given(logs())
def test_any_log_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, log: list[Header | Trajectory]) -> None:
    folder = tmp_path_factory.mktemp("minari")
    write(folder / "log.jsonl", log)
    assert there_and_back(folder) == log


def test_an_experts_log_comes_back_to_the_byte(tmp_path: Path) -> None:
    log = maths_log(tmp_path / "log.jsonl")
    there_and_back(tmp_path)
    assert (tmp_path / "back.jsonl").read_bytes() == log.read_bytes()


def test_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = lines(maths_log(tmp_path / "log.jsonl", 2))
    monkeypatch.chdir(tmp_path)
    assert there_and_back(Path()) == log


def test_minari_loads_it(tmp_path: Path) -> None:
    """An episode of two steps that a limit ended, one solved, one failed by the environment; n + 1 observations and infos of n
    actions.
    """
    first = Step("go", "é\n", 0.5, (1, 2), (-0.5, -1.0), 0.25, -1.0)
    cut_off = Trajectory("Env-v0", "a", 3, (first, Step("", "b", 0.0, info={"x": [1]})), End.TRUNCATED, "lm", final="end")
    solved = Trajectory("Env-v0", "b", 4, (Step("go", "c", 1.0),), End.TERMINATED, "lm")
    crashed = Trajectory("Env-v0", "c", 5, (Step("go", "d", 0.0),), End.ERROR, "lm", final="ValueError: x")
    write(tmp_path / "log.jsonl", [Header("Env-v0", "lm"), cut_off, solved, crashed])
    to_minari(Export(tmp_path / "log.jsonl", tmp_path / "datasets" / "env-lm-v1"))
    dataset = minari.load_dataset("env-lm-v1")
    assert (dataset.total_episodes, dataset.total_steps, dataset.spec.dataset_name, dataset.spec.version) == (3, 4, "env-lm", 1)
    one, other, failed = dataset
    assert (one.observations, one.actions) == (["go", "", "end"], ["é\n", "b"])
    assert (one.rewards.tolist(), one.terminations.tolist(), one.truncations.tolist()) == (
        [0.5, 0.0],
        [False, False],
        [False, True],
    )
    assert (other.terminations.tolist(), other.truncations.tolist()) == ([True], [False])
    assert (failed.terminations.tolist(), failed.truncations.tolist()) == ([False], [True])
    assert one.infos["tokens"].tolist() == ["[1,2]", "null", "null"]
    assert one.infos["info"].tolist() == ["{}", "{}", '{"x":[1]}']
    np.testing.assert_array_equal(one.infos["value"], [0.25, np.nan, np.nan])
    assert all(dataset.observation_space.contains(text) for text in (*one.observations, *other.observations))
    assert all(dataset.action_space.contains(text) for text in (*one.actions, *other.actions))
    assert [about["options"] for about in dataset.storage.get_episode_metadata([0, 1])] == [{"task": "a"}, {"task": "b"}]


def test_the_environment_of_a_log_is_made_again(tmp_path: Path) -> None:
    maths_log(tmp_path / "log.jsonl", 2)
    to_minari(Export(tmp_path / "log.jsonl", tmp_path / "datasets" / "math-expert-v0"))
    dataset = minari.load_dataset("math-expert-v0")
    about = next(iter(dataset.storage.get_episode_metadata([0])))
    env = dataset.recover_environment()
    observation, _ = env.reset(seed=about["seed"], options=about["options"])
    assert observation == dataset[0].observations[0]
    assert len(env.unwrapped.tasks) == 2  # the header's own argument `count`


@pytest.mark.parametrize("name", ["log", "log-v", "a b-v0"])
def test_a_name_that_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="its name is the dataset's id and ends with a version, such as math-sft-v0"):
        to_minari(Export(tmp_path / "log.jsonl", tmp_path / name))


def foreign(space: gym.Space, observations: list, actions: list) -> None:
    """A dataset that Minari itself writes."""
    buffer = minari.data_collector.episode_buffer.EpisodeBuffer(
        seed=7,
        observations=observations,
        actions=actions,
        rewards=[0.0, 2.0],
        terminations=[False, True],
        truncations=[False, False],
        infos={"score": [0.0, 0.5, 1.5], "note": ["", "x", "y"], "nothing": [np.nan] * 3},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has no author, no description, and so on
        minari.create_dataset_from_buffers(
            "foreign-v0", [buffer], observation_space=space, action_space=space, algorithm_name="somebody", data_format="arrow"
        )


def test_a_dataset_of_others_is_read(tmp_path: Path) -> None:
    foreign(gym.spaces.Text(9, min_length=0), ["a", "b", "c"], ["x", "y"])
    from_minari(Import(tmp_path / "datasets" / "foreign-v0", tmp_path / "log.jsonl", env="alfworld"))
    header, episode = lines(tmp_path / "log.jsonl")
    assert header == Header("AlfWorld-v0", "somebody")
    steps = (Step("a", "x", 0.0, info={"score": 0.5, "note": "x"}), Step("b", "y", 2.0, info={"score": 1.5, "note": "y"}))
    assert episode == Trajectory("AlfWorld-v0", "episode-0", 7, steps, End.TERMINATED, "somebody", final="c")


def test_a_dataset_of_others_without_an_environment_asks_for_one(tmp_path: Path) -> None:
    foreign(gym.spaces.Text(9, min_length=0), ["a", "b", "c"], ["x", "y"])
    with pytest.raises(ValueError, match="does not name its environment: give --env"):
        from_minari(Import(tmp_path / "datasets" / "foreign-v0", tmp_path / "log.jsonl"))


def test_a_dataset_that_is_not_of_texts_is_refused(tmp_path: Path) -> None:
    foreign(gym.spaces.Discrete(5), [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="its observation_space is Discrete, wanted Text"):
        from_minari(Import(tmp_path / "datasets" / "foreign-v0", tmp_path / "log.jsonl"))


def test_a_dataset_without_spaces_does_not_make_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minari would call whatever entry point the file names."""
    monkeypatch.setattr(gym, "make", lambda *_, **__: pytest.fail("a stranger's environment was made"))
    spec = {"id": "Evil-v0", "entry_point": "os:system", "kwargs": {"command": "true"}}
    (tmp_path / "metadata.json").write_text(json.dumps({"data_format": "arrow", "total_episodes": 1, "env_spec": json.dumps(spec)}))
    with pytest.raises(ValueError, match="its observation_space is not given, wanted Text"):
        from_minari(Import(tmp_path, tmp_path / "log.jsonl"))


def test_a_folder_without_a_dataset_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Minari dataset at"):
        from_minari(Import(tmp_path, tmp_path / "log.jsonl"))


def test_a_changed_episode_is_named(tmp_path: Path) -> None:
    maths_log(tmp_path / "log.jsonl", 1)
    to_minari(Export(tmp_path / "log.jsonl", tmp_path / "datasets" / "log-v0"))
    path = tmp_path / "datasets" / "log-v0" / "data" / "1" / "metadata.json"
    path.write_text(path.read_text().replace("terminated", "over"))
    with pytest.raises(ValueError, match=r"episode 1: Invalid enum value 'over' - at `\$.end`"):
        from_minari(Import(tmp_path / "datasets" / "log-v0", tmp_path / "back.jsonl"))
    assert not (tmp_path / "back.jsonl").exists()
