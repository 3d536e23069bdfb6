"""What a token costs, in training and in sampling, against length, vocabulary, batch and processes.

    python -m benchmarks.scaling [--tables length vocabulary batch sampling context processes] [--rounds 3]

A Llama of 6 layers of 256 with random weights, on random tokens, in float32. One thing varies at a time; settings take
turns in an order drawn anew in each round, each after a step that is not counted. Training is OREO with the critic on the policy's
trunk, the reference asked anew, all weights trained, a half of each sequence the agent's, no two alike. Processes are of one thread
each and share the rows of a step (DDP); a single process of two threads stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agents import tiny
from agents.checkpoint import Base, Loaded
from agents.generate import Row, Sampler
from agents.model import ActorCritic
from agents.sampling import Sampling
from algorithms.job import leave
from benchmarks.machine import machine
from benchmarks.training import ours
from rollouts.cli import run

STEPS = 2
"""Optimiser steps that are counted."""

PASSES = 32
"""Tokens that each row of a sampler says."""


class Setting(NamedTuple):
    """Of one measurement."""

    length: int = 512
    """tokens of a sequence, or of a prompt"""
    batch: int = 8
    """sequences of a step, or rows sampled at once"""
    vocabulary: int = 8192


TRAINED = {
    "length": [Setting(length, 4096 // length) for length in (128, 256, 512, 1024, 2048)],
    "vocabulary": [Setting(vocabulary=size) for size in (1024, 8192, 32768, 131072)],
    "batch": [Setting(256, batch) for batch in (1, 4, 16, 64)],
}
SAMPLED = {
    "sampling": [Setting(128, batch) for batch in (1, 4, 16, 64, 256)],
    "context": [Setting(length, 32) for length in (64, 256, 1024, 2048)],
}
PROCESSES = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}


def random_model(vocabulary: int) -> Loaded:
    """The model, and a tokenizer that nothing is encoded by."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=256, intermediate_size=672, num_hidden_layers=6, num_attention_heads=8)
    config.max_position_embeddings, config.tie_word_embeddings = 4096, True
    return Loaded(LlamaForCausalLM(config), tiny.train_tokenizer(["none"]), Base("random", ""))


def train(setting: Setting) -> list[float]:
    """Microseconds a token of each step."""
    arguments = Namespace(**setting._asdict(), samples=1, steps=STEPS, rank=0, checkpointing=False)
    with tempfile.TemporaryDirectory() as folder:
        step = ours(arguments, random_model(setting.vocabulary), Path(folder))
        return [timed(step) * 1e6 / (setting.batch * setting.length) for _ in range(STEPS + 1)][1:]


def sample(setting: Setting) -> list[float]:
    """Microseconds a token, of all passes but the one that takes the prompts."""
    rng = np.random.default_rng(0)
    sampler = Sampler(ActorCritic(random_model(setting.vocabulary).lm), [], Sampling(max_new_tokens=PASSES + 1))
    for prompt in rng.integers(0, setting.vocabulary, (setting.batch, setting.length)).tolist():
        sampler.submit(Row(np.random.default_rng(0), tokens=prompt))
    sampler.step()
    return [timed(lambda: [sampler.step() for _ in range(PASSES)]) * 1e6 / (PASSES * setting.batch)]


def together(processes: int, threads: int) -> list[float]:
    """Microseconds a token, of as many processes as are asked for."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command, "-m", "benchmarks.scaling", "--single"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{processes} processes: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("[")))


def timed(work: Callable[[], Any]) -> float:
    """Its seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def single() -> None:
    """One of several processes: the first says what a step took."""
    found = train(Setting())
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(found), flush=True)
    leave()


def table(rounds: int, measured: dict[str, Callable[[], list[float]]]) -> None:
    """Print the costs of all settings, and how they stand to the first one's."""
    costs: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name in random.sample(list(measured), len(measured)):
            costs[name] += measured[name]()
    first = statistics.median(costs[next(iter(measured))])
    for name in measured:
        middle = statistics.median(costs[name])
        print(f"| {name} | {middle:.0f} ({min(costs[name]):.0f} to {max(costs[name]):.0f}) | {middle / first:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*TRAINED, *SAMPLED, "processes"]
    parser.add_argument("--tables", nargs="+", default=known, choices=known)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--single", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.single:
        single()
        return
    print(f"{machine()}, {torch.get_num_threads()} threads, float32")
    for name in arguments.tables:
        print(f"\n| {name} | microseconds a token, median (least to most) | times the first |\n|---|---|---|")
        if name == "processes":
            table(arguments.rounds, {what: lambda sizes=sizes: together(*sizes) for what, sizes in PROCESSES.items()})
            continue
        settings, measure = (TRAINED[name], train) if name in TRAINED else (SAMPLED[name], sample)
        named = {f"{s.batch} x {s.length} tokens, {s.vocabulary:,} in the vocabulary": s for s in settings}
        table(arguments.rounds, {what: lambda s=s, measure=measure: measure(s) for what, s in named.items()})


if __name__ == "__main__":
    run(main)
