"""Environments here in other people's harnesses, where those are installed: Minari's collector and AgileRL's text environments."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from transformers import PreTrainedTokenizerFast

import envs
from agents.agent import History, Turn
from agents.scripted import ExpertAgent

ENVIRONMENTS: dict[str, dict[str, Any]] = {"math": {}, "commonsense": {}, "alfworld": {"games": "generated"}}


def solve(env: gym.Env[str, str], seed: int) -> tuple[list[str], list[str], float]:
    """An expert's episode through the environment's own interface: observations, actions, the sum of the rewards."""
    observation, info = env.reset(seed=seed)
    history, observations, actions, earned, over = History("", seed, [Turn(observation, info)]), [observation], [], 0.0, False
    waiting: list[str] = []
    segment = getattr(env.unwrapped, "segment", None)
    while not over:
        if not waiting:
            (action,) = ExpertAgent().act([history])
            history.turns[-1].action = action
            waiting = [part for part in segment(action.text) if part] if segment else [action.text]
        actions.append(waiting.pop(0))
        observation, reward, terminated, truncated, info = env.step(actions[-1])
        history.turns += [] if waiting else [Turn(observation, info)]
        observations.append(observation)
        earned, over = earned + float(reward), terminated or truncated
    return observations, actions, earned


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_minari_collects_from_our_environments(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its collector takes the spaces of the dataset, which must be Gymnasium's own texts: it stores no others."""
    minari = pytest.importorskip("minari", reason="the extra minari is not installed")
    pytest.importorskip("pyarrow", reason="the extra minari is not installed")
    pytest.importorskip("jax", reason="Minari writes with jax, which is not installed (pip install 'minari[create]')")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    texts = gym.spaces.Text(4096, min_length=0, charset=string.printable)
    env = minari.DataCollector(
        envs.make(name, **ENVIRONMENTS[name]), observation_space=texts, action_space=texts, data_format="arrow"
    )
    played = [solve(env, seed) for seed in (1, 2)]
    env.create_dataset(f"{name}-v0", algorithm_name="expert", author="a", author_email="a@example.org", code_permalink="x")
    dataset = minari.load_dataset(f"{name}-v0")
    assert [(list(e.observations), list(e.actions), float(sum(e.rewards))) for e in dataset] == played
    assert all(earned == 1.0 for _, _, earned in played)


@pytest.mark.parametrize(
    ("name", "arguments", "turns"),
    [("math", {}, 20), ("math", {"level": "response"}, 1), ("commonsense", {}, 20), ("alfworld", {}, 15)],
)
def test_agilerls_multi_turn_protocol_is_satisfied(name: str, arguments: dict[str, Any], turns: int) -> None:
    """`MultiTurnEnv` of AgileRL 2.8: max_turns, reset(seed), step(action), close()."""
    env = envs.make(name, **ENVIRONMENTS[name] | arguments).unwrapped
    assert env.max_turns == turns  # type: ignore[attr-defined]
    protocols = pytest.importorskip("agilerl.protocols", reason="AgileRL is not installed")
    if not hasattr(protocols, "MultiTurnEnv"):
        pytest.skip("this AgileRL has no MultiTurnEnv, but TextEnvProtocol (the test below)")
    assert isinstance(env, protocols.MultiTurnEnv)


@pytest.mark.parametrize(
    ("name", "arguments"), [("math", {"level": "response"}), ("commonsense", {"level": "response"}), ("alfworld", {})]
)
def test_agilerls_harness_plays_our_environments(name: str, arguments: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> None:
    """`RolloutHarness.local` of AgileRL 2.58: the prompt is what is observed, the decoded turn is the action, and the expert wins.

    It strips turns, so that an environment of steps would take each for the last one: problems are played by whole responses.
    """
    agilerl = pytest.importorskip("agilerl", reason="AgileRL is not installed")
    if not getattr(agilerl, "HAS_LLM_DEPENDENCIES", False):
        pytest.skip("AgileRL's extra cpu-llm is not installed")
    harness = pytest.importorskip("agilerl.llm_envs.harness", reason="this AgileRL has no RolloutHarness")
    made = ENVIRONMENTS[name] | arguments
    observations, actions, _ = solve(envs.make(name, **made), 3)
    rollout = harness.RolloutHarness.local(envs.make(name, **made), tokenizer, max_turns=20)
    prompt, _ = rollout.reset(seed=3)
    assert observations[0] in tokenizer.decode(prompt["input_ids"][0])
    for action in actions:
        said = torch.tensor([[*tokenizer.encode(action, add_special_tokens=False), tokenizer.eos_token_id]])
        prompt, reward, terminated, truncated, _ = rollout.step(torch.cat([prompt["input_ids"], said], 1))
    assert (reward, terminated, truncated) == (1.0, True, False)
