"""KnowAgent's ALFWorld episodes, each played again and compared.

    python -m rollouts.convert knowagent FILE [FILE ...] --games DIR --out LOG

The episodes that KnowAgent (Zhu et al. 2024, arXiv 2403.03101) published, one JSON object a line with `name`
(task/trial), `result` (won) and `traj`, a transcript in the older wording: a line "> command" is what the agent did, "> Think:" and
"> ActionPath:" what it said to itself, the lines between are the environment's. Every episode is played again here: an observation
or an end that is not the transcript's is an error, so what is written is what happened.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import tyro

import envs
from rollouts.exchange.files import Count
from rollouts.progress import EpisodeProgress
from rollouts.stats import Tally, print_summary
from rollouts.trajectory import End, Header, LogWriter, Step, Trajectory

_THOUGHTS = ("Think:", "ActionPath:")
_ARRIVAL = re.compile(r"^You arrive at loc \d+\. ")
"""The older wording's first sentence after a move, which transcripts leave out."""


class Transcript(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a KnowAgent file."""

    name: str
    result: bool | int
    traj: str


@dataclass
class Turn:
    """What the agent said to itself, what it did, and what the environment answered."""

    thought: str
    command: str
    answer: str


def turns_of(transcript: str) -> tuple[str, list[Turn]]:
    """The first observation and the turns of a transcript."""
    first: list[str] = []
    turns: list[Turn] = []
    thoughts: list[str] = []
    for line in transcript.strip().split("\n"):
        if line.startswith("> ") and line[2:].startswith(_THOUGHTS):
            thoughts.append(line[2:])
        elif line.startswith("> "):
            turns.append(Turn("\n".join(thoughts), line[2:], ""))
            thoughts = []
        elif turns:
            turns[-1].answer = f"{turns[-1].answer}\n{line}".strip()
        else:
            first.append(line)
    return "\n".join(first), turns


def replay(transcript: Transcript, env: gym.Env[str, str], seed: int, agent: str) -> Trajectory:
    """Play a transcript again.

    Raises:
        ValueError: its task is not among the games, or the game answers or ends otherwise than the transcript.
    """
    first, turns = turns_of(transcript.traj)
    observation, info = env.reset(options={"task": transcript.name})
    _compare(transcript.name, "reset", "".join(observation.split("\n")), "".join(first.split("\n")))
    steps: list[Step] = []
    for turn in turns:
        seen = observation
        observation, reward, terminated, _, info = env.step(turn.command)
        _compare(transcript.name, turn.command, _ARRIVAL.sub("", observation), turn.answer)
        steps.append(
            Step(seen, turn.command, float(reward), info={"won": info["won"]} | ({"thought": turn.thought} if turn.thought else {}))
        )
        if terminated:
            break
    won = bool(info["won"])
    if won != bool(transcript.result) or len(steps) < len(turns):
        raise ValueError(
            f"{transcript.name}: the transcript says won={bool(transcript.result)}, the game won={won} at turn {len(steps)}"
        )
    end = End.TERMINATED if won else End.TRUNCATED
    return Trajectory("AlfWorld-v0", transcript.name, seed, tuple(steps), end, agent, final=observation)


def _compare(task: str, command: str, ours: str, theirs: str) -> None:
    if ours.strip() != theirs.strip():
        raise ValueError(f"{task}: {command!r} was answered by {theirs!r} in the transcript, here by {ours!r}")


def read_transcripts(path: Path) -> Iterator[Transcript]:
    """The episodes of a file, plain or gzipped.

    Raises:
        ValueError: a line that is no transcript, with file, line and field.
    """
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield msgspec.convert(json.loads(line), Transcript)
            except (ValueError, msgspec.ValidationError) as error:
                raise ValueError(f"{path}:{number}: {error}; wanted an object with name, result and traj") from error


@dataclass(frozen=True)
class KnowAgent:
    """KnowAgent's ALFWorld episodes."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """.jsonl or .jsonl.gz files"""
    games: str | None = None
    """folder or archive of the official games (default: $ALFWORLD_DATA)"""
    split: str = "train"
    """where the games are"""
    out: Path = Path("knowagent.jsonl")
    """the log"""
    agent: str = "knowagent"
    """the agent's name in the log"""


def convert(args: KnowAgent) -> Count:
    """Write the log, or go on with it. The second episode of a task has seed 1, and so on."""
    transcripts = [transcript for path in args.files for transcript in read_transcripts(path)]
    limit = max((len(turns_of(transcript.traj)[1]) for transcript in transcripts), default=1)
    env_args: dict[str, Any] = {"split": args.split, "wording": "put", "max_steps": max(limit, 40)}
    env = envs.make("alfworld", games=args.games, **env_args)
    seeds: Counter[str] = Counter()
    found: list[Trajectory] = []
    header = Header("AlfWorld-v0", args.agent, env_args)
    with LogWriter(args.out, header) as log, EpisodeProgress("played again", len(transcripts)) as progress:
        for transcript in transcripts:
            trajectory = replay(transcript, env, seeds[transcript.name], args.agent)
            seeds[transcript.name] += 1
            if (trajectory.task, trajectory.seed) not in log.written:
                log.append(trajectory)
            found.append(trajectory)
            progress.update(trajectory)
    env.close()
    print_summary(Tally(found), str(args.out))
    count = Count()
    for trajectory in found:
        count.add(trajectory)
    return count
