"""Success of an agent on the tasks of a split, with its interval.

    python -m rollouts.evaluate RUN --env alfworld --split valid_unseen --json result.json

RUN is a run's folder, a checkpoint, a model, or the name of a scripted agent. Decoding is greedy unless a temperature is given.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from agents.draw import Sampling
from rollouts.cli import run
from rollouts.collect import EnvironmentArgs, collect_log
from rollouts.resolve import env_maker, parse_pairs, resolve_agent
from rollouts.searching import SearchArgs, searching_agent
from rollouts.stats import Summary, print_summary


@dataclass(frozen=True)
class Args(EnvironmentArgs):
    """Evaluate an agent."""

    agent: tyro.conf.Positional[str] = "expert"
    """a run's folder, a checkpoint, a GGUF file, a hub id, or expert or random"""
    agent_args: tuple[str, ...] = ()
    """arguments of a scripted agent, as KEY=VALUE (see agents/scripted.py)"""
    episodes: int | None = None
    """how many tasks, each once; default: every task of the split"""
    json: Path | None = None
    """write success, low, high (fractions) and episodes here"""
    log: Path | None = None
    """keep the episodes here (an unfinished log is gone on with)"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=lambda: Sampling(temperature=0))
    search: tyro.conf.OmitArgPrefixes[SearchArgs] = field(default_factory=SearchArgs)
    parallel: int = 64
    """episodes played at once"""
    seed: int = 0


def evaluate(args: Args) -> Summary:
    """Play, print the table, write the JSON; returns the summary."""
    agent_args = parse_pairs(args.agent_args, "--agent-args")
    if args.search.search == "none":
        agent, header = resolve_agent(args.agent, args.sampling, args.base, agent_args)
    else:
        make = env_maker(args.env, args.environment())
        agent, header = searching_agent(args.agent, args.sampling, args.search, make, args.base)
    with tempfile.TemporaryDirectory() as scratch:
        log = args.log or Path(scratch, "evaluation.jsonl")
        found = collect_log(args.env, args.environment(), agent, header, log, args.episodes, seed=args.seed, parallel=args.parallel)
    summary = print_summary(found.tally, f"{args.agent} on {args.env}, {args.split or 'its default tasks (no --split)'}")
    if args.json:
        write_json(
            args.json,
            summary.to_json()
            | {
                "agent": args.agent,
                "agent_args": agent_args,
                "env": args.env,
                "env_args": args.environment(),
                "seed": args.seed,
                "sampling": header.sampling,
            },
        )
    return summary


def write_json(path: Path, content: object) -> None:
    """Write JSON aside, then rename, so that the file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(aside, path)


if __name__ == "__main__":
    run(lambda: (evaluate(tyro.cli(Args)), None)[1])
