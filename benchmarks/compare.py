"""The learners of `runs/compare.sh` side by side: success, and the gain over the common start on the same tasks.

    python benchmarks/compare.py out/compare/math-0 out/compare/math-1 ...

Success is the mean over the runs. The gain's first interval is over tasks (all runs' pairs pooled: what other tasks would give),
the second, from three runs on, over runs (Student's t: what other seeds would give).
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

from seeds import T95  # beside this script

from rollouts.stats import Difference, paired_difference
from rollouts.trajectory import Trajectory, read

MODELS = ("sft", "rejection", "dpo", "step_dpo", "kto", "dro", "dqo", "dvo", "oreo")


def main(runs: list[Path]) -> None:
    for folder in sorted({path.name for run in runs for path in (run / "compare").iterdir()}):
        split, temperature = folder.rsplit("-", 1)
        print(f"**{split}, {'greedy' if temperature == '0' else 'sampled'}**, {len(runs)} runs\n")
        print("| learner | success | gain over sft, over tasks | over runs | last KL or log-ratio |\n|---|---|---|---|---|")
        start = [read(run / "compare" / folder / "sft.jsonl").trajectories for run in runs]
        for model in MODELS:
            logs = [run / "compare" / folder / f"{model}.jsonl" for run in runs]
            if all(log.exists() for log in logs):
                print(row(model, [read(log).trajectories for log in logs], start, runs))
        print()


def row(model: str, found: list[list[Trajectory]], start: list[list[Trajectory]], runs: list[Path]) -> str:
    success = statistics.mean(sum(t.success for t in episodes) / len(episodes) for episodes in found)
    gains = [paired_difference(before, after) for before, after in zip(start, found, strict=True)]
    pooled = Difference.of(*(sum(getattr(gain, name) for gain in gains) for name in ("gained", "lost", "tasks")))
    over_runs = ""
    if len(gains) > 2 and len(gains) in T95:
        half = T95[len(gains)] * statistics.stdev(gain.mean for gain in gains) / math.sqrt(len(gains))
        over_runs = f"[{pooled.mean - half:+.1%}, {pooled.mean + half:+.1%}]"
    gain = "" if model == "sft" else f"{pooled.mean:+.1%} [{pooled.low:+.1%}, {pooled.high:+.1%}]"
    return f"| {model} | {success:.1%} | {gain} | {over_runs if model != 'sft' else ''} | {last_metric(model, runs)} |"


def last_metric(model: str, runs: list[Path]) -> str:
    """How far the policy went from the reference at the end of training, mean over the runs, as far as the learner says."""
    for name in ("kl", "log_ratio", "log_ratio/solved", "margin"):
        values = []
        for run in runs:
            file = run / f"{model}-metrics.jsonl"
            lines = file.read_text().splitlines() if file.exists() else []
            values += [json.loads(lines[-1])[name]] if lines and name in json.loads(lines[-1]) else []
        if values:
            return f"{name} {statistics.mean(values):.4f}"
    return ""


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python benchmarks/compare.py RUN [RUN ...]")
    main([Path(folder) for folder in sys.argv[1:]])
