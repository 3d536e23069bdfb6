"""Success by how much a search may try: curves over its width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from agents.search import Votes
from rollouts.estimates import best_of_k, pass_at_k, vote_of_k
from rollouts.progress import console
from rollouts.scores import Estimate, sampled_tokens, spent_tokens
from rollouts.trajectory import Trajectory


@dataclass(frozen=True)
class Point:
    """A search at a budget: its success over tasks, and what it gains over the curve's first point on the same tasks."""

    search: str
    budget: int
    success: Estimate
    gain: Estimate
    tokens: float
    """sampled, mean an episode"""

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        gain = {f"gain_{name}": number for name, number in asdict(self.gain).items()}
        success = {"success": self.success.mean, "low": self.success.low, "high": self.success.high}
        return {"search": self.search, "budget": self.budget, "tokens": self.tokens} | success | gain


@dataclass
class Samples:
    """Whole responses to one task."""

    texts: list[str] = field(default_factory=list)
    solved: list[bool] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    """V at the end of each, where a critic judged them"""

    def add(self, trajectory: Trajectory) -> None:
        """Take an episode's response."""
        self.texts.append("".join(step.action for step in trajectory.steps))
        self.solved.append(trajectory.success)
        judged = trajectory.steps[0].info.get("search") if trajectory.steps else None
        if judged:
            self.values.append(float(judged["candidates"][0]["value"]))

    def success(self, search: str, k: int, answers: Sequence[int | None]) -> float:
        """Expected success with k of them; an episode that failed before its first step is in none."""
        if search == "pass":
            return pass_at_k(len(self.solved), sum(self.solved), k)
        if search == "best-response":
            return best_of_k(self.values, self.solved, k)
        return vote_of_k(answers, self.solved, k, self.values if search == "value-vote" else None)


def shared_curves(trajectories: Iterable[Trajectory], budgets: Sequence[int], votes: Votes | None) -> list[Point]:
    """What the same samples say of every budget: one that is solved (pass), the best by V, and votes.

    Exact over all sets of k of a task's samples (`rollouts.estimates`), so that a task's points are of the same samples.

    Raises:
        ValueError: a task has fewer samples than the largest budget.
    """
    tasks: dict[str, Samples] = {}
    tokens = episodes = 0
    for trajectory in trajectories:
        tasks.setdefault(trajectory.task, Samples()).add(trajectory)
        tokens, episodes = tokens + sampled_tokens(trajectory), episodes + 1
    fewest = min((len(own.solved) for own in tasks.values()), default=0)
    if fewest < max(budgets):
        raise ValueError(f"a budget of {max(budgets)} needs as many samples of each task, and one has {fewest}")
    judged = all(len(own.values) == len(own.solved) for own in tasks.values())
    searches = ["pass", *["best-response"] * judged, *["vote"] * bool(votes), *["value-vote"] * bool(judged and votes)]
    answers = {task: votes(task, own.texts) if votes else [] for task, own in tasks.items()}
    mean = tokens / episodes
    found = []
    for search in searches:
        rates = {k: [own.success(search, k, answers[task]) for task, own in tasks.items()] for k in budgets}
        found += _points(search, rates, {k: k * mean for k in budgets})
    return found


def played_curve(search: str, played: dict[int, Iterable[Trajectory]]) -> list[Point]:
    """The points of a search that was played anew at each budget, on the same tasks."""
    rates: dict[int, list[float]] = {}
    tokens: dict[int, float] = {}
    for budget, trajectories in played.items():
        by_task: dict[str, list[bool]] = {}
        spent = []
        for trajectory in trajectories:
            by_task.setdefault(trajectory.task, []).append(trajectory.success)
            spent.append(spent_tokens(trajectory))
        rates[budget] = [float(np.mean(by_task[task])) for task in sorted(by_task)]
        tokens[budget] = float(np.mean(spent))
    return _points(search, rates, tokens)


def _points(search: str, rates: dict[int, list[float]], tokens: dict[int, float]) -> list[Point]:
    """`rates`: each task's success, by budget, the tasks in one order."""
    first = rates[min(rates)]
    return [
        Point(
            search,
            budget,
            Estimate.over(own),
            Estimate.over([x - y for x, y in zip(own, first, strict=True)]),
            tokens[budget],
        )
        for budget, own in sorted(rates.items())
    ]


def print_curves(points: Sequence[Point], title: str) -> None:
    """A line for each search and budget, percentages with 95% intervals."""
    last = max(point.budget for point in points)
    table = Table("search", "budget", "success, %", "gain over the first", "tokens", title=title, caption="tokens: of an episode")
    for point in points:
        success, gain = point.success, point.gain
        table.add_row(
            point.search,
            str(point.budget),
            f"{100 * success.mean:.1f} [{100 * success.low:.1f}, {100 * success.high:.1f}]",
            f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]",
            f"{point.tokens:.0f}",
            end_section=point.budget == last,
        )
    console.print(table)
