"""Success on held-out tasks during training: which checkpoint is kept, and when training stops."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.sampling import Sampling
from rollouts.episodes import collect, episode_keys
from rollouts.resolve import env_maker
from rollouts.trajectory import End, Trajectory


@dataclass(frozen=True)
class Validation:
    """Early stopping on held-out success."""

    every: int = 0
    """optimiser steps between two evaluations, of which the best one's model is kept; 0: none, and the last model is kept"""
    patience: int = 3
    """evaluations in a row without a new best after which training stops; 0: never"""
    tasks: int = 100
    """held-out tasks, each played once"""
    split: str | None = None
    """the environment's split to play; by default training tasks that the log does not have"""
    temperature: float = 0.0
    """how they are sampled; 0 is greedily"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        for name, least in (("every", 0), ("patience", 0), ("tasks", 1), ("temperature", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise ValueError(f"--valid.{name} must be at least {least}, got {getattr(self, name)}")


@dataclass
class Stopping:
    """When held-out tasks are played in a run of `steps` steps, and which was best; in the first `alone` only the critic learns."""

    settings: Validation
    steps: int
    alone: int = 0
    success: float = -1.0
    step: int = 0

    def due(self, step: int) -> bool:
        """Whether they are played after this step: not while the critic learns alone, for the policy is as it was."""
        return step > self.alone and (step % self.settings.every == 0 or step == self.steps)

    def better(self, success: float, step: int) -> bool:
        """Whether this is the best so far; then it is remembered."""
        if success <= self.success:
            return False
        self.success, self.step = success, step
        return True

    def stale(self, step: int) -> bool:
        """Whether success has not risen for as long as one had patience."""
        return bool(self.settings.patience) and step - max(self.step, self.alone) >= self.settings.patience * self.settings.every

    def __str__(self) -> str:
        return f"step {self.step}, held-out success {self.success:.1%}"


class HeldOut:
    """Plays held-out tasks with the model that is being trained; the same tasks with the same random streams every time.

    Args:
        settings: how often, how many.
        env, env_args: the environment.
        used: the tasks that are trained on.
        action_tokens: most tokens of an action.
        parallel: episodes played at once.
        seed: of the episodes.

    Raises:
        ValueError: every training task is in the log, or what `env_maker` raises.
    """

    def __init__(
        self,
        settings: Validation,
        env: str,
        env_args: dict[str, Any],
        used: Collection[str],
        action_tokens: int = 256,
        parallel: int = 64,
        seed: int = 0,
    ) -> None:
        self.settings, self.parallel = settings, parallel
        self.sampling = Sampling(temperature=settings.temperature, max_new_tokens=action_tokens)
        self.env_args = env_args | ({"split": settings.split} if settings.split else {})
        self.make = env_maker(env, self.env_args)
        first = self.make()
        self.env_id = first.spec.id if first.spec else env
        # Logs play the first tasks by the same hash: so many more than were used hold enough that were not.
        keys = episode_keys(first, settings.tasks + len(set(used)), seed=seed)
        first.close()
        self.keys = [key for key in keys if key.task not in set(used)][: settings.tasks]
        if not self.keys:
            raise ValueError(
                f"all {len(keys)} tasks of {env} {env_args} are in the log that is trained on: none is left to validate on; "
                "give --valid.split, or --valid.every 0"
            )

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks that are played."""
        return [key.task for key in self.keys]

    def described(self) -> dict[str, Any]:
        """What makes its success comparable with another's, as plain values."""
        return asdict(self.settings) | {"env_args": self.env_args, "tasks": self.tasks}

    def success(self, model: ActorCritic, tokenizer: PreTrainedTokenizerBase) -> float:
        """The share of the tasks that the model solves. Raises ValueError where one ended by an error: that is no lost task."""
        found: list[Trajectory] = []
        collect(self.make, LMAgent(model, tokenizer, self.sampling), self.keys, found.append, self.parallel)
        if broken := [episode for episode in found if episode.end is End.ERROR]:
            raise ValueError(f"{len(broken)} held-out episodes ended by an error; the first, {broken[0].task}: {broken[0].final}")
        return sum(episode.success for episode in found) / len(found)
