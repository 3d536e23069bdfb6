"""Two agents on the same tasks: what one solves and the other does not.

    python -m rollouts.compare before.jsonl after.jsonl

Episodes are paired by task and seed. Where every task was played once, whether as many were gained as lost is tested exactly
(McNemar 1947); where there are several samples of a task they are not independent, and the interval is drawn from tasks
(a paired bootstrap). Beside each task that changed stands where the two episodes first differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.markup import escape
from rich.table import Table

from rollouts.cli import run
from rollouts.estimates import bootstrap, mcnemar
from rollouts.index import LogIndex
from rollouts.json_file import write_json
from rollouts.progress import console
from rollouts.stats import Difference, task_group
from rollouts.trajectory import Trajectory

SHOWN = 60
"""Characters of an action in a table."""


@dataclass(frozen=True)
class Divergence:
    """The first step at which two episodes of a task differ; None stands for an action where one has ended before."""

    task: str
    seed: int
    step: int
    """counted from 1"""
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Comparison:
    """Success of `after` minus success of `before` on the episodes that both have."""

    before: float
    after: float
    episodes: int
    tasks: int
    gained: list[Divergence]
    """what only `after` solved"""
    lost: list[Divergence]
    """what only `before` solved"""
    low: float
    high: float
    """the 95% interval of the difference"""
    p: float | None
    """McNemar's, exact; None where tasks were played several times"""
    groups: dict[str, tuple[int, int, int]]
    """by kind of task: episodes, gained, lost"""

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self) | {"difference": self.difference}


def compare(before: Path, after: Path) -> Comparison:
    """Compare the episodes that two logs share.

    Raises:
        LogError: as `rollouts.trajectory.read`.
        ValueError: they share no (task, seed).
    """
    gained: list[Divergence] = []
    lost: list[Divergence] = []
    differences: dict[str, list[int]] = {}
    solved, groups = np.zeros(2, int), dict[str, np.ndarray]()
    for one, two in _pairs(before, after):
        change = int(two.success) - int(one.success)
        solved += one.success, two.success
        differences.setdefault(one.task, []).append(change)
        groups.setdefault(task_group(one.env_id, one.task), np.zeros(3, int))[:] += 1, change > 0, change < 0
        if change:
            (gained if change > 0 else lost).append(_divergence(one, two))
    episodes = sum(map(len, differences.values()))
    if not episodes:
        raise ValueError(f"{before} and {after} share no (task, seed): let both agents play the same tasks with the same --seed")
    single = episodes == len(differences)
    if single:
        found = Difference.of(len(gained), len(lost), episodes)
        low, high = found.low, found.high
    else:
        low, high = bootstrap([float(np.mean(changes)) for changes in differences.values()])
    return Comparison(
        before=float(solved[0] / episodes),
        after=float(solved[1] / episodes),
        episodes=episodes,
        tasks=len(differences),
        gained=gained,
        lost=lost,
        low=low,
        high=high,
        p=mcnemar(len(gained), len(lost)) if single else None,
        groups={name: (int(counts[0]), int(counts[1]), int(counts[2])) for name, counts in sorted(groups.items())},
    )


def _pairs(before: Path, after: Path) -> Iterator[tuple[Trajectory, Trajectory]]:
    others = LogIndex(after)
    for one in LogIndex(before):
        two = others.find(one.task, one.seed)
        if two is not None:
            yield one, two


def _divergence(one: Trajectory, two: Trajectory) -> Divergence:
    """Two episodes of which one is solved differ somewhere, or the environment is another."""
    first, second = ([step.action for step in t.steps] for t in (one, two))
    place = next((i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), min(len(first), len(second)))
    before, after = (actions[place] if place < len(actions) else None for actions in (first, second))
    return Divergence(one.task, one.seed, place + 1, before, after)


def print_comparison(found: Comparison, names: tuple[str, str], shown: int = 10) -> None:
    """Print the difference, by kind of task where there are several, and the first tasks that changed."""
    table = Table("tasks", "episodes", names[0], names[1], "difference", "95% interval", "gained", "lost", "p", title="same tasks")
    table.add_row(
        str(found.tasks),
        str(found.episodes),
        f"{found.before:.1%}",
        f"{found.after:.1%}",
        f"{found.difference:+.1%}",
        f"{found.low:+.1%} - {found.high:+.1%}",
        str(len(found.gained)),
        str(len(found.lost)),
        "-" if found.p is None else f"{found.p:.2g}",
    )
    console.print(table)
    if len(found.groups) > 1:
        kinds = Table("kind of task", "episodes", "gained", "lost")
        for name, counts in found.groups.items():
            kinds.add_row(escape(name), *map(str, counts))
        console.print(kinds)
    for title, changed in (("gained", found.gained), ("lost", found.lost)):
        if changed and shown:
            first = Table(
                "task", "seed", "step", names[0], names[1], title=f"{title}: {min(shown, len(changed))} of {len(changed)}"
            )
            for each in changed[:shown]:
                first.add_row(escape(each.task), str(each.seed), str(each.step), _short(each.before), _short(each.after))
            console.print(first)


def _short(action: str | None) -> str:
    if action is None:
        return "(ended)"
    text = " ".join(action.split())
    return escape(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


@dataclass(frozen=True)
class Args:
    """Compare two logs of the same tasks."""

    before: tyro.conf.Positional[Path]
    """a log"""
    after: tyro.conf.Positional[Path]
    """another log of the same tasks and seeds"""
    show: int = 10
    """how many of the tasks that were gained, and that were lost, are shown with where the episodes first differ"""
    json: Path | None = None
    """write everything here"""


def main(args: Args) -> Comparison:
    """The command line."""
    found = compare(args.before, args.after)
    names = (args.before.stem, args.after.stem) if args.before.stem != args.after.stem else (str(args.before), str(args.after))
    print_comparison(found, names, args.show)
    if args.json:
        write_json(args.json, found.to_json())
    return found


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
