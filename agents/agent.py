"""The protocol between agents and whatever drives them: histories in, actions out.

An agent is anything with `act(histories) -> actions`. It is asked for many episodes at once (a language model batches them) and
is given the whole history of each; what it wants to remember between two turns of an episode (a map of the house, the slot of its
KV cache) it keeps in `History.memory`, which lives and dies with the episode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np


@dataclass(frozen=True)
class Action:
    """One action, exactly as the agent emitted it.

    `tokens` are the sampled ids, the turn-closing token included where it was sampled; `logps` are the model's own
    log-probabilities of them (temperature 1, nothing cut off). Both are None for agents that do not sample tokens.
    `closed` is False where a limit on tokens cut the agent off before it had closed its turn.
    """

    text: str
    tokens: tuple[int, ...] | None = None
    logps: tuple[float, ...] | None = None
    closed: bool = True
    value: float | None = None
    """V of the state before it, where sampling read it"""
    info: Mapping[str, Any] = field(default_factory=dict, hash=False)  # a dict has none
    """what whoever chose it has to say of that; goes into the log"""


@dataclass
class Turn:
    """What the agent saw (the observation and its `info`), and what it did then (None while it is its move)."""

    observation: str
    info: Mapping[str, Any] = field(default_factory=dict)
    action: Action | None = None


@dataclass
class History:
    """One episode as its agent sees it. `(task, seed)` names the episode and seeds the agent's random stream for it."""

    task: str
    seed: int
    turns: list[Turn] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)


Segment = Callable[[str], list[str]]
"""An environment's rule that cuts a response into steps."""


def segment_of(env: gym.Env[Any, Any]) -> Segment | None:
    """The rule that cuts a response into an environment's actions; None where an action is whole."""
    return getattr(env.unwrapped, "segment", None)


def message(history: History) -> str:
    """What the agent has written since the environment spoke last."""
    said: list[str] = []
    for turn in history.turns:
        if turn.observation:
            said = []
        said += [turn.action.text] if turn.action else []
    return "".join(said)


def unfinished(history: History, segment: Segment | None) -> bool:
    """Whether the last action is a step of reasoning that was cut off.

    It is not for the environment, which would take it for the end of the response, and grade half a number.
    """
    action = history.turns[-1].action
    return segment is not None and action is not None and not action.closed and segment(message(history))[-1] != ""


def cut(agent: Agent, history: History, action: Action, segment: Segment | None) -> list[Action]:
    """An agent's action as consecutive ones, cut by an environment's rule as the whole message is that it belongs to."""
    if segment is None:
        return [action]
    before = message(history)
    return agent.cut(action, _after(segment(before + action.text), len(before))) or [action]


def _after(pieces: Sequence[str], count: int) -> list[str]:
    """The pieces of a text without its first `count` characters; the last piece stays, even as ""."""
    kept = []
    for piece in pieces[:-1]:
        if count < len(piece):
            kept.append(piece[count:])
        count = max(0, count - len(piece))
    return [*kept, pieces[-1][count:]]


class Engine:
    """Requests come one at a time and are answered in the order in which they are done (as in vLLM's engine of this name).

    This one is for agents that act on whole batches: all requests that wait are answered together.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._waiting: list[History] = []

    def add_request(self, history: History) -> None:
        """Ask for the next action of a history, whose last turn is still without one."""
        self._waiting.append(history)

    def step(self) -> list[tuple[History, Action]]:
        """Go on with what was asked for; what is done by now, perhaps nothing."""
        asked, self._waiting = self._waiting, []
        return list(zip(asked, self._agent.act(asked), strict=True)) if asked else []

    def close(self) -> None:
        """Give up what is still asked for."""
        self._waiting = []


class Agent(ABC):
    """Text in, text out. `name` goes into every log."""

    name: str = "agent"

    @abstractmethod
    def act(self, histories: Sequence[History]) -> list[Action]:
        """Choose one action for each history, whose last turn is still without one."""

    def engine(self) -> Engine:
        """Serves histories one by one, each as soon as its action is there."""
        return Engine(self)

    def fork(self, history: History, seed: int) -> History:
        """The same episode so far, to try something else in, with another random stream."""
        return History(history.task, seed, [replace(turn) for turn in history.turns])

    def release(self, history: History) -> None:
        """Free what is kept of a history that may be gone on from much later, or never; nothing said is lost."""
        del history

    def cut(self, action: Action, pieces: Sequence[str]) -> list[Action]:
        """Cut one action into consecutive ones with the texts `pieces`, as the environment's `segment` rule gave them."""
        written = [piece for piece in pieces if piece]
        if written == [action.text]:
            return [action]
        return [Action(piece, closed=action.closed or index + 1 < len(written)) for index, piece in enumerate(written)]

    def stopping(self, stop: Callable[[str], bool]) -> Agent:
        """The same agent, whose actions also end as soon as `stop(text)`; itself where it cannot stop early."""
        del stop
        return self

    def predict(
        self,
        observation: Any,
        state: list[History] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray | str, list[History]]:
        """Act on a batch of observations, with the signature of stable-baselines3.

        `observation` is an array of B texts, or one text; `state` the histories of the call before. `deterministic` is
        ignored: how an agent samples is its own setting. Returns B action texts (dtype object), or one, and the new state.

        An action is given as it is, and no info is known here. `agents.vector.TextVecEnv` knows it, and cuts whole responses
        into an environment's steps: play by its `player` in `evaluate_policy`.

        Raises:
            ValueError: observations that are no texts.
        """
        if (kind := np.asarray(observation).dtype.kind) not in "OUS":
            raise ValueError(
                f"observed an array of {np.asarray(observation).dtype} (kind {kind}), agents here read and write text: make the "
                "environment at the level of texts (without level='token')"
            )
        del deterministic
        single = np.ndim(np.asarray(observation, dtype=object)) == 0
        texts = np.atleast_1d(np.asarray(observation, dtype=object))
        starts = np.ones(len(texts), bool) if state is None or episode_start is None else np.atleast_1d(episode_start)
        histories = list(state or [History(task="", seed=row) for row in range(len(texts))])
        for row, fresh in enumerate(starts):
            if fresh and histories[row].turns:  # the next episode of this row has a random stream of its own
                histories[row] = History(task="", seed=histories[row].seed + len(texts))
        for history, text in zip(histories, texts, strict=True):
            history.turns.append(Turn(str(text)))
        actions = self.act(histories)
        for history, action in zip(histories, actions, strict=True):
            history.turns[-1].action = action
        chosen = np.array([action.text for action in actions], dtype=object)
        return (chosen[0] if single else chosen), histories
