"""Padded against packed rows: tokens computed and seconds of a training step's forward and backward passes, on a finished run.

    python -m benchmarks.packing out/oreo-math-0 [--learners oreo dpo] [--by-task 1 4] [--steps 10]

Both take turns on the same micro-batches, in an order drawn anew at each step; the first step is not counted. Seconds are of the
processor, so that other processes on the machine cost less than they would.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import defaultdict
from pathlib import Path

from agents import checkpoint
from agents.model import ActorCritic
from agents.prompt import Prompt
from algorithms import dpo, dqo, dvo, kto, oreo, sft, step_dpo
from algorithms.batch import Row, collate
from algorithms.examples import encode_rows
from algorithms.method import Method
from algorithms.minibatch import Draws, compute_outputs, families, join
from algorithms.presets import TRAINING
from rollouts.cli import run
from rollouts.encode import cut_by_length
from rollouts.trajectory import read

METHODS = {module.METHOD.name: module.METHOD for module in (sft, oreo, dqo, dpo, kto, dvo, step_dpo)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--log", default="rollouts.jsonl", help="in the run; dvo and step_dpo want tree.jsonl")
    parser.add_argument("--learners", nargs="+", default=["oreo", "dpo"], choices=METHODS)
    parser.add_argument("--by-task", nargs="+", type=int, default=[1], help="rows (or pairs) of a task that are drawn together")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    start = checkpoint.load_policy(arguments.run / "sft")
    rows = list(encode_rows(read(arguments.run / arguments.log).trajectories, Prompt(start.tokenizer), 2048))
    print("| learner | of a task | rows | tokens of a step | seconds of a step, median (least to most) |\n|---|---|---|---|---|")
    for name in arguments.learners:
        method = METHODS[name]
        model = ActorCritic(start.lm, "separate" if method.value else None, method.reference).eval()
        for together in arguments.by_task:
            for packed, (tokens, seconds) in measure(model, method, rows, together, arguments.steps).items():
                spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
                print(f"| {name} | {together} | {'packed' if packed else 'padded'} | {tokens:,} | {spread} |")


def measure(model: ActorCritic, method: Method, rows: list[Row], together: int, steps: int) -> dict[bool, tuple[int, list[float]]]:
    """Padded and packed: mean tokens of a step, padding included, and the seconds of each."""
    config, training = method.config(), TRAINING["tiny"][method.name]
    chosen = method.rows(rows, config, random.Random(0))
    groups = [chosen[i : i + method.group] for i in range(0, len(chosen), method.group)]
    draws = Draws(families(groups, together), training.batch, 0)
    tokens: dict[bool, int] = {False: 0, True: 0}
    seconds: dict[bool, list[float]] = defaultdict(list)
    for step in range(steps + 1):
        drawn = [[groups[i] for i in family] for family in draws.step(step)]
        parts = cut_by_length(
            [rows for family in drawn for rows in join(family, training.micro_tokens)], training.micro_tokens, len
        )
        for packed in random.sample([False, True], 2):
            began, size = time.process_time(), 0
            for part in parts:
                batch = collate(part, method.level(config), packed=packed)
                outputs = compute_outputs(model, batch, method, config)
                outputs.reference_point = batch.reward.new_zeros(())  # of KTO: another pass, the same for both
                method.loss(outputs, batch, config)[0].backward()
                size += (batch.packing or batch).tokens.numel()
            if step:
                tokens[packed] += size
                seconds[packed].append(time.process_time() - began)
    return {packed: (tokens[packed] // steps, seconds[packed]) for packed in (False, True)}


if __name__ == "__main__":
    run(main)
