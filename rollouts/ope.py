"""How often policies would succeed, from the episodes of another one: off-policy evaluation, to pick a checkpoint without playing.

    python -m rollouts.ope held.jsonl --policies RUN/sft RUN/oreo RUN/dqo

The log must carry the log-probabilities of what was sampled (`rollouts.collect` with a language model writes them); it is read once
by each policy. The estimators are those of `rollouts.off_policy` and the fitted Q evaluation of `rollouts.fitted`; intervals are
bootstraps over tasks, alike for all policies, so that differences are paired.

A policy that was trained on this log has seen how its episodes ended: all estimates flatter it. Give a log that it was not trained
on. docs/evaluation-offline.md has what that does, and how near the estimates came to what was then played.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from agents.sampling import Sampling
from rollouts.behaviour import WINDOW, Level, Played, episodes, read_played
from rollouts.cli import run
from rollouts.estimates import percentiles, redrawn
from rollouts.fitted import BLOCKS, FittedValue, Transitions, fit_value
from rollouts.json_file import write_json
from rollouts.keys import digest
from rollouts.likelihood import Likelihood, PolicyReader, load_policy_reader
from rollouts.off_policy import (
    Decisions,
    Sums,
    effective_size,
    largest_share,
    per_decision,
    whole,
)
from rollouts.progress import bar_columns, console
from rollouts.resolve import short_names

DRAWS, REFITS = 1000, 200
"""Bootstrap draws of tasks, and of blocks of tasks for which V is fitted anew."""

FEW = 0.02
"""Below this share of the episodes, the effective sample is said to be small."""


@dataclass(frozen=True)
class Estimate:
    """One estimator's mean return of one policy."""

    value: float
    drawn: np.ndarray
    """the same of tasks drawn anew, float [draws]; draw i has the same tasks whatever the policy"""

    def to_json(self) -> dict[str, float]:
        """The estimate with its 95% interval."""
        low, high = percentiles(self.drawn)
        return {"value": self.value, "low": low, "high": high}


@dataclass(frozen=True)
class Evaluated:
    """What the log says of one policy."""

    estimates: dict[str, Estimate]
    mean_weight: Estimate
    """of the episodes' weights; 1 is expected, and more of a policy that was trained on them"""
    effective: float
    """episodes of equal weight that would vary as little"""
    largest: float
    """the share of all weight that one episode has at most"""

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        sizes = {"mean_weight": self.mean_weight.to_json(), "effective": self.effective, "largest": self.largest}
        return sizes | {"estimates": {name: estimate.to_json() for name, estimate in self.estimates.items()}}


def evaluate(
    log: Path, played: Played, reader: PolicyReader, name: str, clip: float = math.inf, micro_tokens: int = 16384
) -> Evaluated:
    """Read a log by a policy and estimate its mean return from `played`, which is of that log. Shows bars.

    What needs a fitted V (FQE, DR, WDR) is left out, and said, where the fit does not settle.

    Raises:
        ValueError: as `PolicyReader.read`, or all episodes are of one task.
    """
    with tempfile.TemporaryFile() as file:
        ratios, critic, width = [], [], 0
        with Progress(*bar_columns(escape(name), "episodes"), console=console) as bar:
            task = bar.add_task(name, total=len(played))
            for index, found in enumerate(_read(log, reader, micro_tokens)):
                starts = played.starts[index]
                ratios.append(np.add.reduceat(found.logps - played.logps[index], starts))
                critic.append(found.value)
                file.write(found.states[starts].tobytes())
                width = found.states.shape[1]
                bar.update(task, advance=1)
        file.flush()
        states = np.memmap(file, np.float32, "r", shape=(sum(map(len, ratios)), width))
        fitted = _fitted(played, ratios, states, name)
    return _evaluated(played, ratios, fitted, None if critic[0] is None else np.array(critic, float), clip)


def _read(log: Path, reader: PolicyReader, micro_tokens: int) -> Iterator[Likelihood]:
    waiting = (episode for _, episode in episodes(log))
    while window := list(islice(waiting, WINDOW)):
        yield from reader.read(window, micro_tokens)


