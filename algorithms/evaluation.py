"""What the models of a run are evaluated on, and how their results are shown and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from algorithms.presets import Work
from algorithms.train import train_args
from rollouts.json_file import write_json
from rollouts.progress import console
from rollouts.resolve import env_maker
from rollouts.searching import SearchArgs
from rollouts.stats import Summary, Tally, paired_difference
from rollouts.trajectory import Trajectory


def evaluation_rows(env: str, work: Work) -> dict[str, tuple[dict[str, Any], float]]:
    """What is evaluated on, by the row's name: the environment's arguments and the temperature.

    Only a split whose tasks are none of training's is called held out: a file given as the problems is the same for every split.
    """
    training = train_args(work)
    splits = {split: training | {"split": split} for split in work.held_out}
    if splits:
        trained = set(_tasks(env, training))
        splits = {split: args for split, args in splits.items() if trained.isdisjoint(_tasks(env, args))}
    if not splits:
        console.print("no split is held out from training here: only training tasks are played")
    # Where training rooms have a held-out split of their own, that one says more than the training tasks.
    rows = {"train": (training, 0.0)} if len(splits) < 2 else {}
    named = {"held out" if len(splits) == 1 else split: args for split, args in splits.items()}
    rows |= {name: (args, 0.0) for name, args in named.items()}
    return rows | {f"{name}, sampled": (args, 1.0) for name, args in named.items()}


def search_rows(rows: Mapping[str, tuple[dict[str, Any], float]], search: SearchArgs) -> dict[str, dict[str, Any]]:
    """The sampled rows once more, with a search: the environment's arguments by the row's name."""
    if search.search == "none":
        return {}
    named = f"{search.search} of {search.width}"
    return {name.replace("sampled", named): args for name, (args, temperature) in rows.items() if temperature}


def _tasks(env: str, env_args: dict[str, Any]) -> Sequence[str]:
    with closing(env_maker(env, env_args)()) as made:
        return made.unwrapped.tasks  # type: ignore[attr-defined]  # every environment with splits lists its tasks


def evaluation_log(name: str, row: str) -> str:
    """Where in the run directory a model's episodes of a row are."""
    return f"evaluation/{name}-{row.replace(', ', '-').replace(' ', '-')}.jsonl"


def report(
    out: Path,
    title: str,
    about: dict[str, Any],
    played: Mapping[tuple[str, str], Sequence[Trajectory]],
    compared: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Show the results, and write them to results.json in the run directory `out`; returns what is written.

    Args:
        out, title: the run directory, and the title of the table.
        about: what results.json says of the run.
        played: episodes by (model, row), in the order of the table.
        compared: (before, after), two models whose difference on the same tasks is shown.
    """
    summaries = {key: Tally(trajectories).summary() for key, trajectories in played.items()}
    console.print(results_table(title, summaries))
    results = dict(about)
    results["rows"] = [{"model": name, "split": row} | found.to_json() for (name, row), found in summaries.items()]
    if compared:
        before, after = compared
        shared = [row for name, row in played if name == after and (before, row) in played]
        gains = {row: paired_difference(played[before, row], played[after, row]) for row in shared}
        for row, gain in gains.items():
            console.print(f"{after} minus {before} on the same tasks, {row}: {gain}")
        results["gains"] = {row: asdict(gain) for row, gain in gains.items()}
    write_json(out / "results.json", results)
    return results


def results_table(title: str, rows: Mapping[tuple[str, str], Summary]) -> Table:
    """A line for each (model, split)."""
    table = Table("split", "model", "success", "95% interval", "solved", "mean steps", title=title)
    for (name, split), row in rows.items():
        interval, solved = f"{row.low:.1%} - {row.high:.1%}", f"{row.solved} of {row.episodes}"
        table.add_row(split, name, f"{row.success:.1%}", interval, solved, f"{row.mean_steps:.1f}")
    return table
