"""The branches of a session: what a person or an agent has tried instead of what was logged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agents.agent import Agent
from rollouts.replay import branch as branches
from rollouts.replay.branch import Branch
from rollouts.replay.shown import Shown
from rollouts.replay.source import Source
from rollouts.replay.verify import environment


class Tries:
    """Makes branches, lets them go on, keeps them, writes them.

    Args:
        source: of the episodes and values.
        agent: makes the agent that goes on; called once, when it is first asked for.
        out: where branches are written (`rollouts.replay.branch.save`).
    """

    def __init__(self, source: Source, agent: Callable[[], Agent], out: Path) -> None:
        self.source, self.out = source, out
        self.all: list[Shown] = []
        self._make_agent = agent
        self._agent: Agent | None = None
        self._state: tuple[object, Branch] | None = None

    def state(self, shown: Shown, step: int) -> Branch:
        """The environment before a step of an episode, to be looked at.

        Raises:
            LogError, ValueError: it cannot be made, or does not lead there.
        """
        now = shown.trajectory
        key = (shown.header, now.task, now.seed, [each.action for each in now.steps[:step]])
        if self._state is None or self._state[0] != key:
            made = self._new(shown, step)
            if self._state:
                self._state[1].episode.env.close()
            self._state = key, made
        return self._state[1]

    def at(self, shown: Shown, step: int) -> Branch:
        """The branch that is shown, where it goes on from here; else a new one. Raises as `state`."""
        if shown.open and step == len(shown.trajectory.steps):
            assert shown.branch
            return shown.branch
        return self._new(shown, step)

    def _new(self, shown: Shown, step: int) -> Branch:
        return branches.branch(lambda: environment(shown.header), shown.trajectory, step)

    def act(self, branch: Branch) -> None:
        """Let the agent act once. Raises what making the agent and the agent raise."""
        if self._agent is None:
            self._agent = self._make_agent()
        branch.go_on(branches.stepwise(self._agent, branch))

    def shown(self, branch: Branch, origin: Shown) -> Shown:
        """A branch as it is now, which is kept."""
        found = branch.record()
        place = next((i for i, each in enumerate(self.all) if each.branch is branch), len(self.all))
        reading = self.source.values.of(found)
        reading = reading.open() if branch.open else reading
        shown = Shown(found, reading, f"branch {place + 1} at step {branch.at + 1}", origin.header, branch=branch)
        self.all[place : place + 1] = [shown]
        return shown

    def save(self, shown: Shown) -> Path:
        """Write a branch to a log of its own, and return where.

        Raises:
            ValueError: it is no branch, goes on, or is saved already.
            OSError: it cannot be written.
        """
        if shown.branch is None:
            raise ValueError("this episode is in the log already: t or a makes a branch, s saves that")
        if shown.saved:
            raise ValueError("this branch is saved already")
        if shown.open:
            raise ValueError("this branch has not ended: go on with t, a or A, and save it then")
        there = branches.save(shown.trajectory, shown.header, self.out)
        shown.saved = True
        return there
