"""Another way on from a step of an episode, live in its environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from msgspec.structs import replace

from agents.agent import Action, Agent, History, Segment, segment_of
from rollouts.episodes import Episode, EpisodeKey, logged_actions
from rollouts.lines import LogError
from rollouts.trajectory import End, Header, LogWriter, Trajectory

PERSON = "person"


def episode_of(env: gym.Env, logged: Trajectory, steps: int) -> Episode[EpisodeKey]:
    """The first `steps` steps of a logged episode, played again in an environment; what it raises is the episode's error."""
    number = logged.task.removeprefix("seed-")
    index = int(number) if number.isdecimal() else 0  # only what has no list of tasks is reset by it
    key = EpisodeKey(logged.task, index, logged.seed, tuple(logged_actions(logged)[:steps]))
    episode = Episode(env, key, History(key.task, key.seed))
    return episode.guard(episode.start)


@dataclass
class Branch:
    """An episode that goes on from a step of a logged one."""

    episode: Episode[EpisodeKey]
    origin: Trajectory
    at: int
    """the step, counted from 0, in whose place the first action of its own stands"""

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.episode.end is None

    @property
    def info(self) -> dict[str, Any]:
        """What the environment says beside the text."""
        return dict(self.episode.history.turns[-1].info)

    @property
    def commands(self) -> list[str]:
        """What the environment lists as admissible now."""
        return [str(each) for each in self.info.get("admissible_commands", ())] if self.open else []

    def type(self, text: str) -> None:
        """Play an action that a person typed; a step of reasoning gets the delimiter that ends it."""
        text += delimiter(segment_of(self.episode.env), text)
        self.episode.history.memory.clear()  # an agent's prompt or plan so far would go on without this action
        self._play([Action(text, info={"branch": PERSON})])

    def go_on(self, agent: Agent) -> None:
        """Let an agent act once. Raises what the agent raises."""
        (action,) = agent.act([self.episode.history])
        parts = self.episode.cut(agent, action)
        self._play([dataclasses.replace(part, info={**part.info, "branch": agent.name}) for part in parts])

    def _play(self, parts: list[Action]) -> None:
        self.episode.guard(lambda: self.episode.play(parts))

    def record(self) -> Trajectory:
        """The episode so far. While it is open it is a truncated one, and `final` what there is to see now."""
        origin, now = self.origin, self.episode
        final = now.history.turns[-1].observation if now.end is None else now.final
        return Trajectory(
            origin.env_id, origin.task, origin.seed, tuple(now.steps), now.end or End.TRUNCATED, name(origin.agent), final=final
        )


def name(agent: str) -> str:
    """Who plays a branch of an agent's episode."""
    return agent if agent.startswith("branch of ") else f"branch of {agent}"


def delimiter(segment: Segment | None, text: str) -> str:
    """What must follow a typed line so that the environment takes it for a whole step and not for the end of the response."""
    if segment is None or segment(text)[-1] == "":
        return ""
    return next((end for end in ("\n", "\n\n") if segment(text + end)[-1] == ""), "")


def branch(make: Callable[[], gym.Env], logged: Trajectory, at: int) -> Branch:
    """The state before step `at` of an episode, to go on from.

    Raises:
        ValueError: the environment does not give again what was logged up to there.
    """
    if not 0 <= at <= len(logged.steps):
        raise ValueError(f"the episode has {len(logged.steps)} steps, there is no step {at + 1}")
    episode = episode_of(make(), logged, at)
    seen = [step.observation for step in episode.steps]
    if episode.end is None:
        seen.append(episode.history.turns[-1].observation)
    same = [step.observation for step in logged.steps[: at + 1]] == seen[: len(logged.steps)]
    if episode.end is not None or not same:
        episode.env.close()
        why = episode.final if episode.end is End.ERROR else "it gives other texts, or ends before"
        raise ValueError(f"the environment does not lead to step {at + 1} again ({why}): v (or --verify) says where it diverges")
    return Branch(episode, logged, at)


def save(found: Trajectory, header: Header, path: Path) -> Path:
    """Append a branch to the log at `path`, or NAME-2, NAME-3, ... where that has this (task, seed) or another environment's lines.

    Returns where it is.

    Raises:
        OSError: it cannot be written there.
    """
    own = Header(header.env_id, name(header.agent), header.env_args)
    for number in range(1, 1000):
        there = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            with LogWriter(there, own) as log:
                if (found.task, found.seed) in log.written:
                    continue
                log.append(replace(found, agent=own.agent))
        except LogError:
            continue  # the branches of another log
        return there
    raise LogError(f"{path} and 998 files beside it hold branches of this episode: give another --branches")


def stepwise(agent: Agent, branch: Branch) -> Agent:
    """The agent, so that it writes one step at a time where the environment cuts responses into steps."""
    segment = segment_of(branch.episode.env)
    return agent if segment is None else agent.stopping(lambda text: len(segment(text)) > 1)
