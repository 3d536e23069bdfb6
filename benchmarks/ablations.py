"""The variants of `runs/ablations.sh`, each beside the default of its learner.

    python -m benchmarks.ablations out/compare/math-0 out/compare/math-1 ... > docs/results/ablations-math.md

Columns as in `benchmarks/compare.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.compare import against, read_runs, success_row, titled
from benchmarks.machine import machine

GROUPS = {
    "DQO: lambda": ("dqo", "dqo-lam-0.95", "dqo-lam-0.5", "dqo-lam-0.95-paper"),
    "DQO: weights by pi / mu": ("dqo", "dqo-no-weights", "dqo-policy-weight", "dqo-value-weight"),
    "OREO: what an action is": ("oreo", "oreo-step", "oreo-response"),
    "OREO: beta (0.03)": ("oreo-beta-0.01", "oreo", "oreo-beta-0.1", "oreo-beta-0.3"),
    "OREO: weight of the KL (0.01, exact)": ("oreo-kl-0", "oreo", "oreo-kl-0.1", "oreo-k3"),
    "Three times the episodes": ("oreo", "oreo-more", "oreo-more-dealt", "rejection", "rejection-more"),
    "OREO: rounds": ("oreo", "oreo-round-2", "oreo-round-3"),
    "DVO: beta (0.1)": ("dvo-beta-0.03", "dvo", "dvo-beta-0.3", "dvo-beta-1"),
    "DVO: what an action is": ("dvo", "dvo-response"),
}
"""Title -> variants, the default among them."""
SEARCHES = {
    "math": ("dvo-iterations-10", "dvo-iterations-20", "dvo", "dvo-iterations-80"),
    "alfworld": ("dvo", "dvo-iterations-10", "dvo-iterations-20"),
}
"""Environment -> variants by the iterations of a tree (by default 40 and 5)."""
MORE = ("oreo-more", "oreo-more-dealt")
"""True outcomes, and the same episodes with outcomes dealt at random."""


def main(runs: list[Path]) -> None:
    """Print a table for each group, with the splits side by side."""
    env = json.loads((runs[0] / "config.json").read_text())["env"]
    seeds = " ".join(run.name.rpartition("-")[2] for run in runs)
    print(f'# Ablations: {env}\n\n`runs/ablations.sh --env {env} --seeds "{seeds}"`, table made on {machine()}')
    print("\nThe first row of each table is the common start.")
    folders = sorted({path.name for run in runs for path in (run / "compare").iterdir() if path.is_dir()})
    for title, variants in (GROUPS | {"DVO: iterations of a tree": SEARCHES[env]}).items():
        print(f"\n## {title}\n\n| split | variant | success | 95% interval | gain over sft, over tasks | over runs |")
        print("|---|---|---|---|---|---|")
        for folder in folders:
            start = read_runs([run / "compare" / folder / "sft.jsonl" for run in runs])
            for variant in ("sft", *variants):
                found = read_runs([run / "compare" / folder / f"{variant}.jsonl" for run in runs])
                print(f"| {titled(folder)} {success_row(variant, found, start)}")
        if set(MORE) <= set(variants):
            for folder in folders:
                true, dealt = (read_runs([run / "compare" / folder / f"{variant}.jsonl" for run in runs]) for variant in MORE)
                print(f"\n{titled(folder)}: {against(*MORE, true, dealt)}")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m benchmarks.ablations RUN [RUN ...]")
    main([Path(folder) for folder in sys.argv[1:]])
