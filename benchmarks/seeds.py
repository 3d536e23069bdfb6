"""Several runs of the main job that differ in their seed -> one Markdown table with paired intervals.

    python -m benchmarks.seeds out/oreo-math-{0,1,2,3,4}

Two intervals of the last learner's gain over SFT: over tasks, pooling every seed's pairs (what another set of tasks would give),
and over seeds, Student's t with n - 1 degrees of freedom (what another run would give).
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

from rollouts.stats import Difference

T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""97.5% quantile of Student's t by number of runs."""


def main(folders: list[str]) -> None:
    results = [json.loads(Path(folder, "results.json").read_text()) for folder in folders]
    for split in results[0]["gains"]:
        print(f"**{split}**\n")
        table(split, results)
        print()


def table(split: str, results: list[dict]) -> None:
    models = [row["model"] for row in results[0]["rows"] if row["split"] == split]
    print("| seed | " + " | ".join(models) + " | gain, paired | gained / lost |")
    print("|---" * (3 + len(models)) + "|")
    for result in results:
        rates = {row["model"]: row["success"] for row in result["rows"] if row["split"] == split}
        gain = Difference.of(*(result["gains"][split][count] for count in ("gained", "lost", "tasks")))
        interval = f"{gain.mean:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]"
        cells = " | ".join(f"{rates[model]:.1%}" for model in models)
        print(f"| {result['seed']} | {cells} | {interval} | {gain.gained} / {gain.lost} |")
    gains = [result["gains"][split] for result in results]
    pooled = Difference.of(*(sum(gain[count] for gain in gains) for count in ("gained", "lost", "tasks")))
    print(f"\nMean gain {pooled.mean:+.1%}; over tasks ({pooled.tasks} pairs) [{pooled.low:+.1%}, {pooled.high:+.1%}]", end="")
    if len(gains) in T95:
        half = T95[len(gains)] * statistics.stdev(gain["mean"] for gain in gains) / math.sqrt(len(gains))
        print(f"; over {len(gains)} seeds [{pooled.mean - half:+.1%}, {pooled.mean + half:+.1%}]")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m benchmarks.seeds RUN [RUN ...]")
    main(sys.argv[1:])
