"""The learners of `runs/compare.sh` side by side: success, gain over the common start, how far they went, what they cost.

    python -m benchmarks.compare out/compare/math-0 out/compare/math-1 ... > docs/results/compare-math.md

All runs play the same tasks. Success and gain are means over tasks of what a task's mean over the runs is, with 95% intervals over
tasks (normal; what other tasks would give); the gain's second interval, from three runs on, is over runs (Student's t; what other
seeds would give).
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from agents import checkpoint
from agents.model import ActorCritic
from agents.prompt import Prompt
from algorithms.batch import collate, gather_decisions, row_mean
from algorithms.examples import encode_rows
from benchmarks.machine import machine
from rollouts import cli
from rollouts.encode import cut_by_length
from rollouts.trajectory import read

MODELS = {
    "sft": "sft", "sft, further": "further/rejection", "rejection": "rejection", "dpo": "dpo", "step_dpo": "step_dpo", "kto": "kto",
    "dro": "dro", "dqo": "dqo", "dvo": "dvo", "oreo": "oreo", "oreo, dealt": "dealt/oreo",
}  # fmt: skip
"""Row -> folder of the checkpoint in a run."""
CONTROLS = """\
Two rows are controls. "sft, further" is rejection's training (loss, rate, passes) on {further:,} demonstrations in place of the
samples. "oreo, dealt" is OREO on the same episodes with their outcomes dealt at random (`benchmarks/deal.py`): what noise alone
does."""
T95 = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""97.5% quantile of Student's t by number of runs."""
PROBED = 256
"""Episodes of a run's log on which every policy is compared with the start."""


class Distance(NamedTuple):
    """A policy against the SFT model on the same logged episodes."""

    kl: float
    """exact KL(pi || sft), nats a token, mean over the agent's tokens of an episode"""
    solved: float
    """mean log(pi / sft) of solved episodes"""
    failed: float
    """the same of failed ones"""


def main(runs: list[Path]) -> None:
    """Print the tables."""
    env = json.loads((runs[0] / "config.json").read_text())["env"]
    print(f"# The learners from one start: {env}\n")
    seeds = " ".join(run.name.rpartition("-")[2] for run in runs)
    print(f'`runs/compare.sh --env {env} --seeds "{seeds}"`, table made on {machine()}\n')
    print(f"{CONTROLS.format(further=len(read(runs[0] / 'further.jsonl').trajectories))}\n")
    for folder in sorted({path.name for run in runs for path in (run / "compare").iterdir() if path.is_dir()}):
        print(f"## {titled(folder)}\n")
        print("| learner | success | 95% interval | gain over sft, over tasks | over runs |\n|---|---|---|---|---|")
        found = {
            model: read_runs([run / "compare" / folder / f"{place.partition('/')[0]}.jsonl" for run in runs])
            for model, place in MODELS.items()
        }
        for model in MODELS:
            print(success_row(model, found[model], found["sft"]))
        print(f"\n{against('oreo', 'oreo, dealt', found['oreo'], found['oreo, dealt'])}\n")
    print("## What training did, and cost\n")
    print(f"On the first {PROBED} episodes of each run's log; means over runs.\n")
    print("| learner | steps | rows' tokens | seconds | KL to sft, nats a token | log(pi / sft) of solved | of failed |")
    print("|---|---|---|---|---|---|---|")
    for model, place in MODELS.items():
        print(cost_row(model, place, runs))
    print(f"\n{logs_line(runs)}")
    if all((run / "compare" / "compare.seconds").exists() for run in runs):
        minutes = [sum(map(int, (run / "compare" / "compare.seconds").read_text().split())) / 60 for run in runs]
        print(f"\nA run took {min(minutes):.0f} to {max(minutes):.0f} minutes, everything included.")


def titled(folder: str) -> str:
    """The name of a folder of played episodes, SPLIT-TEMPERATURE, in words."""
    split, temperature = folder.rsplit("-", 1)
    return f"{split}, {'greedy' if temperature == '0' else 'sampled'}"


def read_runs(logs: Sequence[Path]) -> list[dict[str, bool]]:
    """Of each run, whether each task was solved.

    Raises:
        SystemExit: a log is not there, or the runs played different tasks.
    """
    if absent := [log for log in logs if not log.exists()]:
        sys.exit(f"no {absent[0]}: the study is not finished; give its command again")
    found = [{t.task: t.success for t in read(log).trajectories} for log in logs]
    if len({frozenset(run) for run in found}) > 1:
        sys.exit(f"{logs[0]} and its like hold different tasks: the study is not finished; give its command again")
    return found


def success_row(model: str, found: list[dict[str, bool]], start: list[dict[str, bool]]) -> str:
    """A line of a table of success."""
    if found[0].keys() != start[0].keys():
        sys.exit(f"{model} has not played the tasks that its start has: the study is not finished; give its command again")
    success = [statistics.mean(run[task] for run in found) for task in start[0]]
    gains = ("", "") if model == "sft" else gain(found, start)
    return f"| {' | '.join([model, f'{statistics.mean(success):.1%}', interval(success), *gains])} |"


