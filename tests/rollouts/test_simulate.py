"""Looking ahead in a copy of AlfWorld, against the environment itself."""

from __future__ import annotations

import gymnasium as gym
import pytest

import envs
from agents.agent import Action, Agent, History, Turn
from agents.scripted import ExpertAgent
from agents.worlds import Fate
from rollouts.simulate import SimulatedWorld


def make(max_steps: int = 50) -> gym.Env:
    return envs.make("alfworld", games="generated", split="train", difficulty="small", max_steps=max_steps)


def begun(env: gym.Env, task: str) -> History:
    observation, info = env.reset(seed=0, options={"task": task})
    return History(task, 0, [Turn(observation, info)])


def played(agent: Agent, env: gym.Env, history: History) -> Fate:
    """Play one action in the environment itself."""
    (action,) = agent.act([history])
    history.turns[-1].action = action
    observation, _, terminated, truncated, info = env.step(action.text)
    if not terminated and not truncated:
        history.turns.append(Turn(observation, info))
    return Fate.OVER if terminated else Fate.CUT if truncated else Fate.OPEN


def test_it_says_what_the_environment_says_until_the_end() -> None:
    """The expert plays; before each of its actions something else is tried, which leaves no trace."""
    env, expert = make(), ExpertAgent()
    task = env.unwrapped.tasks[0]  # type: ignore[attr-defined]
    history, world, fate = begun(env, task), SimulatedWorld(make), Fate.OPEN
    ahead = History(task, 0, [Turn(history.turns[0].observation, history.turns[0].info)])
    while fate is Fate.OPEN:
        other = Agent.fork(expert, ahead, 1)
        other.turns[-1].action = Action("inventory")
        assert world.follow(ahead, other) is Fate.OPEN
        fate = played(expert, env, history)
        next_one = Agent.fork(expert, ahead, 2)
        next_one.turns[-1].action = [turn.action for turn in history.turns if turn.action][-1]
        assert world.follow(ahead, next_one) is fate
        assert [turn.observation for turn in next_one.turns] == [turn.observation for turn in history.turns]
        ahead = next_one
    assert fate is Fate.OVER


def test_a_limit_is_no_end() -> None:
    env = make(max_steps=1)
    before = begun(env, env.unwrapped.tasks[0])  # type: ignore[attr-defined]
    after = Agent.fork(ExpertAgent(), before, 1)
    after.turns[-1].action = Action("look")
    assert SimulatedWorld(lambda: make(max_steps=1)).follow(before, after) is Fate.CUT


def test_another_environment_is_seen() -> None:
    env = make()
    before = begun(env, env.unwrapped.tasks[0])  # type: ignore[attr-defined]
    before.turns[0].observation += " Another room."
    after = Agent.fork(ExpertAgent(), before, 1)
    after.turns[-1].action = Action("look")
    with pytest.raises(ValueError, match="does not repeat"):
        SimulatedWorld(make).follow(before, after)


def test_an_environment_without_snapshots_is_refused() -> None:
    with pytest.raises(ValueError, match="gives no snapshots"):
        SimulatedWorld(lambda: envs.make("math"))
