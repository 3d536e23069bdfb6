"""Episodes as conversations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.exchange.messages import Message, cutter, messages_of, steps_of
from rollouts.trajectory import Step
from tests.rollouts.logs import trajectories


def said(*contents: str) -> list[Message]:
    """User and assistant in turn."""
    return [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(contents)]  # type: ignore[arg-type]


def test_actions_without_an_observation_between_them_share_a_message() -> None:
    steps = [Step("a", "b", 0), Step("", "c", 0), Step("d", "e", 0), Step("", "", 0), Step("", "f", 0)]
    assert messages_of(steps) == said("a", "bc", "d", "ef")


@given(trajectories(least=1))
def test_a_conversation_read_back_is_the_same_conversation(episode) -> None:
    messages = messages_of(episode.steps)
    steps, final = steps_of(messages, cutter("none"))
    assert (messages_of(steps), final) == (messages, "")


@given(st.text("ab\n. $", min_size=1), st.sampled_from(["lines", "sentences", "blank"]))
def test_cutting_loses_nothing(text, rule) -> None:
    pieces = cutter(rule)(text)
    assert "".join(pieces) == text and all(pieces)


def test_an_empty_message_is_one_empty_action() -> None:
    assert cutter("lines")("") == [""]


def test_a_system_message_begins_the_first_observation_and_the_users_last_words_are_apart() -> None:
    steps, final = steps_of([Message("system", "s"), *said("a", "b\nc", "d")], cutter("lines"))
    assert ([(step.observation, step.action) for step in steps], final) == ([("s\n\na", "b\n"), ("", "c")], "d")


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([], "no assistant's message"),
        (said("a"), "no assistant's message"),
        (said("a", "b")[1:], "message 0 is the assistant's, wanted the user's"),
        ([*said("a", "b"), Message("assistant", "c")], "message 2 is the assistant's, wanted the user's"),
        ([Message("system", "s"), *said("a"), *said("b")], "message 2 is the user's, wanted the assistant's"),
        ([*said("a", "b"), Message("system", "s")], "message 2 is the system's, wanted the user's"),
    ],
)
def test_sides_that_do_not_speak_in_turn_are_refused(messages, fault) -> None:
    with pytest.raises(ValueError, match=fault):
        steps_of(messages, cutter("none"))
