"""Rollout logs at scale: bytes, reading and writing speed, random access, and the memory that training on one takes.

    python -m benchmarks.logs --count 1000000 --folder /tmp/logs

Expert episodes of maths problems, a token id and a random log-probability for every token of the agent, half of them made failures;
the same episodes again and again under new keys, with log-probabilities drawn anew. Speeds are of lines in a file of --sample
episodes, each way --repeats times in an order drawn anew, in megabytes of JSON text a second of the processor: median, least and
most. Files come from the system's cache. Memory is by how much the peak of a process that has trained on WARM episodes rises when
it trains on a tenth of the log, or on all of it, for a few optimiser steps; and for a tenth with episodes and rows in memory.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from rich.progress import track

from agents import checkpoint, tiny
from agents.checkpoint import Base
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.scripted import ExpertAgent
from agents.tiny import TinyConfig
from algorithms import oreo, sft
from algorithms.examples import encode_rows
from algorithms.learner import Learner, Models
from algorithms.train import Start, texts_of, train_on_log
from algorithms.training import Training
from benchmarks.machine import machine
from rollouts.cli import run
from rollouts.episodes import collect, episode_keys
from rollouts.index import LogIndex
from rollouts.lines import lines, parts
from rollouts.progress import console
from rollouts.resolve import env_maker
from rollouts.trajectory import Header, LogWriter, Trajectory, decode_line, read, records

METHODS = {module.METHOD.name: module for module in (sft, oreo)}
HEADER = Header("MathReason-v0", "synthetic", env_args={"difficulty": 7, "split": "train"})
SIZE = TinyConfig(width=32, layers=1, heads=2, vocab=1024)
POOL, WARM, BATCH, STEPS = 2000, 1000, 64, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="episodes of the large log")
    parser.add_argument("--sample", type=int, default=20_000, help="episodes whose lines are read and written")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--learners", nargs="+", default=["sft", "oreo"], choices=METHODS)
    parser.add_argument("--folder", type=Path, required=True, help="for the logs; those that are there are taken as they are")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}\n")
    pool = played(folder, arguments.seed)
    sample = list(islice(synthetic(pool, arguments.seed), arguments.sample))
    speeds(folder, sample, arguments.repeats)
    for count in (WARM, arguments.count // 10, arguments.count):
        large(folder, pool, count, arguments.seed)
    access(folder / f"log-{arguments.count}", arguments.repeats)
    memory(folder, arguments.learners, arguments.count)


def played(folder: Path, seed: int) -> list[Trajectory]:
    """What the expert did on some problems, as ids of a tokenizer trained on it; the model and the tokenizer are stored."""
    make, found = env_maker(HEADER.env_id, HEADER.env_args), list[Trajectory]()
    collect(make, ExpertAgent(), episode_keys(make(), POOL, seed=seed), found.append, 64)
    tokenizer = tiny.train_tokenizer(texts_of(found), SIZE.vocab)
    model = tiny.build(tokenizer, SIZE, seed)
    shutil.rmtree(folder / "model", ignore_errors=True)
    checkpoint.save(folder / "model", ActorCritic(model), tokenizer, Base("tiny", checkpoint.fingerprint(model)))
    prompt = Prompt(tokenizer)
    found_ids = []
    for t in found:
        ids = [tuple(tokenizer.encode(step.action, add_special_tokens=False)) for step in t.steps]
        ids[-1] = (*ids[-1], prompt.closer)
        steps = (msgspec.structs.replace(step, tokens=own) for step, own in zip(t.steps, ids, strict=True))
        found_ids.append(msgspec.structs.replace(t, steps=tuple(steps)))
    return found_ids


def synthetic(pool: list[Trajectory], seed: int) -> Iterator[Trajectory]:
    """Episodes without end, each key once."""
    rng, number = np.random.default_rng(seed), 0
    while True:
        shown = pool[int(rng.integers(len(pool)))]
        lost, steps = number % 2, []
        for step in shown.steps:
            logps = -rng.exponential(0.5, len(step.tokens or ())).astype(np.float32)  # as a model's, single precision
            steps.append(msgspec.structs.replace(step, logps=tuple(logps.tolist()), reward=step.reward * (not lost)))
        task = f"{shown.task}-{number // 4:07d}"
        yield msgspec.structs.replace(
            shown, env_id=HEADER.env_id, task=task, seed=number % 4, steps=tuple(steps), agent=HEADER.agent
        )
        number += 1


def speeds(folder: Path, sample: list[Trajectory], repeats: int) -> None:
    """Print the sizes, and the table of reading and writing."""
    paths = {
        name: folder / f"sample{ending}" for name, ending in ((".jsonl", ".jsonl"), (".jsonl.zst", ".jsonl.zst"), ("shards", ""))
    }

    def write(path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        with LogWriter(path, HEADER) as log:
            for episode in sample:
                log.append(episode)

    for path in paths.values():
        write(path)
    texts = [line.text for line in islice(lines(paths[".jsonl"]), 1, None)]
    size = sum(map(len, texts))
    tokens = [sum(len(step.tokens or ()) for step in t.steps) for t in sample]
    steps = [len(t.steps) for t in sample]
    print(
        f"{len(sample):,} episodes, {statistics.mean(steps):.1f} steps and {statistics.mean(tokens):.0f} sampled tokens in the mean"
    )
    for name, path in paths.items():
        stored = sum(part.stat().st_size for part in parts(path))
        print(f"{name}: {stored / len(sample):,.0f} bytes an episode, {stored / size:.1%} of the text")
    decoder = msgspec.json.Decoder(Trajectory)
    ways: dict[str, Callable[[], object]] = {f"write {name}": lambda path=path: write(path) for name, path in paths.items()}
    ways |= {f"read {name}, every line checked": lambda path=path: drain(records(path)) for name, path in paths.items()}
    ways |= {f"lines of {name}, not decoded": lambda path=path: drain(lines(path)) for name, path in list(paths.items())[:2]}
    ways["bytes of .jsonl, as they are"] = lambda: paths[".jsonl"].read_bytes()
    ways["msgspec alone, lines in memory"] = lambda: drain(map(decoder.decode, texts))
    ways["decode and check, lines in memory"] = lambda: drain(decode_line(text, "") for text in texts)
    seconds = timed(ways, repeats)
    print("\n| | MB of text a second | seconds per 1,000,000 episodes |\n|---|---|---|")
    for name in ways:
        rates = [size / 1e6 / taken for taken in seconds[name]]
        print(f"| {name} | {spread(rates)} | {statistics.median(seconds[name]) / len(sample) * 1e6:,.0f} |")


def timed(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of the processor that each way takes, by turns."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in track(range(repeats), "speeds", console=console, transient=True, disable=not console.is_terminal):
        for name in random.sample(list(ways), len(ways)):
            began = time.process_time()
            ways[name]()
            seconds[name].append(time.process_time() - began)
    return seconds


def large(folder: Path, pool: list[Trajectory], count: int, seed: int) -> None:
    """Write the shards of a large log, unless they are there."""
    if (path := folder / f"log-{count}").exists():
        return
    episodes = track(
        islice(synthetic(pool, seed), count),
        f"{count:,} episodes",
        count,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with LogWriter(path, HEADER) as log:
        for episode in episodes:
            log.append(episode)


def access(path: Path, repeats: int) -> None:
    """Print how fast the index is made, opened and read from."""
    for file in parts(path):
        file.with_name(file.name + ".index").unlink(missing_ok=True)
    began = time.process_time()
    index = LogIndex(path)
    made = time.process_time() - began
    stored = sum(file.stat().st_size for file in parts(path))
    beside = sum(file.stat().st_size for file in path.glob("*.index"))
    print(f"\n{len(index):,} episodes in {len(parts(path))} shards, {stored / 1e9:.2f} GB")
    print(f"their indices, {beside / 1e6:.1f} MB, took {made:.0f} s")
    chosen = random.Random(0).sample(range(len(index)), min(200, len(index)))
    keys = [(episode.task, episode.seed) for episode in map(index.__getitem__, chosen)]
    ways: dict[str, Callable[[], object]] = {
        "open": lambda: LogIndex(path),
        "[i]": lambda: drain(map(index.__getitem__, chosen)),
        "find(task, seed)": lambda: drain(index.find(*key) for key in keys),
    }
    seconds = timed(ways, repeats)
    print(f"opening it: {spread([1000 * taken for taken in seconds.pop('open')])} ms")
    for name, taken in seconds.items():
        print(f"{name}: {spread([len(chosen) / x for x in taken])} episodes a second")
    began = time.process_time()
    drain(islice(records(path), 20_000))
    scan = (time.process_time() - began) / 20_000 * len(index) / 2
    print(f"a scan for one of them, half of the log in the mean: {scan:.0f} s")


def memory(folder: Path, learners: list[str], count: int) -> None:
    """Print what training takes, each in a process of its own."""
    print("\n| learner | episodes | rows | peak rises by, MB | bytes an episode | minutes |\n|---|---|---|---|---|---|")
    for learner in learners:
        for way, size in (("in memory", count // 10), ("stored", count // 10), ("stored", count)):
            code = f"from benchmarks.logs import *; print(risen({way!r}, {learner!r}, Path({str(folder)!r}), {size}))"
            began = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            if done.returncode:
                raise ValueError(f"{learner}, {size} episodes {way}: {done.stderr[-2000:]}")
            risen_by, minutes = int(done.stdout.split()[-1]), (time.perf_counter() - began) / 60
            print(f"| {learner} | {size:,} | {way} | {risen_by / 1e6:,.0f} | {risen_by / size:,.0f} | {minutes:.1f} |", flush=True)


def risen(way: str, learner: str, folder: Path, count: int) -> int:
    """By how many bytes the peak of this process rises when it trains on `count` episodes, after WARM."""
    module, start = METHODS[learner], Start(str(folder / "model"))
    peaks = []
    for size in (WARM, count):
        out = folder / f"trained-{learner}"
        for file in folder.glob(f"{out.name}*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        training = Training(tracker="none", batch=BATCH, epochs=STEPS * BATCH / size, lr=1e-3)
        if way == "stored":
            train_on_log(module.METHOD, module.Config(), training, folder / f"log-{size}", start, out, 0)
        else:
            log, policy = read(folder / f"log-{size}"), checkpoint.load_policy(folder / "model")
            rows = list(encode_rows(log.trajectories, Prompt(policy.tokenizer), training.max_length))
            Learner(module.METHOD, module.Config(), training, rows, Models(policy), out).run()
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return peaks[1] - peaks[0]


def drain(items: Iterable[object]) -> None:
    """Take all, keep none."""
    for _ in items:
        pass


def spread(numbers: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(numbers):,.0f} ({min(numbers):,.0f} to {max(numbers):,.0f})"


if __name__ == "__main__":
    run(main)
