"""What a log's own policy did: its episodes as decisions with their log-probabilities, where those are known.

A log says what the model itself gives a token at temperature 1 with nothing cut off (`Step.logps`). Where the sampler drew
otherwise, that is not how likely the token was, and the model that sampled has to be read again by the sampler's settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import Progress

from agents.checkpoint import fingerprint
from agents.sampling import Sampling
from rollouts.likelihood import PolicyReader
from rollouts.progress import bar_columns, console
from rollouts.trajectory import End, Header, LogError, Step, Trajectory, records

Level = Literal["token", "step"]

WINDOW = 512
"""Episodes that are read, sorted by length and computed at a time."""


@dataclass(frozen=True)
class Played:
    """The N episodes of a log that can be weighted, in its order; those that ended by an error or did nothing are left out."""

    tasks: list[str]
    """the task of each"""
    logps: list[np.ndarray]
    """the behaviour's log-probability of each of its tokens as it was drawn, float [n]"""
    starts: list[np.ndarray]
    """the first token of each decision, int [S]"""
    rewards: list[np.ndarray]
    """one a decision, float [S]; an episode that a limit cut off has earned nothing"""
    left_out: int
    """episodes of the log that are not here"""

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def numbers(self) -> np.ndarray:
        """The task of each as a number from 0, int [N]."""
        number = {task: index for index, task in enumerate(dict.fromkeys(self.tasks))}
        return np.array([number[task] for task in self.tasks])

    @property
    def rewarded_at_the_end(self) -> bool:
        """Nothing is earned before the last decision."""
        return not any(reward[:-1].any() for reward in self.rewards)


def episodes(log: Path) -> Iterator[tuple[Header, Trajectory]]:
    """The episodes of a log in which a model did something, each with the header that speaks for it."""
    header = Header("", "")
    for record in records(log):
        if isinstance(record, Header):
            header = record
        elif record.end is not End.ERROR and any(step.tokens is None or step.tokens for step in record.steps):
            yield header, record


def read_played(log: Path, level: Level = "step", behaviour: PolicyReader | None = None) -> Played:
    """The episodes of a log, weighted by what it says or, where it is given, by the model that played it. Shows a bar.

    Raises:
        LogError: no episode, no log-probabilities, or those of an agent that is no policy: a search's, or the paths of trees.
        ValueError: the sampler drew otherwise than by the logged log-probabilities and `behaviour` is not given, or is another
            model than the one that sampled.
    """
    total = 0
    for record in records(log):
        if isinstance(record, Header):
            _check(record, log, behaviour)
        else:
            total += 1
    found = Played([], [], [], [], 0)
    with Progress(*bar_columns("behaviour", "episodes"), console=console, transient=behaviour is None) as bar:
        task = bar.add_task("behaviour", total=total)
        for sampling, group in groupby(((_sampler(header), episode) for header, episode in episodes(log)), itemgetter(0)):
            waiting = (episode for _, episode in group)
            while window := list(islice(waiting, WINDOW)):
                _add(found, window, level, behaviour and behaviour.at(sampling), log)
                bar.update(task, completed=len(found))
        bar.update(task, completed=total)
    if not len(found):
        raise LogError(f"{log} has no episode in which an agent did something: collect one with python -m rollouts.collect")
    return Played(found.tasks, found.logps, found.starts, found.rewards, total - len(found))


def _add(found: Played, window: Sequence[Trajectory], level: Level, behaviour: PolicyReader | None, log: Path) -> None:
    for episode in window:
        for step in episode.steps:
            if step.tokens is None or (step.logps is None and behaviour is None):
                raise LogError(f"{log}: {episode.task}, seed {episode.seed}, played by {episode.agent}, {_lacking(step)}")
        starts, reward = decisions_of(episode, level)
        found.tasks.append(episode.task)
        found.starts.append(starts)
        found.rewards.append(reward)
        if behaviour is None:
            found.logps.append(np.array([logp for step in episode.steps for logp in step.logps or ()]))
    if behaviour is not None:
        found.logps.extend(each.logps for each in behaviour.read(window))


def decisions_of(episode: Trajectory, level: Level) -> tuple[np.ndarray, np.ndarray]:
    """The first token of each decision, int [S], counted over the agent's tokens, and what each earned, float [S].

    A step's reward is its last token's; that of a step without tokens goes to the decision before it, or else to the first.
    """
    counts = [len(step.tokens or ()) for step in episode.steps]
    ends = np.cumsum(counts)
    starts = np.arange(ends[-1]) if level == "token" else (ends - counts)[np.array(counts) > 0]
    reward = np.zeros(len(starts))
    host = np.searchsorted(starts, ends - 1, side="right") - 1
    np.add.at(reward, np.maximum(host, 0), [_earned(episode, step) for step in episode.steps])
    return starts, reward


def _lacking(step: Step) -> str:
    if step.tokens is None:
        what, instead = "token ids", ""
    else:
        what, instead = "log-probabilities", ", or give the model that sampled them as --behaviour"
    return (
        f"has no {what}: how likely its actions were is not known. Collect with a language model "
        f"(python -m rollouts.collect --agent RUN/sft){instead}"
    )


def _earned(episode: Trajectory, step: Step) -> float:
    return step.reward if episode.end is End.TERMINATED else 0.0


def _check(header: Header, log: Path, behaviour: PolicyReader | None) -> None:
    if "search" in header.sampling or header.search:
        raise LogError(
            f"{log} was played by {header.agent}: what a search picks is not drawn from a policy, and no weight makes it so. "
            "Collect with the model alone"
        )
    sampling = _sampler(header)
    if sampling.temperature == 0:
        raise LogError(
            f"{log} was sampled at temperature 0: nothing but the likeliest action is in it, and it says nothing of another policy"
        )
    if behaviour is None and (sampling.temperature, sampling.top_p, sampling.top_k) != (1, 1, 0):
        raise ValueError(
            f"{log} was sampled at temperature {sampling.temperature:g}, top_p {sampling.top_p:g}, top_k {sampling.top_k}, and its "
            f"log-probabilities are those at 1, 1, 0: give the model that sampled it, {header.agent}, as --behaviour"
        )
    if behaviour is not None and header.model and header.model != (own := fingerprint(behaviour.model.lm)):
        raise ValueError(
            f"{log} was sampled by a model with fingerprint {header.model}, {behaviour.source} has {own}: give the very model"
        )


def _sampler(header: Header) -> Sampling:
    return Sampling(**{name: header.sampling[name] for name in ("temperature", "top_p", "top_k") if name in header.sampling})