def _fitted(played: Played, ratios: list[np.ndarray], states: np.ndarray, name: str) -> FittedValue | None:
    counts = np.array([len(ratio) for ratio in ratios])
    data = Transitions(
        states=states,
        ratio=np.exp(np.concatenate(ratios)),
        reward=np.concatenate(played.rewards),
        first=np.cumsum(counts) - counts,
        block=np.array([digest(task, 0) % BLOCKS for task in played.tasks]),
    )
    with Progress(*bar_columns(f"fits {escape(name)}", "fits"), console=console, transient=True) as bar:
        task = bar.add_task("fits", total=min(BLOCKS, len(set(data.block))) + REFITS)
        try:
            return fit_value(data, REFITS, advance=lambda: bar.update(task, advance=1))
        except FloatingPointError as error:
            console.print(f"{name}: {error}; FQE, DR and WDR are left out", highlight=False, markup=False)
            return None


def _evaluated(
    played: Played, ratios: list[np.ndarray], fitted: FittedValue | None, critic: np.ndarray | None, clip: float
) -> Evaluated:
    tasks = played.numbers
    decisions = Decisions(_padded(ratios), _padded(played.rewards), tasks)
    plain, steps = whole(decisions, clip), per_decision(decisions, clip)
    statistics: dict[str, Callable[[np.ndarray], float]] = {"IS": plain.plain, "WIS": plain.normalised}
    if not played.rewarded_at_the_end:
        statistics["PDIS"] = steps.plain
    statistics["PDWIS"] = steps.normalised
    if fitted is not None:
        ends = np.cumsum([len(ratio) for ratio in ratios])[:-1]
        doubly = per_decision(decisions, clip, _padded(np.split(fitted.values, ends)))
        statistics |= {"DR": doubly.plain, "WDR": doubly.normalised}
    if critic is not None:
        statistics["V of its critic"] = Sums.of(np.zeros((len(tasks), 1)), critic[:, None], tasks).plain
    log_weight = decisions.log_weights(clip)[:, -1]
    statistics["weight"] = Sums.of(log_weight[:, None], np.ones((len(tasks), 1)), tasks).plain
    found = _drawn(statistics, len(plain.episodes))
    weight = found.pop("weight")
    return Evaluated(
        found | ({"FQE": Estimate(fitted.mean, fitted.draws)} if fitted else {}),
        weight,
        effective_size(log_weight),
        largest_share(log_weight),
    )


def _drawn(statistics: Mapping[str, Callable[[np.ndarray], float]], tasks: int) -> dict[str, Estimate]:
    drawn = np.array([[statistic(count) for statistic in statistics.values()] for count in redrawn(tasks, DRAWS)])
    values = [statistic(np.ones(tasks)) for statistic in statistics.values()]
    return {name: Estimate(value, drawn[:, i]) for i, (name, value) in enumerate(zip(statistics, values, strict=True))}


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    found = np.zeros((len(rows), max(map(len, rows))))
    for index, row in enumerate(rows):
        found[index, : len(row)] = row
    return found


def own_return(played: Played) -> Estimate:
    """The mean return of the log's own episodes."""
    earned = np.array([[reward.sum()] for reward in played.rewards])
    sums = Sums.of(np.zeros_like(earned), earned, played.numbers)
    return _drawn({"": sums.plain}, len(sums.episodes))[""]


def best(found: Mapping[str, Evaluated], estimator: str) -> tuple[str, float] | None:
    """The policy that an estimator likes best, and in what share of the draws; None where not every policy has it."""
    if any(estimator not in each.estimates for each in found.values()):
        return None
    names = list(found)
    first = max(names, key=lambda name: found[name].estimates[estimator].value)
    drawn = np.nan_to_num(np.array([found[name].estimates[estimator].drawn for name in names]), nan=-np.inf)
    return first, float((drawn.argmax(0) == names.index(first)).mean())


