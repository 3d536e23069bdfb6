"""What one pass over a log counts, and the episodes that it keeps."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

from rollouts.keys import digest
from rollouts.report.inputs import LogFile
from rollouts.stats import Summary, Tally, task_group
from rollouts.stored import survey
from rollouts.trajectory import End, Header, LogError, Trajectory

OWN_VALUES = 20_000
"""Episodes of which a log's own values are taken: nothing is computed for them."""


@dataclass
class Facts:
    """The numbers of a log."""

    log: LogFile
    headers: list[Header]
    tally: Tally = field(default_factory=Tally)
    kinds: dict[str, Tally] = field(default_factory=dict)
    """by kind of task"""
    steps: array[int] = field(default_factory=lambda: array("l"))
    """of each episode"""
    tokens: array[int] = field(default_factory=lambda: array("l"))
    """sampled tokens of each episode, -1 where they were not logged"""
    solved: bytearray = field(default_factory=bytearray)
    """1 for each solved episode, 0 for others"""
    seeds: set[int] = field(default_factory=set)
    tasks: set[int] = field(default_factory=set)
    """their digests"""
    valued: bool = False
    """whether the log itself has values of states"""
    negative_logp: float = 0.0
    """the sum of -log p of the sampled tokens, nats"""
    sampled: int = 0
    """how many tokens have a log-probability"""
    sample: list[Trajectory] = field(default_factory=list)
    """episodes chosen by the hash of task and seed, without those that ended by an error"""

    def add(self, episode: Trajectory) -> None:
        """Count an episode."""
        self.tally.add(episode)
        self.kinds.setdefault(task_group(episode.env_id, episode.task), Tally()).add(episode)
        self.steps.append(len(episode.steps))
        self.tokens.append(_tokens(episode))
        self.solved.append(episode.success)
        self.seeds.add(episode.seed)
        self.tasks.add(digest(episode.task, 0))
        for step in episode.steps:
            self.valued = self.valued or step.value is not None
            self.negative_logp -= math.fsum(step.logps or ())
            self.sampled += len(step.logps or ())

    @property
    def summary(self) -> Summary:
        """Success with its interval, and ends."""
        return self.tally.summary()

    @property
    def entropy(self) -> float | None:
        """The policy's entropy by its own samples, nats a token; None where they were not drawn from it as it is."""
        plain = all(_plain(header.sampling) for header in self.headers)
        return self.negative_logp / self.sampled if self.sampled and plain else None

    @property
    def mean_tokens(self) -> float | None:
        """Sampled tokens of an episode, where they were logged."""
        known = [tokens for tokens in self.tokens if tokens >= 0]
        return sum(known) / len(known) if known else None

    @property
    def env_ids(self) -> list[str]:
        """The environments, in the headers' order."""
        return list(dict.fromkeys(header.env_id for header in self.headers))

    @property
    def agents(self) -> list[str]:
        """The agents, in the headers' order."""
        return list(dict.fromkeys(header.agent for header in self.headers))


def facts_of(log: LogFile, episodes: int) -> Facts:
    """Read a log, and keep `episodes` of its episodes, or up to `OWN_VALUES` that have values of their own.

    Raises:
        LogError: it has no episode, or as `rollouts.trajectory.read`.
    """
    stored = survey(log.path)
    if not len(stored.trajectories):
        raise LogError(f"{log.path} has no episode: nothing can be reported of it; leave it out, or collect some")
    found = Facts(log, stored.headers)

    def counted() -> Iterable[Trajectory]:
        for episode in stored.trajectories:
            found.add(episode)
            if episode.end is not End.ERROR and episode.steps:
                yield episode

    kept = max(episodes, OWN_VALUES) if _first_has_values(stored.trajectories) else episodes
    found.sample = nsmallest(kept, counted(), key=lambda episode: digest(episode.task, episode.seed))
    return found


def _first_has_values(episodes: Iterable[Trajectory]) -> bool:
    first = next((episode for episode in episodes if episode.end is not End.ERROR and episode.steps), None)
    return first is not None and any(step.value is not None for step in first.steps)


def _tokens(episode: Trajectory) -> int:
    return sum(len(step.tokens or ()) for step in episode.steps) if any(step.tokens for step in episode.steps) else -1


def _plain(sampling: dict[str, Any]) -> bool:
    """Whether tokens were drawn from the model's own distribution, one after the other."""
    given = (sampling.get("temperature"), sampling.get("top_p", 1.0), sampling.get("top_k", 0), sampling.get("search", "none"))
    return given == (1.0, 1.0, 0, "none")
