"""Logged episodes on a terminal.

    python -m rollouts.replay RUN                               its newest log, with its critic's values
    python -m rollouts.replay LOG --critic RUN                  any log, with any critic
    python -m rollouts.replay LOG --verify                      play every episode again: is the log true?
    python -m rollouts.replay LOG --episode 17 | less           one episode as plain text

Every key is shown on the screen. Into a pipe, or with --plain, the list or one episode is printed as plain text.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import tyro

from agents.agent import Agent
from envs.hints import choose
from rollouts.cli import run
from rollouts.index import LogIndex
from rollouts.lines import is_log
from rollouts.progress import console
from rollouts.replay.facts import Filter, Order, Result, steps_range
from rollouts.replay.listing import Listing
from rollouts.replay.plain import episode, listed
from rollouts.replay.session import Heat, Session
from rollouts.replay.source import Source, newest_log, open_source, run_directory
from rollouts.replay.tries import Tries
from rollouts.replay.verify import verify_log


@dataclass(frozen=True)
class Args:
    """Look at logged episodes, check them, go on with them."""

    log_or_run: tyro.conf.Positional[str]
    """a log, or a run's folder: its newest evaluation or rollouts, and its critic"""
    critic: str | None = None
    """a checkpoint with a value head, whose V is shown (RUN/oreo, RUN/value); default: the run's own"""
    reference: str | None = None
    """the model that the critic's policy was trained from (RUN/sft): shows log(pi / ref) of each step, the implicit advantage"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    against: Path | None = None
    """another log, whose episodes of the same task are shown beside these"""
    agent: str | None = None
    """who goes on with a branch: expert, random, a run's folder, a checkpoint, a server's URL; default: the run"""
    agent_args: tuple[str, ...] = ()
    """arguments of a scripted agent or one on a server, as KEY=VALUE"""
    temperature: float | None = None
    """of that agent; default: 0, which is greedy, or with a search 1"""
    search: str = "none"
    """how that agent searches: best-action, best-response, vote, value-vote, beam or tree (see rollouts.evaluate)"""
    width: int = 4
    """of its search"""
    simulator: bool = False
    """let its search look ahead in a copy of the environment"""
    branches: Path = Path("branches.jsonl")
    """where branches are saved; another file beside it where that has the episode already"""
    verify: bool = False
    """play every episode again, say whether it gives what was logged, and exit with 1 where one does not"""
    plain: bool = False
    """print the list, or one episode, as plain text, as into a pipe"""
    episode: int | None = None
    """the episode of this number, from 0"""
    task: str | None = None
    """the episode of this task"""
    seed: int | None = None
    """with --task: the episode of this seed; default: the first one of the task"""
    result: Annotated[Result, tyro.conf.EnumChoicesFromValues] = Result.ALL
    """list all, won or lost episodes"""
    kind: str = ""
    """list one type of tasks"""
    steps: str = ""
    """list episodes with so many steps: 5, 5-, -9 or 5-9"""
    order: Annotated[Order, tyro.conf.EnumChoicesFromValues] = Order.LOG
    """list as in the log, longest first, or largest value drop first"""


def main(args: Args) -> int:
    """The command line; returns the exit status."""
    if args.verify:
        if args.episode is not None or args.task is not None or args.seed is not None:
            raise ValueError(
                "--verify plays every episode again: leave out --episode, --task and --seed (v in the console plays one)"
            )
        path = Path(args.log_or_run)
        return verify(path if is_log(path) else newest_log(run_directory(path)))
    source = open_source(args.log_or_run, args.critic, args.reference, args.base)
    against = LogIndex(args.against) if args.against else None
    session = Session(source, Listing(source), Tries(source, partial(make_agent, args, source), args.branches), against)
    least, most = steps_range(args.steps)
    kind = args.kind and choose("kind of task", args.kind, session.listing.facts.kinds)
    session.listing.choose(Filter(args.result, kind, least, most, args.order))
    number = _number(args, source)
    if number is not None:
        session.listing.find(str(number))
        session.enter()
    if args.plain or not (sys.stdin.isatty() and console.is_terminal) or console.is_dumb_terminal:
        _print(listed(session) if number is None else episode(session, shutil.get_terminal_size().columns))
        return 0
    session.heat = Heat.DIGITS if console.no_color or console.color_system is None else Heat.COLOUR
    from rollouts.replay.console import interact
    from rollouts.replay.terminal import Keyboard  # wants a terminal of POSIX

    with Keyboard() as keys:
        interact(session, keys, console)
    return 0


def verify(path: Path) -> int:
    """Play a log again and say what was found; 1 where it is not true."""
    found = verify_log(path, console)
    console.print(f"{path}: {found}", markup=False, highlight=False, soft_wrap=True)
    if found.diverged:
        console.print(f"the first that diverges: {found.diverged[0]}", markup=False, highlight=False, soft_wrap=True)
    return 1 if found.diverged else 0


def make_agent(args: Args, source: Source) -> Agent:
    """The agent that goes on with branches.

    Raises:
        FileNotFoundError, ValueError: there is none, or as `resolve_agent` and `searching_agent`.
    """
    name = args.agent or (str(source.run) if source.run else None)
    if name is None:
        raise ValueError("no agent to go on: start again with --agent RUN (or expert, random)")
    from agents.sampling import Sampling
    from rollouts.resolve import env_maker, parse_pairs, resolve_agent
    from rollouts.searching import Kind, SearchArgs, searching_agent

    sampling = Sampling(temperature=float(args.search != "none") if args.temperature is None else args.temperature)
    if args.search == "none":
        return resolve_agent(name, sampling, args.base, parse_pairs(args.agent_args, "--agent-args"))[0]
    header = source.log.headers[0]
    search = SearchArgs(search=choose("search", args.search, get_args(Kind)), width=args.width, simulator=args.simulator)
    return searching_agent(name, sampling, search, env_maker(header.env_id, header.env_args), args.base)[0]


def _number(args: Args, source: Source) -> int | None:
    """The episode that was asked for by number or by task. Raises ValueError where there is none."""
    if args.task is None:
        if args.seed is not None:
            raise ValueError(f"--seed {args.seed} is of the episode that --task names: give both, or --episode NUMBER")
        if args.episode is not None and not 0 <= args.episode < len(source.log):
            raise ValueError(f"--episode {args.episode}: {source.log.path} has episodes 0 to {len(source.log) - 1}")
        return args.episode
    for number, found in enumerate(source.log):
        if found.task == args.task and args.seed in (None, found.seed):
            return number
    seed = "" if args.seed is None else f" with seed {args.seed}"
    raise ValueError(f"{source.log.path} has no episode of task {args.task!r}{seed}: without --task, all are listed")


def _print(lines: Iterator[str]) -> None:
    """Print lines until there are no more, or whoever reads them has enough."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run(lambda: sys.exit(main(tyro.cli(Args))))
