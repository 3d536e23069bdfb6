"""How good a critic's V is along a log: calibration, ranks, and its advantages beside the policy's own.

    python -m rollouts.calibration held.jsonl --critic RUN/oreo RUN/value
    python -m rollouts.calibration held.jsonl --critic RUN/oreo --reference RUN/sft
    python -m rollouts.calibration credited.jsonl                                     # what rollouts.credit wrote into a log

V is taken for the chance that the episode is solved; give episodes of tasks that the critic was not trained on. Without --critic
the values and credits in the log are measured. docs/evaluation-offline.md says how to read the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import tyro
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from rollouts.behaviour import WINDOW
from rollouts.cli import run
from rollouts.json_file import write_json
from rollouts.progress import bar_columns, console
from rollouts.reading import Reader, StepReading, load_reader
from rollouts.resolve import short_names
from rollouts.stored import StoredLog, survey
from rollouts.trajectory import End, Trajectory
from rollouts.value_quality import Agreement, Measured, Quality, ReliabilityBin, Steps, agreement, quality, reliability_bins

MOST, FEW = 8, 0.01
"""Steps that have a row of their own, and the share of the episodes that must have them; what comes later shares one."""

LEAK = "AUC: within tasks, of all steps but an episode's last, whose r says how it ended"

PLOT = 35
"""Characters of the reliability diagram."""


@dataclass(frozen=True)
class Judged:
    """What is said of one critic; the places are names such as "step 1" and "0-20%"."""

    places: dict[str, Quality]
    reliability: dict[str, list[ReliabilityBin]]
    agreement: Agreement | None
    beta: float | None


def logged(trajectory: Trajectory) -> list[StepReading]:
    """The values and credits that a log has, as a critic would say them."""
    return [StepReading(value=step.value, advantage=step.target) for step in trajectory.steps]


def read_steps(log: StoredLog, reader: Reader | None, name: str, micro_tokens: int = 16384) -> tuple[Steps, int]:
    """What a reader, or without one the log itself, says of all steps of a log; and the number of tasks. Shows a bar.

    Left out are episodes that ended by an error, and steps without V.

    Raises:
        ValueError: no step has V, or as `Reader.read`.
    """
    with Progress(*bar_columns(escape(name), "episodes"), console=console) as bar:
        shown = bar.add_task(name, total=len(log.trajectories))
        read = bar.track(_readings(log, reader, micro_tokens), task_id=shown, total=len(log.trajectories))
        steps, tasks = Steps.along(read, reader and reader.beta)
        bar.update(shown, completed=len(log.trajectories))  # those that ended by an error are not read
    if not len(steps):
        raise ValueError(
            f"no step of the {len(log.trajectories)} episodes has V: "
            + ("give --critic, or a log of python -m rollouts.credit" if reader is None else "they are too long, or did nothing")
        )
    return steps, tasks


def _readings(log: StoredLog, reader: Reader | None, micro_tokens: int) -> Iterator[tuple[Trajectory, list[StepReading]]]:
    waiting = (episode for episode in log.trajectories if episode.end is not End.ERROR)
    while window := list(islice(waiting, WINDOW)):
        found = [logged(episode) for episode in window] if reader is None else reader.read(window, micro_tokens)
        yield from zip(window, found, strict=True)


def judge(steps: Steps, tasks: int, bins: int = 10, beta: float | None = None) -> Judged:
    """Measure V at the first step, at each step, and at each fifth of an episode, and the advantages."""
    counts = np.bincount(steps.index)
    rows = min(MOST, int((counts >= FEW * counts[0]).sum()))
    chosen = {"all steps": np.ones(len(steps), bool)}
    chosen |= {f"step {number + 1}": steps.index == number for number in range(rows)}
    chosen[f"step {rows + 1} on"] = steps.index >= rows
    fifth = (steps.position * 5).astype(int)
    chosen |= {f"{20 * number}-{20 * number + 20}%": fifth == number for number in range(5)}
    first = steps.at(steps.index == 0)
    return Judged(
        {name: quality(steps.at(here), tasks, bins) for name, here in chosen.items() if here.any()},
        {"step 1": reliability_bins(first, tasks, bins), "all steps": reliability_bins(steps, tasks, bins)},
        agreement(steps, tasks) if steps.implicit is not None else None,
        beta,
    )


def print_judged(found: Mapping[str, Judged]) -> None:
    """Print the tables of each critic, and where there are several first all of them beside each other."""
    if len(found) > 1:
        _print_qualities("of step 1", "critic", {name: each.places["step 1"] for name, each in found.items()})
        _print_qualities("of all steps", "critic", {name: each.places["all steps"] for name, each in found.items()})
    for name, each in found.items():
        _print_qualities(f"of {name}", "where", each.places)
        for where, bins in each.reliability.items():
            console.print(_diagram(f"{name}, {where}", bins))
        if each.agreement:
            console.print(_advantages(name, each.agreement, each.beta))


def _print_qualities(title: str, what: str, rows: Mapping[str, Quality]) -> None:
    table = Table(what, "steps", "V", "solved", "Brier [95% interval]", "const.", "ECE", title=f"calibration {escape(title)}")
    for name, q in rows.items():
        numbers = f"{q.mean:.3f}", f"{q.success:.3f}", _shown(q.brier), f"{q.constant:.3f}", f"{q.ece:.3f}"
        table.add_row(escape(name), str(q.steps), *numbers)
    console.print(table)
    ranks = Table(what, "AUC [95% interval]", "within tasks [95% interval]", title=f"ranks {escape(title)}")
    for name, q in rows.items():
        ranks.add_row(escape(name), _shown(q.auc), _shown(q.within))
    console.print(ranks)


def _shown(number: Measured) -> str:
    return str(number).replace("[", "\\[")


def _diagram(title: str, bins: list[ReliabilityBin]) -> Table:
    scale = f"0{'│ V, ● solved, ─ interval':^{PLOT - 2}}1"
    table = Table("V from", "to", "steps", "V", "solved", scale, title=f"reliability of {escape(title)}")
    for each in bins:
        solved = f"{each.true.value:.3f}"
        table.add_row(
            f"{each.bin.low:.1f}", f"{each.bin.high:.1f}", str(each.bin.count), f"{each.bin.predicted:.3f}", solved, drawn(each)
        )
    return table


def drawn(each: ReliabilityBin, width: int = PLOT) -> str:
    """A line from 0 to 1: the interval of what came true, its middle ●, and the prediction │ (◉ where they meet)."""
    line = [" "] * width
    places = [round(min(max(x, 0), 1) * (width - 1)) for x in (each.true.low, each.true.high, each.true.value, each.bin.predicted)]
    low, high, true, predicted = places
    line[low : high + 1] = "─" * (high + 1 - low)
    line[predicted] = "│"
    line[true] = "◉" if true == predicted else "●"
    return "".join(line)


def _advantages(name: str, found: Agreement, beta: float | None) -> Table:
    implicit = "log(pi / ref)" if beta is None else f"{beta:g} log(pi / ref)"
    table = Table("r + V' - V against " + implicit, "[95% interval]", title=f"advantages of {escape(name)}", caption=LEAK)
    rows = {
        "Pearson": found.pearson,
        "Spearman": found.spearman,
        "same sign": found.sign,
        "AUC of r + V' - V": found.explicit,
        f"AUC of {implicit}": found.implicit,
        "the latter minus the former": found.difference,
    }
    for label, number in rows.items():
        table.add_row(label, _shown(number))
    return table


@dataclass(frozen=True)
class Args:
    """Measure how good a critic's V is along a log."""

    log: tyro.conf.Positional[Path]
    """a log, best of tasks that the critics were not trained on"""
    critic: tuple[str, ...] = ()
    """checkpoints with a value head (RUN/oreo, RUN/value); default: the values in the log"""
    reference: str | None = None
    """the model that the critics' policies started from (RUN/sft): compares V's advantages with beta log(pi / ref)"""
    bins: int = 10
    """bins of V for the calibration error"""
    base: str | None = None
    """where the base model of LoRA checkpoints lies now"""
    micro_tokens: int = 16384
    """most tokens (padding included) of one forward pass"""
    json: Path | None = None
    """write everything here"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        if self.bins < 2:
            raise ValueError(f"--bins {self.bins}: wanted at least 2")
        if self.reference and not self.critic:
            raise ValueError("--reference is compared with a critic's policy: give --critic")


def main(args: Args) -> dict[str, Judged]:
    """The command line."""
    log = survey(args.log)
    if not len(log.trajectories):
        raise ValueError(f"{args.log} has no episode: collect some with python -m rollouts.collect")
    names = short_names(args.critic)
    found: dict[str, Judged] = {}
    for name, critic in zip(names or ["the log"], args.critic or [None], strict=True):
        reader = None if critic is None else load_reader(critic, args.base, args.reference)
        steps, tasks = read_steps(log, reader, name, args.micro_tokens)
        found[name] = judge(steps, tasks, args.bins, reader and reader.beta)
    print_judged(found)
    if args.json:
        write_json(args.json, {"log": str(args.log), "critics": {name: asdict(each) for name, each in found.items()}})
    return found


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
