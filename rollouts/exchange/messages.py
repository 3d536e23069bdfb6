"""Episodes as conversations: the environment is the user, the agent the assistant, as `agents.prompt` puts them to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec

from envs.problem_env import segment
from rollouts.trajectory import Step

Cut = Literal["none", "lines", "sentences", "blank"]
"""How an assistant's message becomes actions: as it is, or by a rule of `envs.problem_env.DELIMITERS`."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one side said."""

    role: Literal["system", "user", "assistant"]
    content: str


def messages_of(steps: Sequence[Step]) -> list[Message]:
    """The messages of an episode: actions with nothing from the environment between them share one."""
    found: list[Message] = []
    for index, step in enumerate(steps):
        if index and not step.observation:
            found[-1] = Message("assistant", found[-1].content + step.action)
        else:
            found += [Message("user", step.observation), Message("assistant", step.action)]
    return found


def cutter(cut: Cut) -> Callable[[str], list[str]]:
    """The rule as a function from a message to its actions, of which there is always one."""
    if cut == "none":
        return lambda text: [text]
    rule = partial(segment, rule=cut)
    return lambda text: [piece for piece in rule(text) if piece] or [text]


def steps_of(messages: Sequence[Message], cut: Callable[[str], list[str]]) -> tuple[list[Step], str]:
    """The steps of a conversation, without rewards, and what the user said last where the conversation ends with that.

    A system message becomes the beginning of the first observation.

    Raises:
        ValueError: the two sides do not speak in turn, the user first, or the agent never does.
    """
    observation, waiting = "", list(messages)
    if waiting and waiting[0].role == "system":
        observation = waiting.pop(0).content + "\n\n"
    steps: list[Step] = []
    for index, message in enumerate(waiting):
        wanted = ("user", "assistant")[index % 2]
        if message.role != wanted:
            place = index + len(messages) - len(waiting)
            raise ValueError(f"message {place} is the {message.role}'s, wanted the {wanted}'s: user and assistant speak in turn")
        if wanted == "user":
            observation += message.content
            continue
        for action in cut(message.content):
            steps.append(Step(observation, action, 0.0))
            observation = ""
    if not steps:
        raise ValueError("no assistant's message: an episode has at least one action")
    return steps, observation
