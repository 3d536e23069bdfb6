"""Which episodes are shown, and in which shades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.reading import StepReading
from rollouts.report.gallery import (
    FALL,
    SEARCHED,
    SOLVED,
    UNSOLVED,
    changes,
    choose,
    fall,
    gallery,
    polyline,
    shade,
)
from rollouts.report.readings import Read
from rollouts.trajectory import Step
from tests.rollouts.reported import episode, read, read_log


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.floats(-1, 1))
def test_the_changes_of_a_steps_tokens_add_up_to_its_advantage(values: list[float], advantage: float) -> None:
    found = changes(Read(episode("t", "x"), [StepReading(values=tuple(values), value=values[0], advantage=advantage)]))
    assert len(found[0]) == len(values)
    assert sum(found[0]) == pytest.approx(advantage, abs=1e-9)


def test_the_changes_by_hand() -> None:
    """V is 0.5, 0.7, and after the step 0.4 (0.5 - 0.1): the second token loses 0.3."""
    found = changes(Read(episode("t", "x"), [StepReading(values=(0.5, 0.7), value=0.5, advantage=-0.1)]))
    assert found == [pytest.approx([0.2, -0.3])]


def test_what_the_end_brings_is_no_fall() -> None:
    assert fall(read("t", [0.3, 0.9])) == 0
    assert fall(read("t", [0.9, 0.2, 0.5])) == pytest.approx(0.7)


def test_each_episode_is_shown_once_and_for_its_rarest_reason() -> None:
    searched = Step("", "x", 0.0, info={"search": {"candidates": [{"action": "x", "value": 0.1}, {"action": "y", "value": 0.2}]}})
    falls, won, lost = read("a", [0.9, 0.2]), read("b", [0.5], solved=True), read("c", [0.5])
    chose = Read(episode("d", searched), [StepReading()])
    found = choose([read_log(won, lost, falls, chose)], 5)
    assert [(why, one.episode.task) for why, _, one in found] == [(SOLVED, "b"), (UNSOLVED, "c"), (FALL, "a"), (SEARCHED, "d")]


def test_logs_are_shown_in_turn() -> None:
    one, two = (read_log(*(read(f"{name}{i}", [0.5]) for i in range(3))) for name in "ab")
    assert [given.episode.task for _, _, given in choose([one, two], 3)] == ["a0", "b0", "a1"]


def test_what_a_search_considered_is_shown_best_first() -> None:
    info = {"search": {"candidates": [{"action": "c"}, {"action": "a\nc", "value": 0.3}, {"action": "a\nb", "value": 0.4}]}}
    steps = Step("q", "a\n", 0.0, info=info), Step("", "b", 0.0, info=info | {"outcome": "wrong"})
    section, _ = gallery([read_log(Read(episode("t", *steps), [StepReading(), StepReading()]))], 1)
    first, second = section.episodes[0].steps
    assert [(other.action, other.chosen) for other in first.alternatives] == [("a\nb", True), ("a\nc", False), ("c", False)]
    assert second.alternatives == []


def test_shades_grow_with_the_change_up_to_the_scale() -> None:
    assert shade(0.1, 0.2) == "rgba(0, 114, 178, 0.38)"
    assert shade(-5.0, 0.2) == "rgba(213, 94, 0, 0.75)"
    assert shade(None, 0.2) == "transparent"


def test_the_line_of_v_stays_in_its_box() -> None:
    assert polyline([0.0, 1.0, 7.0]) == "0.0,23.0 50.0,1.0 100.0,1.0"
    assert polyline([0.5]) == ""


def test_an_episode_without_values_is_shown_as_it_is() -> None:
    plain = Read(episode("t", "say\n", solved=True), [StepReading()])
    section, _ = gallery([read_log(plain)], 1)
    (shown,) = section.episodes
    assert [token.text for token in shown.steps[0].tokens] == ["say↵\n"]
    assert (shown.steps[0].value, shown.line) == (None, "")
