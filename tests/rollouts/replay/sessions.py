"""Sessions and episodes that several tests of replay share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.agent import Agent
from agents.scripted import ExpertAgent
from rollouts.collect import collect_log
from rollouts.index import LogIndex
from rollouts.replay.listing import Listing
from rollouts.replay.session import Session
from rollouts.replay.source import Source
from rollouts.replay.tries import Tries
from rollouts.replay.values import Values
from rollouts.step_reading import StepReading
from rollouts.trajectory import End, Header, LogWriter, Step, Trajectory

HEADER = Header("MathReason-v0", "lm")


class Falling:
    """A critic by whom every episode begins at 0.9 and loses 0.3 before each later step."""

    def read(self, trajectories: Sequence[Trajectory]) -> list[list[StepReading]]:
        return [self._steps(trajectory) for trajectory in trajectories]

    def _steps(self, trajectory: Trajectory) -> list[StepReading]:
        values = [0.9 - 0.3 * place for place in range(len(trajectory.steps))]
        after = [*values[1:], 0.0]
        return [
            StepReading((step.action[:1], step.action[1:]), (v, v / 2), (), v, step.reward + w - v)
            for step, v, w in zip(trajectory.steps, values, after, strict=True)
        ]


def episode(task: str, *actions: str, solved: bool = False, seed: int = 0, end: End = End.TERMINATED) -> Trajectory:
    steps = tuple(
        Step("problem" if i == 0 else "", action, float(solved and i + 1 == len(actions))) for i, action in enumerate(actions)
    )
    return Trajectory("MathReason-v0", task, seed, steps, end, "lm")


def log(path: Path, *episodes: Trajectory, header: Header = HEADER) -> Path:
    with LogWriter(path, header) as writer:
        writer.append(*episodes)
    return path


def session(path: Path, values: Values | None = None, agent: Agent | None = None, against: Path | None = None) -> Session:
    """A session on a log; branches go beside it."""
    source = Source(LogIndex(path), values or Values())
    tries = Tries(source, lambda: agent or ExpertAgent(), path.parent / "branches.jsonl")
    return Session(source, Listing(source), tries, LogIndex(against) if against else None)


def alfworld_log(path: Path, episodes: int = 2) -> Path:
    """The expert in generated games."""
    arguments = {"games": "generated", "difficulty": "small"}
    collect_log("alfworld", arguments, ExpertAgent(), Header("", "expert"), path, episodes=episodes)
    return path
