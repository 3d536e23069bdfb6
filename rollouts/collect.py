"""Play episodes and log them.

    python -m rollouts.collect --env alfworld --agent expert --episodes 5 --out demos.jsonl
    python -m rollouts.collect --env alfworld --env-args form=react --agent expert --agent-args thoughts=true noise=0.1
    python -m rollouts.collect --env math --agent RUN/sft --episodes 500 --samples 5 --out rollouts.jsonl

An agent is `expert`, `random`, or whatever `agents.checkpoint` loads: a run's folder, a checkpoint, a GGUF file, a hub id; or
it lives on a server (`--agent http://localhost:8000/v1`, see agents/remote.py). Many episodes are played at once, so that a
language model samples in batches; a finished episode's place is taken by the next at once. A stopped collection goes on where
it was: episodes are keyed by (task, seed), and those in the log are not played again.

A log is an agent too: `--agent LOG` plays its episodes again, all of them by default. With other arguments of the environment
(such as another prompt) what is observed changes, and actions and token ids stay; their log-probabilities, which are of what was
observed then, are left out.

With `--dagger` the expert corrects an agent's moves (`--agent-args` are the expert's), and the log is of demonstrations:

    python -m rollouts.collect --env alfworld --agent RUN/sft --temperature 0 --dagger 0.5 --out corrected.jsonl
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import tyro

from agents.agent import Agent
from agents.dagger import DAggerAgent
from agents.sampling import Sampling
from agents.scripted import ReplayAgent
from rollouts.cli import run
from rollouts.episodes import Player, collect, episode_keys, logged_keys
from rollouts.keys import Keys
from rollouts.progress import EpisodeProgress
from rollouts.resolve import env_maker, parse_pairs, resolve_agent, scripted_agent
from rollouts.stats import Tally, print_summary
from rollouts.stored import survey
from rollouts.trajectory import End, Header, LogWriter, Trajectory, records


@dataclass(frozen=True)
class EnvironmentArgs:
    """Which environment."""

    env: str = "math"
    """alfworld, math, commonsense, or any Gymnasium id with text observations and actions"""
    env_args: tuple[str, ...] = ()
    """arguments of the environment, as KEY=VALUE"""
    games: str | None = None
    """AlfWorld: folder of games (short for --env-args games=DIR)"""
    split: str | None = None
    """which split to play (short for --env-args split=NAME)"""

    def environment(self) -> dict[str, Any]:
        """All arguments of the environment."""
        named = {"games": self.games, "split": self.split}
        return parse_pairs(self.env_args, "--env-args") | {k: v for k, v in named.items() if v is not None}


@dataclass(frozen=True)
class Args(EnvironmentArgs):
    """Play episodes and log them."""

    agent: str = "expert"
    """expert, random, a run's folder, a checkpoint, a GGUF file, a hub id, any of these behind "choices:" (it picks
    among what the environment lists), the URL of a server's API, or a log whose episodes are played again"""
    agent_args: tuple[str, ...] = ()
    """arguments of a scripted agent (see agents/scripted.py) or of one on a server (agents/remote.py), as KEY=VALUE"""
    dagger: float | None = None
    """the expert corrects the agent with this probability where it would make another move (see agents/dagger.py)"""
    out: Path = Path("rollouts.jsonl")
    """the log; an unfinished one is gone on with"""
    episodes: int | None = None
    """how many in all; default: every task of the split, or every episode of the log that is played again"""
    samples: int = 1
    """episodes per task"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    parallel: int = 64
    """episodes played at once"""
    workers: int = 0
    """processes for the environments, where they are slow; on a Ray cluster, workers with a model each (0: as many as fit)"""
    ray: str | None = None
    """play on a Ray cluster: "local" starts one here, "auto" joins the one of this machine, or an address"""
    seed: int = 0


@dataclass(frozen=True)
class Collected:
    """The episodes that were asked for: what they sum up to, and themselves, read from the log by each pass."""

    log: Path
    asked: Keys
    tally: Tally

    def __len__(self) -> int:
        return self.tally.episodes

    def __iter__(self) -> Iterator[Trajectory]:
        return (t for t in survey(self.log).trajectories if (t.task, t.seed) in self.asked)


def collect_log(
    env: str,
    env_args: dict[str, Any],
    agent: Agent,
    header: Header,
    out: Path,
    episodes: int | None = None,
    samples: int = 1,
    seed: int = 0,
    parallel: int = 64,
    player: Player = collect,
) -> Collected:
    """Collect into a log, going on with what is there; returns the episodes that were asked for. Shows a progress bar.

    What is in memory are the keys of the episodes, and what `Collected` holds.

    Raises:
        ValueError: a number that makes no sense, every episode ended by an error, or what `env_maker` and `LogWriter` raise.
    """
    for name, number in (("episodes", 1 if episodes is None else episodes), ("samples", samples), ("parallel", parallel)):
        if number < 1:
            raise ValueError(f"--{name} must be at least 1, got {number}")
    make = env_maker(env, env_args)
    first = make()
    env_id = first.spec.id if first.spec else env
    if isinstance(agent, ReplayAgent):
        keys = logged_keys(first, agent.episodes)[:episodes]
    else:
        keys = episode_keys(first, None if episodes is None else -(-episodes // samples), samples, seed)[:episodes]
    first.close()
    asked, tally = Keys((key.task, key.seed) for key in keys), Tally()
    with LogWriter(out, msgspec.structs.replace(header, env_id=env_id, env_args=env_args)) as log:
        for before in records(out):
            # One that ended by an error is played again.
            if isinstance(before, Trajectory) and before.end is not End.ERROR and (before.task, before.seed) in asked:
                tally.add(before)
        todo = [key for key in keys if (key.task, key.seed) not in log.written]
        with EpisodeProgress(f"{agent.name} in {env_id}", len(keys), tally.episodes, tally.solved) as progress:

            def sink(trajectory: Trajectory) -> None:
                log.append(trajectory)
                tally.add(trajectory)
                progress.update(trajectory)

            if todo:
                player(make, agent, todo, sink, parallel, env_id)
    if tally.ends[End.ERROR] == tally.episodes > 0:
        raise ValueError(f"every episode ended by an error; the first, {tally.error}")
    return Collected(out, asked, tally)


def player(args: Args) -> Player:
    """Who plays: this process, with environments in others, or a cluster. Raises ValueError for a number that makes no sense."""
    if args.workers < 0:
        raise ValueError(f"--workers must be at least 0, got {args.workers}")
    if args.ray:
        from rollouts.cluster import ray_player

        return ray_player(args)
    if args.workers:
        from rollouts.workers import hosted_player

        return hosted_player(args.workers)
    return collect


def acting(args: Args) -> tuple[Agent, Header]:
    """Who acts, and the header (without environment) of its log. Raises as `resolve_agent` and `DAggerAgent`."""
    given = parse_pairs(args.agent_args, "--agent-args")
    if args.dagger is None:
        return resolve_agent(args.agent, args.sampling, args.base, given)
    if args.ray:
        raise ValueError("--dagger plays in this process, not on a cluster: leave --ray out")
    student, _ = resolve_agent(args.agent, args.sampling, args.base)
    agent = DAggerAgent(student, scripted_agent("expert", given), args.dagger)
    return agent, Header("", agent.name, sampling=asdict(args.sampling))


def main(args: Args) -> None:
    """The command line."""
    agent, header = acting(args)
    found = collect_log(
        args.env,
        args.environment(),
        agent,
        header,
        args.out,
        args.episodes,
        args.samples,
        args.seed,
        args.parallel,
        player(args),
    )
    print_summary(found.tally, f"{args.out}")


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
