"""What an evaluation's episodes say: success by kind of task, pass@k, over seeds, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from envs.alfworld.rules import NOTHING
from rollouts.episodes import SAMPLES_LIMIT
from rollouts.estimates import bootstrap, pass_at_k
from rollouts.progress import console
from rollouts.stats import Summary, Tally, kinds, print_summary
from rollouts.trajectory import Trajectory


@dataclass(frozen=True)
class Estimate:
    """A mean over tasks (a fraction) with its 95% interval, tasks drawn anew."""

    mean: float
    low: float
    high: float

    @classmethod
    def over(cls, tasks: Iterable[float]) -> Estimate:
        """From what each task says."""
        found = list(tasks)
        low, high = bootstrap(found)
        return cls(float(np.mean(found)), low, high)

    def __str__(self) -> str:
        return f"{self.mean:.1%} [{self.low:.1%}, {self.high:.1%}]"


def sampled_tokens(trajectory: Trajectory) -> int:
    """The tokens of an episode's actions."""
    return sum(len(step.tokens or ()) for step in trajectory.steps)


def spent_tokens(trajectory: Trajectory) -> int:
    """The tokens that were sampled for an episode, what a search only tried among them."""
    searched = [step.info["search"]["tokens"] for step in trajectory.steps if "search" in step.info]
    return max(searched, default=sampled_tokens(trajectory))


@dataclass
class Scores:
    """Counts an evaluation's episodes one by one."""

    tally: Tally = field(default_factory=Tally)
    by_kind: dict[str, dict[str, Tally]] = field(default_factory=dict)
    by_seed: dict[int, Tally] = field(default_factory=dict)
    by_task: dict[str, list[int]] = field(default_factory=dict)
    """episodes, and solved ones, of each task"""
    tokens: int = 0
    """of the actions"""
    spent: int = 0
    """sampled, what searches only tried among them"""
    invalid: int = 0
    """actions that were not admissible"""

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory]) -> Scores:
        """Count all of them."""
        found = cls()
        for trajectory in trajectories:
            found.add(trajectory)
        return found

    def add(self, trajectory: Trajectory) -> None:
        """Count one episode."""
        self.tally.add(trajectory)
        for dimension, kind in kinds(trajectory).items():
            self.by_kind.setdefault(dimension, {}).setdefault(kind, Tally()).add(trajectory)
        self.by_seed.setdefault(trajectory.seed // SAMPLES_LIMIT, Tally()).add(trajectory)
        counts = self.by_task.setdefault(trajectory.task, [0, 0])
        counts[0] += 1
        counts[1] += trajectory.success
        self.tokens += sampled_tokens(trajectory)
        self.spent += spent_tokens(trajectory)
        answers = [step.observation for step in trajectory.steps[1:]] + [trajectory.final]
        self.invalid += sum(answer == NOTHING for answer in answers)

    @property
    def summary(self) -> Summary:
        """Success and ends of all of them."""
        return self.tally.summary()

    @property
    def seeds(self) -> tuple[float, float]:
        """The mean over seeds of the success, and its standard deviation from seed to seed (NaN for one)."""
        found = [tally.solved / tally.episodes for tally in self.by_seed.values()]
        return float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else math.nan

    def pass_at(self) -> dict[int, Estimate]:
        """pass@k for k = 1, 2, 4, ... and for as many as every task has; empty where a task has one episode only."""
        fewest = min((played for played, _ in self.by_task.values()), default=0)
        if fewest < 2:
            return {}
        powers = [2**i for i in range(fewest.bit_length()) if 2**i < fewest]
        counts = self.by_task.values()
        return {k: Estimate.over(pass_at_k(played, solved, k) for played, solved in counts) for k in (*powers, fewest)}

    def groups(self) -> dict[str, dict[str, Summary]]:
        """Success by kind of task, level and subject, where there are several."""
        return {
            dimension: {kind: tally.summary() for kind, tally in sorted(tallies.items(), key=_numbers_first)}
            for dimension, tallies in self.by_kind.items()
            if len(tallies) > 1
        }

    def to_json(self) -> dict[str, Any]:
        """A plain dict: the summary's fields, and the rest. Numbers of tokens are means an episode."""
        episodes, (mean, deviation) = max(self.tally.episodes, 1), self.seeds if self.by_seed else (0.0, math.nan)
        return self.summary.to_json() | {
            "tokens": self.tokens / episodes,
            "spent_tokens": self.spent / episodes,
            "invalid_actions": self.invalid / max(self.tally.steps, 1),
            "seeds": {"count": len(self.by_seed), "mean": mean, "deviation": None if math.isnan(deviation) else deviation},
            "pass_at": {str(k): asdict(found) for k, found in self.pass_at().items()},
            "groups": {name: {kind: found.to_json() for kind, found in some.items()} for name, some in self.groups().items()},
        }


def print_scores(scores: Scores, title: str, seconds: float | None = None) -> None:
    """Print success, what it cost, and success by kind of task, over seeds and samples where there are several.

    `seconds`: how long an episode took, where it was played now.
    """
    print_summary(scores.tally, title)
    episodes = max(scores.tally.episodes, 1)
    cost = Table("an episode", "steps", "tokens", "tokens sampled", "seconds", "not admissible")
    cost.add_row(
        "mean",
        f"{scores.tally.steps / episodes:.1f}",
        f"{scores.tokens / episodes:.1f}",
        f"{scores.spent / episodes:.1f}",
        "-" if seconds is None else f"{seconds:.3f}",
        f"{scores.invalid / max(scores.tally.steps, 1):.1%} of the actions",
    )
    console.print(cost)
    for dimension, some in scores.groups().items():
        table = Table(dimension, "episodes", "success", "95% interval", "mean steps")
        for kind, found in some.items():
            interval = f"{found.low:.1%} - {found.high:.1%}"
            table.add_row(escape(kind), str(found.episodes), f"{found.success:.1%}", interval, f"{found.mean_steps:.1f}")
        console.print(table)
    if len(scores.by_seed) > 1:
        mean, deviation = scores.seeds
        console.print(f"over {len(scores.by_seed)} seeds: {mean:.1%}, standard deviation {deviation:.1%}", highlight=False)
    if found := scores.pass_at():
        console.print("pass@k: " + ", ".join(f"{k}: {estimate}" for k, estimate in found.items()), highlight=False)


def _numbers_first(entry: tuple[str, Any]) -> tuple[float, str]:
    name = entry[0]
    return (float(name) if name.isdecimal() else math.inf), name
