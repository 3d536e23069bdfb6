"""Whether a log is true: its actions are played again in its environment, and must give what was logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
from rich.console import Console
from rich.progress import Progress

import envs
from rollouts.index import LogIndex
from rollouts.progress import bar_columns
from rollouts.replay.branch import episode_of
from rollouts.trajectory import End, Header, LogError, Step, Trajectory, records

AROUND = 60
"""Characters shown of two texts that differ, from shortly before where they do."""


@dataclass(frozen=True)
class Divergence:
    """Where an environment first gives something else than was logged."""

    task: str
    seed: int
    step: int
    """counted from 1; one more than there are for what follows the last"""
    field: str
    logged: Any
    found: Any

    def __str__(self) -> str:
        logged, found = self.logged, self.found
        if isinstance(logged, str) and isinstance(found, str):
            same = next((i for i, (x, y) in enumerate(zip(logged, found, strict=False)) if x != y), min(len(logged), len(found)))
            start = max(0, same - 20)
            logged, found = (text[start : start + AROUND] for text in (logged, found))
        return f"{self.task}, seed {self.seed}, step {self.step}, {self.field}: logged {logged!r}, found {found!r}"


@dataclass
class Verified:
    """What playing a log again has shown."""

    true: int = 0
    failed: int = 0
    """episodes that ended by an error of the environment, which says nothing of the log"""
    diverged: list[Divergence] = field(default_factory=list)

    @property
    def episodes(self) -> int:
        """How many were played again."""
        return self.true + len(self.diverged)

    def __str__(self) -> str:
        skipped = f"; {self.failed} that ended by an error were left out" if self.failed else ""
        return f"{self.true} of {self.episodes} episodes are true{skipped}"


def divergence(env: gym.Env, logged: Trajectory) -> Divergence | None:
    """Where an episode first differs from what its environment gives now."""
    now = episode_of(env, logged, len(logged.steps))

    def at(step: int, what: str, was: Any, found: Any) -> Divergence:
        return Divergence(logged.task, logged.seed, step, what, was, found)

    for number, (was, found) in enumerate(zip(logged.steps, now.steps, strict=False), 1):
        for what, a, b in _fields(was, found):
            if a != b:
                return at(number, what, a, b)
    if now.end is End.ERROR:
        return at(len(now.steps) + 1, "error", "no error", now.final)
    if len(now.steps) < len(logged.steps):
        return at(len(now.steps), "end", "goes on", f"{now.end}")
    if not logged.steps:
        return None
    if now.end != logged.end:
        return at(len(logged.steps), "end", f"{logged.end}", "goes on" if now.end is None else f"{now.end}")
    return None if now.final == logged.final else at(len(logged.steps), "final", logged.final, now.final)


def _fields(was: Step, found: Step) -> Iterator[tuple[str, Any, Any]]:
    """What is compared of a step. Of `info`, what the environment says itself: others may have put more there."""
    yield "observation", was.observation, found.observation
    yield "reward", was.reward, found.reward
    for key in sorted(was.info.keys() & found.info.keys()):
        yield f"info.{key}", was.info[key], found.info[key]


def verify(lines: Iterable[Header | Trajectory]) -> Iterator[Divergence | bool | None]:
    """For each episode True, where it diverges, or None for one that ended by an error. Headers say in which environment.

    Raises:
        LogError: an environment that cannot be made here.
    """
    env: gym.Env | None = None
    for line in lines:
        if isinstance(line, Header):
            if env is not None:
                env.close()
            env = environment(line)
            continue
        assert env is not None  # a log's first line is a header
        yield None if line.end is End.ERROR else divergence(env, line) or True
    if env is not None:
        env.close()


def environment(header: Header) -> gym.Env:
    """The environment that a header names. Raises LogError where there is none here."""
    try:
        return envs.make(header.env_id, **header.env_args)
    except (ValueError, OSError) as error:
        raise LogError(f"the log was made in {header.env_id}, which cannot be made here: {error}") from error


def verify_log(path: Path, console: Console) -> Verified:
    """Play every episode of a log again. Shows a bar.

    Raises:
        LogError: as `rollouts.trajectory.read` and `verify`, or nothing to play.
    """
    found, total = Verified(), len(LogIndex(path))
    if not total:
        raise LogError(f"{path} has a header and no episode yet: nothing to verify")
    with Progress(*bar_columns("verify", "{task.fields[true]} true"), console=console) as bar:
        task = bar.add_task("verify", total=total, true=0)
        for each in verify(records(path)):
            if isinstance(each, Divergence):
                found.diverged.append(each)
            else:
                found.true += each is True
                found.failed += each is None
            bar.update(task, advance=1, true=found.true)
    return found
