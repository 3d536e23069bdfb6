"""From names on a command line to agents and environments."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import gymnasium as gym

import envs
from agents import checkpoint
from agents.agent import Agent
from agents.generate import Sampling
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.scripted import SCRIPTED
from rollouts.trajectory import Header


def parse_env_args(pairs: Sequence[str]) -> dict[str, Any]:
    """`["difficulty=3", "split=test"]` -> keyword arguments; values are read as JSON where they are JSON, else as text.

    Raises:
        ValueError: an entry without `=`.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"--env-args takes KEY=VALUE entries, got {pair!r}; for example --env-args difficulty=3")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


def env_maker(env: str, env_args: dict[str, Any]) -> Callable[[], gym.Env]:
    """A function that makes the environment, after trying it once for its faults. Raises what making it raises."""
    envs.make(env, **env_args).close()
    return lambda: envs.make(env, **env_args)


def run_checkpoint(path: str | Path) -> Path:
    """The checkpoint of a run directory (its `config.json` names the final stage), or the folder itself where it is one."""
    folder = Path(path)
    file = folder / "config.json"
    if file.is_file() and "checkpoint" in (config := json.loads(file.read_text())):
        return folder / config["checkpoint"]
    return folder


def resolve_agent(name: str, sampling: Sampling, base: str | None = None) -> tuple[Agent, Header]:
    """An agent by name, run directory, checkpoint or model, and the header (without environment) that describes it.

    Raises:
        FileNotFoundError: neither a scripted agent nor anything that can be loaded, with the nearest name.
    """
    if name in SCRIPTED:
        return SCRIPTED[name](), Header("", name)
    try:
        loaded = checkpoint.load_policy(run_checkpoint(name), base)
    except FileNotFoundError as error:
        near = get_close_matches(name, SCRIPTED, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FileNotFoundError(f"no agent {name!r}: scripted agents are {', '.join(SCRIPTED)}{hint} ({error})") from error
    model = ActorCritic(loaded.lm)
    agent = LMAgent(model, loaded.tokenizer, sampling, name=Path(name).name)
    return agent, Header("", agent.name, sampling=asdict(sampling), model=checkpoint.fingerprint(loaded.lm))
