"""An episode on the screen, and how it ended in words."""

from __future__ import annotations

from dataclasses import dataclass

from rollouts.replay.branch import Branch
from rollouts.replay.values import Reading
from rollouts.trajectory import End, Header, Trajectory


@dataclass
class Shown:
    """An episode on the screen."""

    trajectory: Trajectory
    reading: Reading
    label: str
    """where it is from"""
    header: Header
    """the one that speaks for it, or for the episode that it branched from"""
    number: int | None = None
    """its number in the log"""
    branch: Branch | None = None
    saved: bool = False

    @property
    def open(self) -> bool:
        """Whether it is a branch that goes on."""
        return self.branch is not None and self.branch.open

    @property
    def positions(self) -> int:
        """Steps to stand at; of an open branch, its end is one too."""
        return max(1, len(self.trajectory.steps) + self.open)

    @property
    def ending(self) -> str:
        """How it ended, or that it goes on."""
        return "goes on" if self.open else ending(self.trajectory)


def ending(trajectory: Trajectory) -> str:
    """How an episode ended, in a word or two: "won", "lost, wrong", "lost, truncated", "error"."""
    if trajectory.success:
        return "won"
    if trajectory.end is End.ERROR:
        return "error"
    outcome = trajectory.steps[-1].info.get("outcome") if trajectory.steps else None
    return f"lost, {outcome if isinstance(outcome, str) else trajectory.end}"


def first_difference(one: Trajectory, two: Trajectory) -> int:
    """The first step at which two episodes do something else; one behind the last of the shorter where they never do."""
    pairs = zip(one.steps, two.steps, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a.action != b.action), min(len(one.steps), len(two.steps)))
