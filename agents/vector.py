"""stable-baselines3's vector environments for agents that read and write text: its `evaluate_policy` plays any of them.

    env = TextVecEnv(DummyVecEnv([lambda: Monitor(gym.make("envs:MathReason-v0"))] * 8))
    evaluate_policy(env.player(agent), env, n_eval_episodes=100)

`evaluate_policy` hands a policy observations and nothing else. Here the environments' infos reach the agent too (a random agent
draws from the admissible commands, the expert reads the worked solution, a vote asks for the task's answers), a whole response is
given step by step as the environment cuts it, and where an episode begins is what the environments say. (`evaluate_policy` goes on
to step a row whose episodes are all counted, and says of it what was true at its last one.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.agent import Action, Agent, History, Segment, Turn, cut, unfinished


class TextVecEnv(VecEnvWrapper):
    """B text environments side by side, which keep the infos of the observations that they gave last."""

    def __init__(self, venv: VecEnv) -> None:
        """Wrap `venv`, of any kind. Raises ValueError where it does not observe and take texts."""
        for role, space in (("observe", venv.observation_space), ("take", venv.action_space)):
            if not (space.shape == () and space.dtype is not None and space.dtype.kind in "OUS"):
                raise ValueError(f"the environments {role} {space!r}: wanted texts, as the environments here have by default")
        super().__init__(venv)
        self.infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        """of the observation that each gave last"""
        self.begun = np.ones(self.num_envs, bool)
        """whether that is the first one of an episode"""
        self.segments: list[Segment | None] = [None] * self.num_envs
        """the rule by which each cuts a response into actions"""
        if venv.has_attr("segment"):
            self.segments = list(venv.get_attr("segment"))

    def reset(self) -> VecEnvObs:
        """Begin an episode in each."""
        observation = self.venv.reset()
        self.infos, self.begun = list(self.unwrapped.reset_infos), np.ones(self.num_envs, bool)
        return observation

    def step_wait(self) -> VecEnvStepReturn:
        """Step each; where an episode ends, the next has begun."""
        observation, rewards, dones, infos = self.venv.step_wait()
        first = self.unwrapped.reset_infos
        self.infos = [first[row] if done else infos[row] for row, done in enumerate(dones)]
        self.begun = np.array(dones, bool)
        return observation, rewards, dones, infos

    def player(self, agent: Agent) -> Player:
        """An agent as a policy for these environments."""
        return Player(agent, self)


class Player:
    """An agent as stable-baselines3's `evaluate_policy` asks for it: `predict` is called once for each step."""

    def __init__(self, agent: Agent, env: TextVecEnv) -> None:
        self.agent, self.env = agent, env
        # An episode's random stream is named by its task and seed; the first of row b has the seed b, the next B + b, and so on.
        self.histories = [History("", row - env.num_envs) for row in range(env.num_envs)]
        self._waiting: list[list[Action]] = [[] for _ in self.histories]

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, None]:
        """Answer B observations with B texts (dtype object); the rest is what the environments know themselves, or the agent."""
        del state, episode_start, deterministic
        for row, (text, info) in enumerate(zip(observation, self.env.infos, strict=True)):
            if self.env.begun[row]:
                task, seed = str(info.get("task", "")), self.histories[row].seed + self.env.num_envs
                self.histories[row], self._waiting[row] = History(task, seed), []
            self.histories[row].turns.append(Turn(str(text), info))
        asked = [row for row, parts in enumerate(self._waiting) if not parts]
        actions = self.agent.act([self.histories[row] for row in asked]) if asked else []
        for row, action in zip(asked, actions, strict=True):
            self._waiting[row] = cut(self.agent, self.histories[row], action, self.env.segments[row])
        return np.array([self._next(row) for row in range(len(self.histories))], dtype=object), None

    def _next(self, row: int) -> str:
        """The next part of what a row's agent said."""
        history = self.histories[row]
        history.turns[-1].action = part = self._waiting[row].pop(0)
        # Of a step that was cut off nothing is given: the environment would take it for the end, and grade half a number.
        return "" if unfinished(history, self.env.segments[row]) else part.text
