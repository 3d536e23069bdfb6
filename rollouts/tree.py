"""Trees of steps: search each task, log solved and failed paths with values and credits (DVO).

    python -m rollouts.tree --env math --agent RUN/sft --tasks 100 --out tree.jsonl

Zhang et al. 2025 (arXiv 2502.13723), sections 4.4.1 and 5, and its code; the search itself is in `agents/mcts.py`. An agent is
asked for `--breadth` next steps of a state: a language model stops at the end of a step, of what any other agent writes only the
first step is used. An action of AlfWorld is a step. The path to a node is played again, or its snapshot restored where the
environment gives one. Many trees grow side by side, so that a model samples in batches. A path is an episode like any other, with
`Step.value` V(s), `Step.target` r + V(s') - V(s), and the visits of s' in `Step.info["tree_visits"]`.

Each tree has a line in tree.trees.jsonl beside the log (`rollouts/journal.py`): a stopped command goes on after the last of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import tyro
from rich.progress import Progress
from rich.table import Table

from agents.agent import Agent
from agents.mcts import Search
from agents.sampling import Sampling
from rollouts.cli import run
from rollouts.collect import EnvironmentArgs
from rollouts.episodes import episode_keys
from rollouts.grow import grow
from rollouts.journal import Journal, TreeRecord
from rollouts.process import check_agent
from rollouts.progress import bar_columns, console
from rollouts.resolve import env_maker, parse_pairs, resolve_agent
from rollouts.task_tree import Tree
from rollouts.trajectory import Header, LogWriter, Trajectory, read


@dataclass(frozen=True)
class Args(EnvironmentArgs):
    """Grow a tree of steps for each task, and log paths with values and credits."""

    agent: str = tyro.MISSING
    """a run's folder, a checkpoint, a GGUF file, a hub id, random or expert"""
    agent_args: tuple[str, ...] = ()
    """arguments of a scripted agent, as KEY=VALUE (see agents/scripted.py)"""
    out: Path = Path("tree.jsonl")
    """the log of the paths; an unfinished one is gone on with"""
    tasks: int | None = None
    """how many tasks; default: every task of the split"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    search: tyro.conf.OmitArgPrefixes[Search] = field(default_factory=Search)
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    parallel: int = 16
    """trees grown at once"""


def grow_log(
    env: str,
    env_args: dict[str, Any],
    agent: Agent,
    header: Header,
    out: Path,
    tasks: int | None = None,
    search: Search = Search(),
    parallel: int = 16,
) -> tuple[list[TreeRecord], list[Trajectory]]:
    """Grow the trees of `tasks` tasks into a log, going on with what is there; returns all asked for. Shows a progress bar.

    Raises:
        ValueError: a number that makes no sense, an agent or environment without steps to choose from, every tree ended by an
            error, or what `env_maker`, `LogWriter` and `Journal` raise.
    """
    for name, number in (("tasks", 1 if tasks is None else tasks), ("parallel", parallel)):
        if number < 1:
            raise ValueError(f"--{name} must be at least 1, got {number}")
    make = env_maker(env, env_args)
    first = make()
    env_id, keys = first.spec.id if first.spec else env, episode_keys(first, tasks, seed=search.seed)
    if getattr(first.unwrapped, "level", "step") == "response":
        raise ValueError(f"{env_id} takes whole responses, a tree needs steps: give --env-args level=step")
    first.close()
    check_agent(agent, make, search.breadth, "steps after a state")
    header = msgspec.structs.replace(header, env_id=env_id, env_args=env_args, search=asdict(search))
    with LogWriter(out, header) as log, Journal(log) as journal:
        done, wanted = {record.task for record in journal.records}, {key.task for key in keys}
        paths, failed = read(out).trajectories, list[Tree]()
        todo = [key for key in keys if key.task not in done]
        with _Progress(f"trees of {agent.name}", len(keys), [r for r in journal.records if r.task in wanted]) as progress:
            for tree in grow(make, agent, todo, search, parallel, progress.watch):
                if tree.error:
                    failed.append(tree)
                    continue
                found = tree.paths(agent, env_id)
                journal.append(tree.record(), found)
                paths += found
                progress.update(journal.records[-1])
        records = [record for record in journal.records if record.task in wanted]
    if failed:
        error = f"{failed[0].key.task}: {failed[0].error}"
        if not records:
            raise ValueError(f"every tree ended by an error; the first, {error}")
        console.print(f"{len(failed)} trees ended by an error and are not in the log; the first, {error}", markup=False)
    return records, [path for path in paths if path.task in wanted]


class _Progress:
    """A progress bar of trees: how many are done, the share of them with a solved path, the nodes of all."""

    def __init__(self, what: str, total: int, before: Sequence[TreeRecord]) -> None:
        self._bar = Progress(*bar_columns(what[:24], "{task.fields[solved]} solved, {task.fields[nodes]} nodes"), console=console)
        self._task = self._bar.add_task(what, total=total, completed=len(before), solved="-", nodes=0)
        self.trees, self.solved, self.nodes = len(before), sum(r.solved > 0 for r in before), sum(r.nodes for r in before)

    def watch(self, growing: Collection[Tree]) -> None:
        """Show the nodes of trees that grow still."""
        self._bar.update(self._task, nodes=self.nodes + sum(tree.nodes for tree in growing))

    def update(self, record: TreeRecord) -> None:
        """Count a tree that is done."""
        self.trees, self.solved, self.nodes = self.trees + 1, self.solved + (record.solved > 0), self.nodes + record.nodes
        self._bar.update(self._task, advance=1, solved=f"{self.solved / self.trees:.1%}")

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()


def tree_table(records: Sequence[TreeRecord], paths: Sequence[Trajectory], title: str = "") -> Table:
    """What the trees and the logged paths are like; means are over trees, and over the steps of paths."""
    count = max(len(records), 1)
    credits_ = [abs(step.target) for path in paths for step in path.steps if step.target is not None]
    solved, steps = sum(path.success for path in paths), sum(record.steps for record in records)
    table = Table(title=title, show_header=False)
    for name, value in (
        ("trees", f"{len(records)}, {sum(record.exhausted for record in records)} of them exhausted"),
        ("nodes a tree", f"{sum(record.nodes for record in records) / count:.1f}"),
        (
            "ends a tree",
            f"{sum(r.solved + r.failed for r in records) / count:.1f}, {sum(r.solved for r in records) / count:.1f} solved",
        ),
        ("of these by rollouts", f"{sum(record.rollouts for record in records) / count:.1f}"),
        ("trees with a solved path", f"{sum(r.solved > 0 for r in records) / count:.1%}"),
        ("trees with both outcomes", f"{sum(r.solved > 0 and r.failed > 0 for r in records) / count:.1%}"),
        ("mean V(root)", f"{sum(record.value for record in records) / count:.3f}"),
        ("paths logged", f"{len(paths)}, {solved} solved"),
        ("mean |credit|", f"{sum(credits_) / max(len(credits_), 1):.3f}"),
        ("sampled", f"{steps:,} steps, {sum(record.tokens for record in records):,} tokens"),
    ):
        table.add_row(name, value)
    return table


def main(args: Args) -> None:
    """The command line."""
    agent, header = resolve_agent(args.agent, args.sampling, args.base, parse_pairs(args.agent_args, "--agent-args"))
    records, paths = grow_log(args.env, args.environment(), agent, header, args.out, args.tasks, args.search, args.parallel)
    console.print(tree_table(records, paths, f"{args.out}"))


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