def print_evaluated(found: Mapping[str, Evaluated], own: Estimate, episodes: int) -> None:
    """Print the estimates with their differences from the first policy, and which policy each estimator picks."""
    console.print(f"the log's own mean return {_shown(own)}", highlight=False)
    first = next(iter(found))
    for name, each in found.items():
        against = [] if name == first else [f"minus {escape(first)} [95% interval]"]
        table = Table("estimator", "mean return [95% interval]", *against, title=escape(name), caption=_weights(each, episodes))
        for estimator, estimate in each.estimates.items():
            other = found[first].estimates.get(estimator)
            apart = _shown(Estimate(estimate.value - other.value, estimate.drawn - other.drawn), "+") if other else ""
            table.add_row(estimator, _shown(estimate), *([apart] if against else []))
        console.print(table)
    if len(found) > 1:
        picked = Table("estimator", "picks", "in draws", title="best policy")
        for estimator in found[first].estimates:
            if choice := best(found, estimator):
                picked.add_row(estimator, escape(choice[0]), f"{choice[1]:.0%}")
        console.print(picked)
    for name, each in found.items():
        if percentiles(each.mean_weight.drawn)[0] > 1:
            console.print(
                f"{escape(name)} finds these episodes likelier than chance allows: it was trained on them, or another model played "
                "them. What is said of it is too good",
                highlight=False,
            )
        if each.effective < FEW * episodes:
            console.print(
                f"{escape(name)} is far from the policy that played: its weights say as much as {each.effective:.0f} of {episodes} "
                "episodes, and FQE leans to the log's own return. Collect a log that is nearer to it",
                highlight=False,
            )


def _shown(estimate: Estimate, sign: str = "") -> str:
    low, high = percentiles(estimate.drawn)
    return f"{estimate.value:{sign}.3f} \\[{low:{sign}.3f}, {high:{sign}.3f}]"


def _weights(found: Evaluated, episodes: int) -> str:
    return (
        f"weights: mean {_shown(found.mean_weight)}; as much as {found.effective:.0f} of {episodes} episodes; "
        f"largest {found.largest:.1%}"
    )


@dataclass(frozen=True)
class Args:
    """Estimate the success of policies from a log of another one, without the environment."""

    log: tyro.conf.Positional[Path]
    """a log of sampled episodes, best of tasks that the policies were not trained on"""
    policies: tuple[str, ...]
    """runs' folders, checkpoints or models; differences are from the first"""
    behaviour: str | None = None
    """the model that sampled the log, read again by the log's sampler: needed where that was not temperature 1 without top_p and
    top_k"""
    level: Level = "step"
    """what a decision is for what is estimated decision by decision (PDIS, PDWIS, DR, WDR, FQE)"""
    temperature: float = 1.0
    """at which the policies are to be sampled"""
    clip: float = math.inf
    """largest weight; a bias towards the log's own return, for less variance"""
    base: str | None = None
    """where the base model of LoRA checkpoints lies now"""
    micro_tokens: int = 16384
    """most tokens (padding included) of one forward pass"""
    json: Path | None = None
    """write everything here"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        if not self.policies:
            raise ValueError("--policies names no policy: give at least one run's folder or checkpoint")
        if not self.clip > 0:
            raise ValueError(f"--clip {self.clip}: wanted a largest weight above 0")


def main(args: Args) -> dict[str, Evaluated]:
    """The command line."""
    behaviour = load_policy_reader(args.behaviour, args.base, critic=False) if args.behaviour else None
    played = read_played(args.log, args.level, behaviour)
    names = short_names(args.policies)
    sampling = Sampling(temperature=args.temperature)
    found: dict[str, Evaluated] = {}
    for name, policy in zip(names, args.policies, strict=True):
        reader = load_policy_reader(policy, args.base, sampling)
        found[name] = evaluate(args.log, played, reader, name, args.clip, args.micro_tokens)
    own = own_return(played)
    print_evaluated(found, own, len(played))
    if played.left_out:
        console.print(f"{played.left_out} episodes ended by an error or did nothing, and are left out")
    if played.rewarded_at_the_end:
        console.print("every reward is an episode's last: per-decision importance sampling (PDIS) is IS, and left out")
    if args.json:
        picks = {estimator: best(found, estimator) for estimator in next(iter(found.values())).estimates}
        write_json(
            args.json,
            {
                "log": str(args.log),
                "episodes": len(played),
                "tasks": len(set(played.tasks)),
                "level": args.level,
                "temperature": args.temperature,
                "clip": None if math.isinf(args.clip) else args.clip,
                "own": own.to_json(),
                "policies": {name: each.to_json() for name, each in found.items()},
                "best": {estimator: pick and {"policy": pick[0], "draws": pick[1]} for estimator, pick in picks.items()},
            },
        )
    return found


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
