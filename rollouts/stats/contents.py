"""What a log holds: success by kind of task, samples of a task, repetitions, lengths."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollouts.reshape import content
from rollouts.stats import Tally, task_group
from rollouts.stats.spread import Spread
from rollouts.trajectory import Trajectory

FIELDS = ("tokens", "logps", "value", "target")
"""What a step may hold beside its texts, and some learners need."""


@dataclass(frozen=True)
class Tasks:
    """How often tasks were played, and whether that ended alike."""

    tasks: int
    least: int
    median: float
    most: int
    """episodes a task"""
    always: int
    """tasks solved in every episode"""
    sometimes: int
    """tasks with a solved and an unsolved episode"""
    never: int

    @classmethod
    def of(cls, tally: Tally) -> Tasks:
        """Those of a tally that is not empty."""
        played, solved = tally.by_task()
        always, never = int((solved == played).sum()), int((solved == 0).sum())
        return cls(
            len(played),
            int(played.min()),
            float(np.median(played)),
            int(played.max()),
            always,
            len(played) - always - never,
            never,
        )


@dataclass(frozen=True)
class Repeats:
    """Episodes that did what another one of their task did, with the same end."""

    again: int
    """all of them but the first of each content"""
    most: int
    """episodes of the one content that is there most often"""
    first: int
    """the number of its first episode in the log, counted from 0"""


class Contents:
    """Counts episodes one by one; of each 24 bytes are kept: digests of what was done in it, and twice of its task."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.groups: dict[str, Tally] = {}
        self.agents: Counter[str] = Counter()
        self.environments: Counter[str] = Counter()
        self.steps, self.characters, self.sampled = Spread(), Spread(), Spread()
        """an episode's steps; characters of all its texts; sampled tokens, of those whose steps all have them"""
        self.held: Counter[str] = Counter()
        """steps with each of `FIELDS`"""
        self._contents = array("Q")

    def add(self, episode: Trajectory) -> None:
        """Count an episode."""
        self.tally.add(episode)
        self.groups.setdefault(task_group(episode.env_id, episode.task), Tally()).add(episode)
        self.agents[episode.agent] += 1
        self.environments[episode.env_id] += 1
        self.steps.add(len(episode.steps))
        self.characters.add(sum(len(step.observation) + len(step.action) for step in episode.steps) + len(episode.final))
        if episode.steps and all(step.tokens is not None for step in episode.steps):
            self.sampled.add(sum(len(step.tokens or ()) for step in episode.steps))
        for name in FIELDS:
            self.held[name] += sum(getattr(step, name) is not None for step in episode.steps)
        self._contents.append(content(episode))

    def repeats(self) -> Repeats:
        """What was done more than once. There must be an episode."""
        _, first, counts = np.unique(np.asarray(self._contents, np.uint64), return_index=True, return_counts=True)
        most = int(counts.argmax())
        return Repeats(len(self._contents) - len(counts), int(counts[most]), int(first[most]))

    def to_json(self) -> dict[str, Any]:
        """Numbers only, plain."""
        summary, steps, repeats = self.tally.summary(), max(self.tally.steps, 1), self.repeats()
        return {
            **summary.to_json(),
            "environments": dict(self.environments),
            "agents": dict(self.agents),
            "tasks": vars(Tasks.of(self.tally)),
            "groups": {name: group.summary().to_json() | {"tasks": vars(Tasks.of(group))} for name, group in self.groups.items()},
            "repeats": vars(repeats),
            "held": {name: self.held[name] / steps for name in FIELDS},
            "steps": self.steps.to_json(),
            "characters": self.characters.to_json(),
            "sampled_tokens": self.sampled.to_json(),
        }
