"""The tables of `runs/uneven.sh`: ALFWorld's official splits, all learners from one SFT model on its own episodes.

    python -m benchmarks.uneven out/compare/alfworld-0 out/compare/alfworld-1 ... > docs/results/uneven-alfworld.md

Intervals as in `benchmarks/compare.py`. A gain is marked * where both its intervals leave 0 on the same side.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare import against, cost_row, gain, interval, logs_line, read_runs, titled
from benchmarks.machine import machine
from rollouts import cli

LEARNERS = ("sft", "rejection", "dpo", "kto", "dro", "dqo", "step_dpo", "dvo", "oreo")
PLACES = {name: name for name in LEARNERS} | {"oreo-step": "step/oreo", "oreo-response": "response/oreo", "dealt": "dealt/oreo"}
"""Row -> folder of the checkpoint in a run; "dealt" is OREO on the same episodes with outcomes dealt at random."""
ROUNDS = {name: (name, f"{name}-round-2", f"{name}-round-3") for name in ("rejection", "dpo", "oreo")}
PAPER = {
    "valid_seen": {"sft": 62.9, "rejection": 79.3, "dpo": 64.3, "oreo": 80.7},
    "valid_unseen": {"sft": 67.2, "rejection": 68.7, "dpo": 69.4, "oreo": 79.1},
}
"""OREO's Table 2 (arXiv 2412.16145), MiniCPM-2B, greedy, in percent."""
PAPER_CURVE = (79.1, 82.1, 85.8, 90.3, 91.0)
"""Its Figure 4, unseen, K = 1..5, read off the picture."""
CURVES = {"oreo": "by OREO's own V", "likelihood": "by likelihood (no critic)"}


def main(runs: list[Path]) -> None:
    """Print the tables."""
    seeds = " ".join(run.name.rpartition("-")[2] for run in runs)
    print("# Learning from uneven logs: ALFWorld's official games\n")
    print(f'`runs/uneven.sh --seeds "{seeds}"`, table made on {machine()}\n')
    folders = [f"{split}-{temperature}" for temperature in (0, 1) for split in PAPER]
    for folder in folders:
        print(f"## {titled(folder)}\n\n| learner | success | 95% interval | each seed | gain over sft, over tasks | over runs |"
              " the paper's gain |\n|---|---|---|---|---|---|---|")  # fmt: skip
        found = {name: played(runs, folder, name) for name in PLACES}
        for name in PLACES:
            print(success_line(name, found[name], found["sft"], PAPER[folder[:-2]] if folder.endswith("-0") else {}))
        print(f"\n{against('oreo', 'dealt', found['oreo'], found['dealt'])}\n")
    print("## Rounds\n\nEach round plays the same tasks five times anew, and is held to the model that it starts from.\n")
    print("| split | learner | round 1 | 2 | 3 | 3 minus 1, over tasks | over runs |\n|---|---|---|---|---|---|---|")
    for folder in folders:
        for learner, labels in ROUNDS.items():
            found_each = [played(runs, folder, label) for label in labels]
            means = [f"{statistics.mean(success(found)):.1%}" for found in found_each]
            print(f"| {titled(folder)} | {' | '.join([learner, *means, *gain(found_each[-1], found_each[0])])} |")
    print("\n## The best of K actions\n")
    print("| split | chosen | K = 1 | 2 | 3 | 4 | 5 | tokens an episode at K = 5 |\n|---|---|---|---|---|---|---|---|")
    for split in PAPER:
        for label, how in CURVES.items():
            print(curve_line(split, label, how, runs))
    print(f"| valid_unseen | the paper, by OREO's V | {' | '.join(f'{x:.1f}%' for x in PAPER_CURVE)} | |")
    print("\n## What training did, and cost\n")
    print("| learner | steps | rows' tokens | seconds | KL to sft, nats a token | log(pi / sft) of solved | of failed |")
    print("|---|---|---|---|---|---|---|")
    for name, place in PLACES.items():
        print(cost_row(name, place, runs))
    print(f"\n{logs_line(runs)}")


def played(runs: Sequence[Path], folder: str, label: str) -> list[dict[str, bool]]:
    """Of each run, whether each task was solved."""
    return read_runs([run / "compare" / folder / f"{label}.jsonl" for run in runs])


def success(found: list[dict[str, bool]]) -> list[float]:
    """Of each task, its mean over the runs."""
    return [statistics.mean(run[task] for run in found) for task in found[0]]


def success_line(name: str, found: list[dict[str, bool]], start: list[dict[str, bool]], paper: dict[str, float]) -> str:
    """A row of success, beside the paper's gain."""
    by_task = success(found)
    gains = ("", "") if name == "sft" else gain(found, start)
    sure = len(found) > 2 and all(gains) and len({side for text in gains for side in signs(text)}) == 1
    seeds = " ".join(f"{statistics.mean(run.values()):.1%}" for run in found)
    theirs = f"{paper[name] - paper['sft']:+.1f}" if name in paper and name != "sft" else ""
    cells = [name, f"{statistics.mean(by_task):.1%}", interval(by_task), seeds, gains[0] + " *" * sure, gains[1], theirs]
    return f"| {' | '.join(cells)} |"


def signs(text: str) -> tuple[str, str]:
    """The signs of an interval's ends, as written: "+1.0% [-0.5%, +2.5%]" has - and +."""
    low, high = text[text.index("[") + 1 : -1].split(", ")
    return low[0], high[0]


def curve_line(split: str, label: str, how: str, runs: Sequence[Path]) -> str:
    """Success at each width, mean over runs."""
    files = [run / "compare" / f"{split}-{label}.json" for run in runs]
    if absent := [file for file in files if not file.exists()]:
        sys.exit(f"no {absent[0]}: the study is not finished; give its command again")
    points = [json.loads(file.read_text())["curve"] for file in files]
    means = [f"{statistics.mean(run[place]['success'] for run in points):.1%}" for place in range(len(points[0]))]
    tokens = statistics.mean(run[-1]["tokens"] for run in points)
    return f"| {split} | {how} | {' | '.join(means)} | {tokens:,.0f} |"


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m benchmarks.uneven RUN [RUN ...]")
    cli.run(lambda: main([Path(folder) for folder in sys.argv[1:]]))
