"""Success of an agent on the tasks of a split, with its interval, and what it cost.

    python -m rollouts.evaluate RUN --env alfworld --split valid_unseen --log evaluation.jsonl
    python -m rollouts.evaluate RUN --env math --split test --search beam --width 5
    python -m rollouts.evaluate RUN --env math --split test --search best-response --curve 1 2 4 8 16
    python -m rollouts.evaluate RUN --env math --split test --decoding dqo

RUN is a run's folder, a checkpoint, a model, or the name of a scripted agent. Decoding is greedy unless a temperature is given, or
a search or several samples of a task want different ones: then it is 1. A run whose `config.json` has a rule to decide by
("decision": {"search": "best-action", "width": 4}) is played by that, but for what the command line says. A stopped evaluation
goes on from its `--log`.

A curve plays a search at several budgets. Responses are sampled once, as many of each task as the largest budget, and every
smaller one, the votes and pass@k are computed from the same samples; a search that depends on its budget from the first action on
(best-action, beam, tree) is played at each with the same random numbers.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import msgspec
import tyro

from agents.agent import Agent
from agents.sampling import Sampling
from rollouts.budgets import Point, played_curve, print_curves, shared_curves
from rollouts.cli import run
from rollouts.collect import EnvironmentArgs, collect_log
from rollouts.json_file import write_json
from rollouts.resolve import env_maker, parse_pairs, resolve_agent
from rollouts.runs import decision_rule
from rollouts.scores import Scores, print_scores
from rollouts.searching import SearchArgs, searching_agent
from rollouts.trajectory import Header, Trajectory

Paper = Literal["oreo", "dqo", "dvo"]

AIME_SEEDS = 30
"""DQO's results on AIME are means of so many samples."""

PAPERS: dict[Paper, dict[str, Any]] = {
    "oreo": {"temperature": 0.0},
    "dqo": {"temperature": 0.7, "top_p": 0.9, "top_k": 16, "seeds": 5},
    "dvo": {"temperature": 0.7, "seeds": 3},
}
"""How the papers decode (arXiv 2412.16145 section 4.1, 2410.09302 appendix A.2, 2502.13723 section 5.1)."""


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn, and how often a task is played."""

    decoding: Paper | None = None
    """as a paper does: oreo is greedy; dqo has temperature .7, top_p .9, top_k 16 and 5 seeds (30 on AIME); dvo temperature .7 and
    3 seeds. What is given beside it counts"""
    temperature: float | None = None
    """0 takes the most likely token; default: 0, or 1 where a search or several samples want different ones"""
    top_p: float | None = None
    """keep the smallest set of tokens with at least this probability (default 1)"""
    top_k: int | None = None
    """keep the k most likely tokens (default 0: all)"""
    max_new_tokens: int = 256
    """an action is cut off after this many tokens"""
    samples: int = 1
    """episodes of each task, for pass@k"""
    seeds: int | None = None
    """how many seeds (--seed and those after it) all of it is played with; default 1"""

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that make no sense."""
        for name, number in (("samples", self.samples), ("seeds", 1 if self.seeds is None else self.seeds)):
            if number < 1:
                raise ValueError(f"--{name} must be at least 1, got {number}")

    def seeds_on(self, env_args: dict[str, Any]) -> int:
        """How many seeds, by the problems that are played."""
        if self.seeds is not None or self.decoding is None:
            return self.seeds or 1
        aime = str(env_args.get("problems", "")).startswith("aime")
        return AIME_SEEDS if aime and self.decoding == "dqo" else PAPERS[self.decoding].get("seeds", 1)

    def sampling(self, several: bool, env_args: dict[str, Any]) -> Sampling:
        """How tokens are drawn; `several`: different samples are wanted.

        Raises:
            ValueError: they are wanted, and temperature 0 is asked for.
        """
        several = several or self.samples > 1 or self.seeds_on(env_args) > 1
        own = {name: x for name in ("temperature", "top_p", "top_k") if (x := getattr(self, name)) is not None}
        preset = {k: v for k, v in (PAPERS[self.decoding] if self.decoding else {}).items() if k != "seeds"}
        found = Sampling(**{"temperature": float(several), "max_new_tokens": self.max_new_tokens} | preset | own)
        if several and found.temperature == 0:
            raise ValueError(
                "at temperature 0 every sample of a task is the same, and several are wanted (--samples, --seeds, --search or "
                "--curve): leave --temperature and --decoding oreo out, or give --temperature 1"
            )
        return found