def gain(found: list[dict[str, bool]], start: list[dict[str, bool]]) -> tuple[str, str]:
    """Mean gain with its interval over tasks; the interval over runs, empty where there are too few."""
    gains = [{task: won - before[task] for task, won in run.items()} for run, before in zip(found, start, strict=True)]
    by_task = [statistics.mean(run[task] for run in gains) for task in start[0]]
    over_tasks = f"{statistics.mean(by_task):+.1%} {interval(by_task, '+')}"
    if len(gains) not in T95:
        return over_tasks, ""
    by_run = [statistics.mean(run.values()) for run in gains]
    mean, half = statistics.mean(by_run), T95[len(gains)] * statistics.stdev(by_run) / math.sqrt(len(by_run))
    return over_tasks, f"[{mean - half:+.1%}, {mean + half:+.1%}]"


def against(true: str, dealt: str, learnt: list[dict[str, bool]], noise: list[dict[str, bool]]) -> str:
    """What true outcomes are worth against dealt ones, of two rows by name."""
    over_tasks, over_runs = gain(learnt, noise)
    return f"True against dealt outcomes, {true} minus {dealt}: {over_tasks}{over_runs and f', over runs {over_runs}'}."


def interval(by_task: Sequence[float], sign: str = "") -> str:
    """95% of the mean over tasks, by its standard error."""
    mean, half = statistics.mean(by_task), 1.96 * statistics.stdev(by_task) / math.sqrt(len(by_task))
    return f"[{mean - half:{sign}.1%}, {mean + half:{sign}.1%}]"


def cost_row(model: str, place: str, runs: Sequence[Path]) -> str:
    """A line of the table of costs and distances."""
    lines = [[json.loads(line) for line in (run / f"{place}-metrics.jsonl").read_text().splitlines()] for run in runs]
    steps = statistics.mean(map(len, lines))
    tokens = statistics.mean(sum(m["tokens"] for m in run) for run in lines)
    seconds = statistics.mean(sum(m["tokens"] / m["tokens_per_second"] for m in run) for run in lines)
    cells = [model, f"{steps:.0f}", f"{tokens:,.0f}", f"{seconds:.0f}"]
    if model == "sft":
        return f"| {' | '.join([*cells, '0', '0', '0'])} |"
    found = [distance(run, place) for run in runs]
    means = [statistics.mean(getattr(d, name) for d in found) for name in Distance._fields]
    return f"| {' | '.join([*cells, f'{means[0]:.4f}', f'{means[1]:+.2f}', f'{means[2]:+.2f}'])} |"


def distance(run: Path, place: str) -> Distance:
    """How far a run's policy went from its start, on its log."""
    sft, policy = (checkpoint.load_policy(run / name) for name in ("sft", place))
    both = ActorCritic(policy.lm, reference=sft.lm).eval()
    episodes = read(run / "rollouts.jsonl").trajectories[:PROBED]
    rows = [[row] for row in encode_rows(episodes, Prompt(sft.tokenizer), 2048)]
    kl, ratio, solved = [], [], []
    for part in cut_by_length(rows, 4096, len):
        batch = collate(part, "response")
        with torch.no_grad():
            scores = both(batch.tokens, batch.decision >= 0, batch.start, reference=True, kl=True)
        kl.append(row_mean(scores.kl, batch))
        ratio.append(gather_decisions(scores.logp - scores.ref_logp, batch)[:, 0])
        solved.append(torch.tensor([row.solved for row in part]))
    won, change = torch.cat(solved), torch.cat(ratio)
    return Distance(torch.cat(kl).mean().item(), change[won].mean().item(), change[~won].mean().item())


def logs_line(runs: Sequence[Path]) -> str:
    """What the logs of the runs cost, on average."""
    parts = []
    rollouts = [read(run / "rollouts.jsonl").trajectories for run in runs]
    tokens = statistics.mean(sum(len(s.tokens or ()) for t in log for s in t.steps) for log in rollouts)
    solved = statistics.mean(sum(t.success for t in log) / len(log) for log in rollouts)
    parts.append(f"rollouts: {len(rollouts[0]):,} episodes a run, {solved:.1%} solved, {tokens:,.0f} sampled tokens")
    if all((run / "tree.trees.jsonl").exists() for run in runs):
        trees = [[json.loads(line) for line in (run / "tree.trees.jsonl").read_text().splitlines()] for run in runs]
        sampled = statistics.mean(sum(record["tokens"] for record in log) for log in trees)
        paths = statistics.mean(len(read(run / "tree.jsonl").trajectories) for run in runs)
        parts.append(f"trees (dvo, step_dpo): {len(trees[0]):,} a run, {paths:,.0f} paths, {sampled:,.0f} sampled tokens")
    return "Logs. " + "; ".join(parts) + "."


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m benchmarks.compare RUN [RUN ...]")
    cli.run(lambda: main([Path(folder) for folder in sys.argv[1:]]))
