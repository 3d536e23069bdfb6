"""What every registered environment keeps to; a new one is covered by its register line."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import envs
from envs.text import UnicodeText
from envs.token_level import TokenLevel

IDS = [name for name, spec in gym.registry.items() if str(spec.entry_point).startswith("envs.")]


def arguments(name: str) -> dict[str, Any]:
    return {"games": "generated"} if name.startswith("AlfWorld") else {}


LEVELS = [(name, level) for name in IDS for level in gym.make(name, **arguments(name)).unwrapped.metadata["levels"]]


@pytest.fixture
def env(name: str) -> Iterator[gym.Env[Any, Any]]:
    """The environment `name` at its defaults, AlfWorld without any data."""
    env = gym.make(name, **arguments(name))
    yield env
    env.close()


def test_the_registry() -> None:
    assert set(IDS) == set(envs.ENVIRONMENTS.values())


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_check(name: str, env: gym.Env[Any, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", IDS)
def test_the_contract(name: str, env: gym.Env[Any, Any]) -> None:
    assert isinstance(env.observation_space, UnicodeText) and isinstance(env.action_space, UnicodeText)
    tasks = env.unwrapped.tasks  # pyright: ignore[reportAttributeAccessIssue]
    assert len(tasks) > 0 and isinstance(tasks[0], str) and tasks.index(tasks[-1]) == len(tasks) - 1
    by_index, by_id = env.reset(options={"task": 0}), env.reset(options={"task": tasks[0]})
    assert by_index == by_id and by_index[1]["task"] == tasks[0] and by_index[0] in env.observation_space
    assert env.reset(seed=7) == env.reset(seed=7)
    observation, reward, terminated, truncated, _ = env.step("look")
    assert observation in env.observation_space and reward in (0.0, 1.0)
    assert type(reward) is float and type(terminated) is bool and type(truncated) is bool
    with pytest.raises((ValueError, KeyError), match="no such task"):
        env.reset(options={"task": "no such task"})


@pytest.mark.parametrize("name", IDS)
def test_token_level_passes_both_checks(name: str, env: gym.Env[Any, Any]) -> None:
    tokens = TokenLevel(env, max_length=4096)
    check_env(tokens, skip_render_check=True)
    sb3_check_env(tokens)


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_every_level_is_checked_copied_and_pickled(name: str, level: str) -> None:
    env = gym.make(name, level=level, **arguments(name))
    check_env(env.unwrapped, skip_render_check=True)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env)), gym.make(env.spec or name)):
        first, second = env.reset(seed=1), twin.reset(seed=1)
        assert (first[0] == second[0]) if isinstance(first[0], str) else (first[0] == second[0]).all()
        assert first[1] == second[1]


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"unknown environment 'alfwrld'.*Did you mean 'alfworld'"):
        envs.make("alfwrld")
    with pytest.raises(ValueError, match="Did you mean 'MathReason-v0'"):
        envs.make("MathReson-v0")
    assert envs.make("CartPole-v1").spec is not None


def test_a_module_name_in_the_id_is_enough_and_no_simulator_is_imported() -> None:
    code = (
        "import sys, gymnasium; gymnasium.make('envs:MathReason-v0').reset(); "
        "assert not {'textworld', 'alfworld', 'torch', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(envs.__file__).parents[1])
