"""Demonstrations where a student goes: it plays, and an expert corrects it.

DAgger (Ross et al. 2011, arXiv 1011.0686) labels every state that a student comes to with the expert's move. A log has one move a
state, so it is drawn instead who moves where the two differ: the expert, whose move is an example, or the student, whose move is a
mistake that befell the episode, a disturbance. What both would do is an example, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.agent import Action, Agent, History
from agents.scripted import stream


class DAggerAgent(Agent):
    """A student whose moves an expert corrects with the probability `correct` where it would make others.

    Actions are texts without token ids: a log of them is of demonstrations, for models with any tokenizer.

    Args:
        student: proposes every move; its fault is what the log has examples against.
        expert: reads the same histories.
        correct: 1 gives the expert's episodes, 0 the student's, without an example where they differ.
    """

    def __init__(self, student: Agent, expert: Agent, correct: float) -> None:
        """Raises ValueError for a probability outside [0, 1]."""
        if not 0 <= correct <= 1:
            raise ValueError(f"correct={correct}: wanted a probability from 0 to 1")
        self.student, self.expert, self.correct = student, expert, correct
        self.name = f"dagger({correct:g})({student.name}, {expert.name})"

    def act(self, histories: Sequence[History]) -> list[Action]:
        """As `Agent.act`."""
        proposed, wanted = self.student.act(histories), self.expert.act(histories)
        return [self._chosen(*given) for given in zip(histories, proposed, wanted, strict=True)]

    def _chosen(self, history: History, proposed: Action, wanted: Action) -> Action:
        if proposed.text == wanted.text and proposed.closed:
            return wanted
        if stream(history, "dagger").random() < self.correct:
            self.student.release(history)  # whose cache has what it proposed
            return replace(wanted, info={"corrected": proposed.text})
        return Action(proposed.text, closed=proposed.closed, info={"disturbance": True})
