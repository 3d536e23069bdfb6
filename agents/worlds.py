"""What comes after an action that a search only tries: the next turn, an end, or a limit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

from agents.agent import History, Segment, Turn, message


class Fate(Enum):
    """What an action leads to: a state to go on from, an end, or a limit."""

    OPEN = "open"
    OVER = "over"
    CUT = "cut"


class World(ABC):
    """Says what comes after an action that is only tried."""

    simulator: bool = True
    """whether it asks the environment itself"""

    @abstractmethod
    def follow(self, before: History, after: History) -> Fate:
        """Put the next turn behind the last action of `after`, which is `before` and that action, where it goes on.

        Both may keep in their memories what the world needs.
        """


class TextWorld(World):
    """A response that nothing answers to: it goes on until the agent closes it, or it holds what ends it.

    Args:
        segment: the rule that cuts a response into steps.
        over: whether whole steps of a response end it (it has a final answer).
        closer: the agent's token that closes a message, where it has one.
        steps: the most of a response.
    """

    simulator = False

    def __init__(self, segment: Segment, over: Callable[[str], bool], closer: int | None = None, steps: int = 20) -> None:
        self.segment, self.over, self.closer, self.steps = segment, over, closer, steps

    def follow(self, before: History, after: History) -> Fate:
        """As `World`."""
        action = after.turns[-1].action
        assert action is not None
        *whole, rest = self.segment(message(after))
        closes = action.tokens[-1:] == (self.closer,) if action.tokens else bool(rest)
        if closes or self.over("".join(whole)):
            return Fate.OVER
        if not action.closed or len(whole) >= self.steps:
            return Fate.CUT
        after.turns.append(Turn(""))
        return Fate.OPEN
