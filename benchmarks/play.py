"""Plays the models of a study's run on every split, greedily and sampled, in one process: a start costs more than a split does.

    python -m benchmarks.play out/compare/math-0 sft=sft further=further/rejection --env math --splits test --tasks 500 \\
        --max-new-tokens 128 --parallel 128 --seed 0

Episodes go to RUN/compare/SPLIT-TEMPERATURE/LABEL.jsonl; what is there is not played again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from rollouts.cli import run
from rollouts.evaluate import Args, Decoding, evaluate


@dataclass(frozen=True)
class Study:
    """Play the models of a run."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""
    models: tyro.conf.Positional[tuple[str, ...]]
    """LABEL=CHECKPOINT, the checkpoint's folder being in the run's"""
    env: str
    """alfworld, math, commonsense, or any Gymnasium id with text observations and actions"""
    splits: tuple[str, ...]
    """splits to play"""
    tasks: int
    """tasks of each split"""
    max_new_tokens: int
    """most tokens of an action"""
    parallel: int
    """episodes played at once"""
    seed: int
    """of tasks and samples"""


def play(study: Study) -> None:
    """Raises ValueError, LookupError or OSError for what cannot be played, before anything is."""
    models = dict(model.split("=", 1) for model in study.models if "=" in model)
    if len(models) != len(study.models):
        raise ValueError(f"got models {' '.join(study.models)}: wanted different ones, as LABEL=CHECKPOINT")
    if absent := [folder for folder in models.values() if not (study.run / folder).exists()]:
        raise FileNotFoundError(f"no checkpoint {study.run / absent[0]}")
    for split in study.splits:
        for temperature in (0, 1):
            for label, folder in models.items():
                args = Args(
                    env=study.env,
                    split=split,
                    agent=str(study.run / folder),
                    episodes=study.tasks,
                    decoding=Decoding(temperature=temperature, max_new_tokens=study.max_new_tokens),
                    parallel=study.parallel,
                    seed=study.seed,
                    log=study.run / "compare" / f"{split}-{temperature}" / f"{label}.jsonl",
                )
                evaluate(args)


if __name__ == "__main__":
    run(lambda: play(tyro.cli(Study)))
