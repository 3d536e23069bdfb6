"""Whole collections by this project's sampler, by a padded loop over `transformers.generate`, by transformers' continuous batching.

    python -m benchmarks.sampling MODEL --env alfworld --episodes 64 --env-args max_steps=8
    python -m benchmarks.sampling MODEL --env math --episodes 160 --samples 10 --max-new-tokens 256

All play the same tasks, at temperature 1, all episodes at once. The loop encodes each history anew at every turn, padded on the
left, and goes on until the last row is done; continuous batching (`generate_batch`, called once a turn) encodes it anew too.
Neither gives log-probabilities, which this project's sampler does. They take turns, in an order drawn anew in each round, after two
episodes each to warm up.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig

from agents import checkpoint
from agents.agent import Action, Agent, Engine, History
from agents.checkpoint import Loaded
from agents.lm import LMAgent
from agents.prompt import Prompt
from agents.sampling import Sampling
from benchmarks.machine import machine
from rollouts.cli import run
from rollouts.collect import collect, episode_keys
from rollouts.policies import placed
from rollouts.resolve import env_maker, parse_pairs


class Padded(Agent):
    """All histories from their first token on in one batch, until the last one is done."""

    def __init__(self, loaded: Loaded, tokens: int) -> None:
        self.lm: Any = loaded.lm
        self.prompt = Prompt(loaded.tokenizer)
        pad = loaded.tokenizer.pad_token_id
        self.pad = self.prompt.closer if pad is None else int(pad)  # type: ignore[arg-type]
        self.settings = GenerationConfig(
            max_new_tokens=tokens,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            eos_token_id=self.prompt.closer,
            pad_token_id=self.pad,
        )

    def act(self, histories: Sequence[History]) -> list[Action]:
        rows = [[token for piece in self.prompt.pieces(history.turns) for token in piece.tokens] for history in histories]
        return [self.action(ids) for ids in self.sample(rows)]

    def sample(self, rows: list[list[int]]) -> list[list[int]]:
        longest = max(map(len, rows))
        ids = torch.tensor([[self.pad] * (longest - len(row)) + row for row in rows], device=self.lm.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.lm.device)
        return self.lm.generate(ids, attention_mask=mask, generation_config=self.settings)[:, longest:].tolist()

    def action(self, ids: list[int]) -> Action:
        closed = self.prompt.closer in ids
        said = ids[: ids.index(self.prompt.closer)] if closed else ids
        tokens = (*said, *([self.prompt.closer] if closed else []))
        return Action(str(self.prompt.tokenizer.decode(said)), tokens, closed=closed)


class Continuous(Padded):
    """The same by transformers' continuous batching."""

    def sample(self, rows: list[list[int]]) -> list[list[int]]:
        found = self.lm.generate_batch(inputs=rows, generation_config=self.settings)
        order = sorted(found, key=lambda name: int(name.rsplit("_", 1)[-1]))
        return [list(found[name].generated_tokens) for name in order]


class Clocked(Agent):
    """An agent, the seconds that it was at work (the others are the environments'), and the tokens that it said."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.seconds, self.tokens = agent, 0.0, 0

    def act(self, histories: Sequence[History]) -> list[Action]:
        return self.agent.act(histories)

    def cut(self, action: Action, pieces: Sequence[str]) -> list[Action]:
        return self.agent.cut(action, pieces)

    def engine(self) -> Engine:
        return ClockedEngine(self)


class ClockedEngine(Engine):
    """The clocked agent's engine."""

    def __init__(self, clock: Clocked) -> None:
        self.clock, self.engine = clock, clock.agent.engine()

    def add_request(self, history: History) -> None:
        with self.measured():
            self.engine.add_request(history)

    def step(self) -> list[tuple[History, Action]]:
        with self.measured():
            found = self.engine.step()
        self.clock.tokens += sum(len(action.tokens or ()) for _, action in found)
        return found

    @contextmanager
    def measured(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.clock.seconds += time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--env", default="alfworld")
    parser.add_argument("--env-args", nargs="*", default=[])
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=["ours", "padded", "continuous"])
    arguments = parser.parse_args()
    loaded = checkpoint.load_policy(arguments.model)
    model, tokens = placed(loaded.lm), arguments.max_new_tokens
    agents: dict[str, Callable[[], Agent]] = {
        "ours": lambda: LMAgent(model, loaded.tokenizer, Sampling(max_new_tokens=tokens)),
        "padded": lambda: Padded(loaded, tokens),
        "continuous": lambda: Continuous(loaded, tokens),
    }
    make = env_maker(arguments.env, parse_pairs(arguments.env_args, "--env-args"))
    env = make()
    tasks = -(-arguments.episodes // arguments.samples)
    speeds: dict[str, list[float]] = defaultdict(list)
    for name in arguments.engines:
        collect(make, agents[name](), episode_keys(env, 1, 2), lambda trajectory: None)
    for number in range(arguments.rounds):
        keys = episode_keys(env, tasks, arguments.samples, seed=number)[: arguments.episodes]  # the same tasks, sampled anew
        for name in random.sample(arguments.engines, len(arguments.engines)):
            agent = Clocked(agents[name]())
            began = time.perf_counter()
            collect(make, agent, keys, lambda trajectory: None, parallel=len(keys))
            seconds = time.perf_counter() - began
            speed, outside = agent.tokens / seconds, 1 - agent.seconds / seconds
            line = f"{seconds:.1f} s, {agent.tokens} tokens, {speed:.0f} a second, environments {outside:.1%}"
            print(f"round {number}: {name} {line}", flush=True)
            speeds[name].append(speed)
    print(f"\n{machine()}, {loaded.lm.dtype}, {torch.get_num_threads()} threads\n")
    print("| sampler | tokens a second, median (least to most) | times the padded loop |\n|---|---|---|")
    for name in arguments.engines:
        found, base = speeds[name], speeds.get("padded", [math.nan])
        middle, ratio = statistics.median(found), statistics.median(found) / statistics.median(base)
        print(f"| {name} | {middle:.0f} ({min(found):.0f} to {max(found):.0f}) | {ratio:.2f} |")


if __name__ == "__main__":
    run(main)
