"""The learners of `runs/compare.sh` side by side: success, gain over the common start, how far they went, what they cost.

    python benchmarks/compare.py out/compare/math-0 out/compare/math-1 ... > docs/results/compare-math.md

Success is the mean over the runs. The gain's first interval is over tasks (all runs' pairs pooled: what other tasks would give),
the second, from three runs on, over runs (Student's t: what other seeds would give).
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from seeds import T95  # beside this script

from agents import checkpoint
from agents.model import ActorCritic
from agents.prompt import Prompt
from algorithms.batch import collate, gather_decisions, row_mean
from algorithms.examples import encode_rows
from algorithms.minibatch import cut
from rollouts.stats import Difference, paired_difference, wilson
from rollouts.trajectory import Trajectory, read

MODELS = {
    "sft": "sft", "sft, further": "further/rejection", "rejection": "rejection", "dpo": "dpo", "step_dpo": "step_dpo", "kto": "kto",
    "dro": "dro", "dqo": "dqo", "dvo": "dvo", "oreo": "oreo",
}  # fmt: skip
"""Row -> folder of the checkpoint in a run. "sft, further" is rejection's training, on the demonstrations."""
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
    print(f"# All learners on one log: {env}\n")
    print(f"`runs/compare.sh --env {env}`, {len(runs)} runs, {platform.machine()}, torch {torch.__version__}\n")
    for folder in sorted({path.name for run in runs for path in (run / "compare").iterdir() if path.is_dir()}):
        split, temperature = folder.rsplit("-", 1)
        print(f"## {split}, {'greedy' if temperature == '0' else 'sampled'}\n")
        print("| learner | success | 95% interval | gain over sft, over tasks | over runs |\n|---|---|---|---|---|")
        start = [read(run / "compare" / folder / "sft.jsonl").trajectories for run in runs]
        for model, place in MODELS.items():
            logs = [run / "compare" / folder / f"{place.partition('/')[0]}.jsonl" for run in runs]
            if all(log.exists() for log in logs):
                print(success_row(model, [read(log).trajectories for log in logs], start))
        print()
    print("## What training did, and cost\n")
    print(f"On the first {PROBED} episodes of each run's log; means over runs.\n")
    print("| learner | steps | rows' tokens | seconds | KL to sft, nats a token | log(pi / sft) of solved | of failed |")
    print("|---|---|---|---|---|---|---|")
    for model, place in MODELS.items():
        if all(checkpoint.is_checkpoint(run / place) for run in runs):
            print(cost_row(model, place, runs))
    print(f"\n{logs_line(runs)}")


def success_row(model: str, found: list[list[Trajectory]], start: list[list[Trajectory]]) -> str:
    """A line of a table of success."""
    solved, played = (sum(count(e) for e in found) for count in (lambda e: sum(t.success for t in e), len))
    low, high = wilson(solved, played)
    cells = [model, f"{solved / played:.1%}", f"[{low:.1%}, {high:.1%}]", "", ""]
    if model != "sft":
        gains = [paired_difference(before, after) for before, after in zip(start, found, strict=True)]
        pooled = Difference.of(*(sum(getattr(gain, name) for gain in gains) for name in ("gained", "lost", "tasks")))
        cells[3] = f"{pooled.mean:+.1%} [{pooled.low:+.1%}, {pooled.high:+.1%}]"
        if len(gains) in T95 and len(gains) > 2:
            half = T95[len(gains)] * statistics.stdev(gain.mean for gain in gains) / math.sqrt(len(gains))
            cells[4] = f"[{pooled.mean - half:+.1%}, {pooled.mean + half:+.1%}]"
    return f"| {' | '.join(cells)} |"


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
    for part in cut(rows, 4096):
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
        sys.exit("usage: python benchmarks/compare.py RUN [RUN ...]")
    main([Path(folder) for folder in sys.argv[1:]])
