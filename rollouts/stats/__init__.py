"""What is in a set of episodes: success with an interval, steps, ends.

`python -m rollouts.stats LOG` says what is in a log, before training on it (`rollouts/stats/__main__.py`).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from envs.alfworld.games import task_type
from rollouts.episodes import KINDS
from rollouts.keys import digest
from rollouts.progress import console
from rollouts.trajectory import End, Trajectory

Z95 = 1.959963984540054
"""97.5% quantile of the standard normal."""


def task_group(env_id: str, task: str) -> str:
    """The kind of a task: ALFWorld's type, or what stands before the number (`arithmetic-d2/train/000012`)."""
    return task_type(task) if env_id.startswith("AlfWorld") else task.rpartition("/")[0]


def kinds(trajectory: Trajectory) -> dict[str, str]:
    """What an episode can be summed up by: its kind of task, and the level and subject of a problem where they are known."""
    said = trajectory.steps[0].info if trajectory.steps else {}
    found = {"kind of task": task_group(trajectory.env_id, trajectory.task)}
    return found | {key: str(said[key]) for key in KINDS if key in said}


def wilson(solved: float, episodes: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a success rate (Wilson 1927), as fractions; (0, 1) where nothing was played."""
    if episodes == 0:
        return 0.0, 1.0
    rate, square = solved / episodes, z * z
    centre = rate + square / (2 * episodes)
    half = z * math.sqrt(rate * (1 - rate) / episodes + square / (4 * episodes**2))
    scale = 1 + square / episodes
    # The interval holds the rate itself; rounding must not push it out at 0 and 1.
    return max(0.0, min(rate, (centre - half) / scale)), min(1.0, max(rate, (centre + half) / scale))


@dataclass(frozen=True)
class Summary:
    """Success of a set of episodes with its 95% interval over tasks (fractions), and what the episodes were like."""

    success: float
    low: float
    high: float
    episodes: int
    solved: int
    mean_steps: float
    ends: dict[str, int]
    outcomes: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.success:.1%} [{self.low:.1%}, {self.high:.1%}] ({self.solved} of {self.episodes})"


def effective_episodes(played: np.ndarray, solved: np.ndarray) -> float:
    """How many episodes of different tasks would say as much of the success rate: Kish's effective sample size (1965).

    Samples of one task are more alike than others. It is p (1 - p) over the variance of the rate p by tasks: from about the number
    of tasks, where each ends in the same way whenever it is played, to the number of episodes, where tasks do not differ.

    Args:
        played, solved: the episodes of each task, int [tasks].
    """
    tasks, episodes = len(played), int(played.sum())
    if tasks in (1, episodes):
        return episodes
    rate = int(solved.sum()) / episodes
    spread = float(np.square(solved - rate * played).sum()) * tasks / (tasks - 1)
    if not 0 < rate < 1:
        return tasks
    return min(episodes, rate * (1 - rate) * episodes**2 / spread) if spread else episodes


class Tally:
    """Counts episodes one by one, and keeps none: of each, its task's digest and whether it was solved, in 8 bytes."""

    def __init__(self, trajectories: Iterable[Trajectory] = ()) -> None:
        self.steps = self.solved = 0
        self.ends: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.error = ""
        """the first episode that ended by an error, and the error"""
        self._played = array("Q")
        """63 bits of a task's digest, and one that says whether the episode was solved"""
        for trajectory in trajectories:
            self.add(trajectory)

    @property
    def episodes(self) -> int:
        """How many there are."""
        return len(self._played)

    def add(self, trajectory: Trajectory) -> None:
        """Count an episode; one that ended by an error or a limit is not solved."""
        self._played.append(digest(trajectory.task, 0) & ~1 | trajectory.success)
        self.steps += len(trajectory.steps)
        self.solved += trajectory.success
        self.ends[trajectory.end.value] += 1
        if trajectory.steps and "outcome" in trajectory.steps[-1].info:
            self.outcomes[str(trajectory.steps[-1].info["outcome"])] += 1
        if trajectory.end is End.ERROR and not self.error:
            self.error = f"{trajectory.task}: {trajectory.final}"

    def summary(self) -> Summary:
        """What they are like. The interval is Wilson's, of the effective episodes."""
        episodes, solved = self.episodes, self.solved
        effective = effective_episodes(*self.by_task())
        low, high = wilson(solved / max(episodes, 1) * effective, effective)
        return Summary(
            success=solved / max(episodes, 1),
            low=low,
            high=high,
            episodes=episodes,
            solved=solved,
            mean_steps=self.steps / max(episodes, 1),
            ends=dict(self.ends),
            outcomes=dict(self.outcomes),
        )

    def by_task(self) -> tuple[np.ndarray, np.ndarray]:
        """How many episodes of each task were played, and solved: int [tasks], float [tasks]."""
        digests = np.asarray(self._played, np.uint64)
        _, task, played = np.unique(digests >> np.uint64(1), return_inverse=True, return_counts=True)
        return played, np.bincount(task, (digests & np.uint64(1)).astype(float), len(played))


def print_summary(tally: Tally, title: str) -> Summary:
    """Print a table of one set of episodes, with the first error where episodes failed; returns the summary."""
    summary = tally.summary()
    table = Table("episodes", "success", "95% interval", "mean steps", "ends", title=title)
    ends = ", ".join(f"{count} {name}" for name, count in sorted((summary.outcomes or summary.ends).items()))
    table.add_row(
        str(summary.episodes),
        f"{summary.success:.1%}",
        f"{summary.low:.1%} - {summary.high:.1%}",
        f"{summary.mean_steps:.1f}",
        ends,
    )
    console.print(table)
    if tally.error:
        console.print(f"{tally.ends['error']} episodes ended by an error; the first, {tally.error}", markup=False)
    return summary


@dataclass(frozen=True)
class Difference:
    """Success of b minus success of a on the same tasks (fractions), with its 95% interval."""

    mean: float
    low: float
    high: float
    tasks: int
    gained: int
    lost: int

    @classmethod
    def of(cls, gained: int, lost: int, tasks: int) -> Difference:
        """From the counts of tasks that only b and only a solved.

        The interval is Agresti and Min's (2005): the normal one after half a task is added to each of the four cells, so that
        it keeps its width where few tasks differ.
        """
        total, difference = tasks + 2, gained - lost
        centre = difference / total
        half = Z95 * math.sqrt(gained + lost + 1 - difference**2 / total) / total
        return cls(difference / tasks, max(-1.0, centre - half), min(1.0, centre + half), tasks, gained, lost)

    def __str__(self) -> str:
        return f"{self.mean:+.1%} [{self.low:+.1%}, {self.high:+.1%}] ({self.gained} gained, {self.lost} lost of {self.tasks})"


def paired_difference(a: Sequence[Trajectory], b: Sequence[Trajectory]) -> Difference:
    """The paired difference of two agents by episode key (task, seed).

    Raises:
        ValueError: they have no episode in common.
    """
    first = {(t.task, t.seed): t.success for t in a}
    pairs = [(first[t.task, t.seed], t.success) for t in b if (t.task, t.seed) in first]
    if not pairs:
        raise ValueError("the two sets of episodes share no (task, seed): evaluate both on the same tasks with the same seed")
    return Difference.of(sum(y > x for x, y in pairs), sum(x > y for x, y in pairs), len(pairs))


def auc(scores: np.ndarray, positive: np.ndarray, groups: Sequence[str] | None = None) -> float:
    """The probability that a positive's score is above a negative's, ties half: area under the ROC curve.

    Args:
        scores: float [n].
        positive: bool [n].
        groups: n names; only a positive and a negative of the same name are compared, all such pairs alike.

    Returns NaN where there is no pair.
    """
    found: dict[str, tuple[list[float], list[float]]] = {}
    for score, good, name in zip(scores, positive, groups or [""] * len(scores), strict=True):
        found.setdefault(name, ([], []))[0 if good else 1].append(float(score))
    above = pairs = 0.0
    for high, low in found.values():
        lower = np.sort(low)
        below, not_above = np.searchsorted(lower, high, "left"), np.searchsorted(lower, high, "right")
        above += float((below + not_above).sum()) / 2
        pairs += len(high) * len(low)
    return above / pairs if pairs else math.nan
