"""What is known of the value along an episode: a critic's reading of it, or what its log says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import msgspec

from rollouts.considered import considered
from rollouts.step_reading import StepReading
from rollouts.trajectory import End, Trajectory

FELL = 0.1
"""A step fell where its advantage is below minus this."""
KEPT = 64
"""Episodes whose readings are kept."""


class Reads(Protocol):
    """What reads episodes: `rollouts.reading.Reader`."""

    def read(self, trajectories: Sequence[Trajectory]) -> list[list[StepReading]]:
        """The readings of each episode's steps."""
        ...


@dataclass(frozen=True)
class Reading:
    """The readings of an episode's steps, and whose they are."""

    steps: list[StepReading]
    source: str
    """"" where there are none"""

    @property
    def drop(self) -> float:
        """The largest fall of the value in one step: minus the smallest advantage; NaN where none is known."""
        known = [step.advantage for step in self.steps if step.advantage is not None]
        return -min(known) if known else math.nan

    def open(self) -> Reading:
        """The same of an episode that goes on: what its last step has brought is not known yet."""
        return Reading([*self.steps[:-1], *(replace(last, advantage=None) for last in self.steps[-1:])], self.source)

    def falls(self) -> list[int]:
        """The steps at which the value fell (by more than `FELL`), or else the one at which it fell most."""
        found = [number for number, step in enumerate(self.steps) if step.advantage is not None and step.advantage < -FELL]
        if found or not self.drop > 0:
            return found
        return [min(range(len(self.steps)), key=lambda number: self.steps[number].advantage or 0.0)]


class Values:
    """Readings, made when they are asked for.

    Args:
        reader: reads a critic along episodes; None for what logs say.
        name: the critic's.
    """

    def __init__(self, reader: Reads | None = None, name: str = "") -> None:
        self.reader, self.name = reader, name
        self._kept: dict[bytes, Reading] = {}

    def of(self, trajectory: Trajectory) -> Reading:
        """The reading of one episode.

        Raises:
            ValueError: the critic cannot read it: its tokens are another tokenizer's.
        """
        if self.reader is None:
            return logged(trajectory)
        key = msgspec.json.encode(trajectory)  # all of it: another log may have the same actions with other answers
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            (steps,) = self.reader.read([trajectory])
            self._kept[key] = Reading(steps, f"critic {self.name}")
        return self._kept[key]

    def drops(self, trajectories: Sequence[Trajectory]) -> list[float]:
        """The largest fall in each episode, read together."""
        if self.reader is None:
            return [logged(each).drop for each in trajectories]
        return [Reading(steps, self.name).drop for steps in self.reader.read(trajectories)]


def logged(trajectory: Trajectory) -> Reading:
    """What the log says: `Step.value` and `Step.target`, else V behind the action that a search chose.

    Behind a response that is several actions V is that of none of the states between them.
    """
    if any(step.value is not None or step.target is not None for step in trajectory.steps):
        return Reading(_with_advantages(trajectory, [step.value for step in trajectory.steps]), "the log's values")
    chosen = [next((each for each in found if each.chosen), None) for found in considered(trajectory)]
    behind = [c.value if c and c.action == step.action else None for c, step in zip(chosen, trajectory.steps, strict=True)]
    if any(value is not None for value in behind[:-1]):
        return Reading(_with_advantages(trajectory, [None, *behind[:-1]]), "V behind what the search chose")
    return Reading([StepReading(texts=(step.action,)) for step in trajectory.steps], "")


def _with_advantages(trajectory: Trajectory, values: Sequence[float | None]) -> list[StepReading]:
    """Readings of V before each step; an advantage that is not logged is r + V(s') - V(s), as a truncated episode has earned 0."""
    ended = trajectory.end is End.TERMINATED
    found = []
    for step, (before, after) in zip(trajectory.steps, pairwise([*values, 0.0]), strict=True):
        advantage = step.target
        if advantage is None and before is not None and after is not None:
            advantage = (step.reward if ended else 0.0) + after - before
        found.append(StepReading((step.action,), () if before is None else (before,), (), before, advantage))
    return found
