"""Kinds of steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.report.kinds import kind_of
from rollouts.trajectory import Step
from tests.rollouts.reported import episode


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("take mug 1 from desk 2", "take mug"),
        ("go to sinkbasin 1", "go to sinkbasin"),
        ("use desklamp 1", "use desklamp"),
        ("heat egg 3 with microwave 1", "heat egg"),
        ("inventory", "inventory"),
        ("think: I need a mug 1.", "think"),
        ("Thought: where?\nAction: open fridge 1", "open fridge"),
        ("12", "(no words)"),
    ],
)
def test_commands_are_told_by_their_words_before_the_first_number(action: str, kind: str) -> None:
    assert kind_of(episode("t", action, env="AlfWorld-v0"), 0) == kind


@pytest.mark.parametrize(
    ("action", "kind"), [("take mug 1 from desk 2", "take (nothing happens)"), ("go to desk 9", "go to (nothing happens)")]
)
def test_what_did_nothing_is_told_by_its_verb(action: str, kind: str) -> None:
    played = episode("t", action, Step("Nothing happens.", "look", 0.0), env="AlfWorld-v0")
    assert kind_of(played, 0) == kind


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("The eggs cost 4 * 2 = 8 dollars.\n", "operation ×"),
        ("8 - 2 = 6, and 6 + 1 = 7.", "operations + and −"),
        ("Half of it is $10 \\div 2$.", "operation ÷"),
        ("#### 8", "final answer"),
        ("So it is \\boxed{8}.", "final answer"),
        ("The answer is 8.", "final answer"),
        ("First count the well-known eggs.", "words"),
    ],
)
def test_steps_of_reasoning_are_told_by_what_they_work_out(action: str, kind: str) -> None:
    assert kind_of(episode("t", action), 0) == kind


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["AlfWorld-v0", "MathReason-v0"]))
def test_every_text_has_a_kind(action: str, env: str) -> None:
    assert kind_of(episode("t", action, env=env), 0)
