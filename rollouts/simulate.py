"""Looking ahead in a copy of the environment: what a search may ask of it, and its logs then say so."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym

from agents.agent import History, Turn
from agents.worlds import Fate, World
from rollouts.episodes import as_text

SNAPSHOT = "snapshot"
"""Key of `History.memory`: how many turns there were, and the environment's state then."""


class SimulatedWorld(World):
    """Tries actions in an environment of its own, which goes to and fro between states.

    Raises:
        ValueError: the environment gives no snapshots.
    """

    def __init__(self, make: Callable[[], gym.Env]) -> None:
        self.env = make()
        if not hasattr(self.env.unwrapped, "snapshot"):
            raise ValueError(f"{self.env} gives no snapshots, which looking ahead in it needs")
        self.env.reset(seed=0)  # gymnasium's wrappers want one before anything else

    def follow(self, before: History, after: History) -> Fate:
        """As `World`. Raises ValueError where the environment does not repeat what an episode has seen."""
        if before.memory.get(SNAPSHOT, (0, None))[0] != len(before.turns):
            before.memory[SNAPSHOT] = len(before.turns), self._enter(before)
        self.env.unwrapped.restore(before.memory[SNAPSHOT][1])  # type: ignore[attr-defined]
        action = after.turns[-1].action
        assert action is not None
        observation, _, terminated, truncated, info = self.env.step(action.text)
        if terminated or truncated:
            return Fate.OVER if terminated else Fate.CUT
        after.turns.append(Turn(as_text(observation, self.env), info))
        after.memory[SNAPSHOT] = len(after.turns), self.env.unwrapped.snapshot()  # type: ignore[attr-defined]
        return Fate.OPEN

    def _enter(self, history: History) -> object:
        """The state that an episode has come to, by its actions."""
        observation, _ = self.env.reset(seed=0, options={"task": history.task})
        for turn in history.turns:
            if as_text(observation, self.env) != turn.observation:
                raise ValueError(f"the environment does not repeat what {history.task} has shown: looking ahead would be wrong")
            if turn.action is not None:
                observation = self.env.step(turn.action.text)[0]
        return self.env.unwrapped.snapshot()  # type: ignore[attr-defined]