@dataclass(frozen=True)
class Args(EnvironmentArgs):
    """Evaluate an agent."""

    agent: tyro.conf.Positional[str] = "expert"
    """a run's folder, a checkpoint, a GGUF file, a hub id, or expert or random"""
    agent_args: tuple[str, ...] = ()
    """arguments of a scripted agent, as KEY=VALUE (see agents/scripted.py)"""
    episodes: int | None = None
    """how many tasks; default: every task of the split"""
    json: Path | None = None
    """write the results here (fractions); default: beside --log"""
    log: Path | None = None
    """keep the episodes here (an unfinished log is gone on with; a curve that plays each budget has a log for each)"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    decoding: tyro.conf.OmitArgPrefixes[Decoding] = field(default_factory=Decoding)
    search: tyro.conf.OmitArgPrefixes[SearchArgs] = field(default_factory=SearchArgs)
    curve: tuple[int, ...] = ()
    """budgets of a curve: samples (best-response, votes, and pass@k without --search), --width (best-action, beam) or
    --iterations (tree)"""
    parallel: int = 64
    """episodes played at once"""
    seed: int = 0
    """of tasks and samples"""

    def __post_init__(self) -> None:
        """Raises ValueError for a budget below 1."""
        if self.curve and min(self.curve) < 1:
            raise ValueError(f"--curve must be budgets of at least 1, got {min(self.curve)}")

    @property
    def title(self) -> str:
        """Who plays where."""
        return f"{self.agent} on {self.env}, {self.split or 'its default tasks (no --split)'}"


def evaluate(args: Args) -> Scores:
    """Play, print the tables, write the JSON."""
    with _log(args) as log:
        fresh = not log.exists()
        agent, header = _agent(args, args.search)
        started = time.perf_counter()
        scores = Scores.of(_played(args, agent, header, log))
        seconds = (time.perf_counter() - started) / max(scores.tally.episodes, 1) if fresh else None
    print_scores(scores, args.title, seconds)
    _write(args, header, scores.to_json() | {"seconds": seconds})
    return scores


def curves(args: Args) -> list[Point]:
    """Play a search at every budget of `args.curve`, print the table, write the JSON.

    Raises:
        ValueError: as `searching_agent`.
    """
    budgets, search = sorted(set(args.curve)), args.search
    with _log(args) as log:
        if search.search in ("best-action", "beam", "tree"):
            points, header = _played_curve(args, budgets, log)
        else:
            judged = search.search in ("best-response", "value-vote")
            once = replace(search, search="best-response", width=1) if judged else replace(search, search="none")
            sampled = replace(args, decoding=replace(args.decoding, samples=max(budgets)))
            agent, header = _agent(sampled, once)
            with closing(env_maker(args.env, args.environment())()) as env:
                votes = getattr(env.unwrapped, "votes", None)
            points = shared_curves(_played(sampled, agent, header, log), budgets, votes)
    print_curves(points, args.title)
    _write(args, header, {"curves": [point.to_json() for point in points]})
    return points


def _played_curve(args: Args, budgets: Sequence[int], log: Path) -> tuple[list[Point], Header]:
    played, header = {}, Header("", "")
    for budget in budgets:
        name = "iterations" if args.search.search == "tree" else "width"
        agent, header = _agent(args, replace(args.search, **{name: budget}))
        played[budget] = _played(args, agent, header, log.with_name(f"{log.stem}-{budget}{log.suffix}"))
    return played_curve(args.search.search, played), header


def _played(args: Args, agent: Agent, header: Header, log: Path) -> Iterator[Trajectory]:
    """Play what is not in the log yet, seed after seed; all episodes."""
    env_args, samples = args.environment(), args.decoding.samples
    seeds = range(args.seed, args.seed + args.decoding.seeds_on(env_args))
    episodes = None if args.episodes is None else args.episodes * samples
    found = [collect_log(args.env, env_args, agent, header, log, episodes, samples, seed, args.parallel) for seed in seeds]
    return chain.from_iterable(found)


def _agent(args: Args, search: SearchArgs) -> tuple[Agent, Header]:
    env_args, agent_args = args.environment(), parse_pairs(args.agent_args, "--agent-args")
    sampling = args.decoding.sampling(search.search != "none" or bool(args.curve), env_args)
    if search.search == "none":
        return resolve_agent(args.agent, sampling, args.base, agent_args)
    return searching_agent(args.agent, sampling, search, env_maker(args.env, env_args), args.base)


@contextmanager
def _log(args: Args) -> Iterator[Path]:
    """Where the episodes go, for good or until they are counted."""
    with tempfile.TemporaryDirectory() as scratch:
        yield args.log or Path(scratch, "evaluation.jsonl")


def _write(args: Args, header: Header, found: dict[str, Any]) -> None:
    """Write what was found, and what was asked for."""
    path = args.json or (args.log and args.log.with_name(args.log.name.split(".jsonl")[0] + ".json"))
    if not path:
        return
    asked = {
        "agent": args.agent,
        "agent_args": parse_pairs(args.agent_args, "--agent-args"),
        "env": args.env,
        "env_args": args.environment(),
        "seed": args.seed,
        "sampling": header.sampling,
        "model": header.model,
    }
    write_json(path, found | asked)


def main(args: Args) -> None:
    """The command line."""
    if args.curve:
        curves(args)
    else:
        evaluate(args)


def parse(command: Sequence[str] | None = None) -> Args:
    """The arguments of a command line (default: the process's), those left out by the run's own rule, where it has one.

    Raises:
        ValueError: the rule has a setting that there is not, or as `decision_rule`.
    """
    args = tyro.cli(Args, args=command)
    rule = decision_rule(args.agent)
    if not rule:
        return args
    where = Path(args.agent, "config.json")
    known = [each.name for of in (SearchArgs, Decoding) for each in fields(of)] + ["env_args"]
    if unknown := [name for name in rule if name not in known]:
        raise ValueError(f"{where} decides by {unknown[0]!r}, which is none of {', '.join(known)}")
    try:
        search, decoding = msgspec.convert(rule, SearchArgs), msgspec.convert(rule, Decoding)
        env_args = msgspec.convert(rule.get("env_args", ()), tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ValueError(f"{where} decides by {rule}: {error}") from error
    found = tyro.cli(Args, args=command, default=replace(args, search=search, decoding=decoding))
    return replace(found, env_args=(*env_args, *found.env_args))  # of two for one argument, the last counts


if __name__ == "__main__":
    run(lambda: main(parse()))
