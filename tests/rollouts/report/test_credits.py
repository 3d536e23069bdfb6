"""Credits of kinds of steps, by hand."""

from __future__ import annotations

import pytest

from rollouts.estimates import mean_interval
from rollouts.report.credits import by_kind, by_number, credits
from tests.rollouts.reported import read, read_log

READS = [read(f"t{i}", [0.5, 0.75], solved=i < 3, actions=["1 + 1 = 2", f"#### {i}"]) for i in range(6)]
"""Each first step gains 0.25; the last gains 0.25 in three episodes, and loses 0.75 in three."""


def test_the_credit_of_each_kind_of_step() -> None:
    plus, answer = by_kind(READS)
    assert (plus.kind, plus.count, plus.tasks, plus.mean, plus.total) == ("operation +", 6, 6, 0.25, 1.5)
    assert (answer.kind, answer.mean, answer.total, answer.solved) == ("final answer", -0.25, -1.5, 0.5)
    assert (answer.low, answer.high) == mean_interval([0.25] * 3 + [-0.75] * 3)[1:]


def test_the_actions_that_gained_and_lost_most_are_named() -> None:
    reads = [read(f"t{i}", [i / 10], solved=i == 3, actions=[f"#### {i}"]) for i in range(6)]
    (answer,) = by_kind(reads)
    assert (answer.best, answer.worst) == ("#### 3", "#### 5")


def test_kinds_that_are_too_rare_are_left_out() -> None:
    assert by_kind(READS[:4]) == []


def test_steps_by_their_number() -> None:
    assert [(number, mean) for number, mean, _, _ in by_number(READS)] == [(1, 0.25), (2, pytest.approx(-0.25))]


def test_the_picture_has_the_tables_numbers() -> None:
    section = credits([read_log(*READS)])
    (dots,) = section.charts[0].panels[0].marks
    assert list(dots.x) == [0.25, -0.25]
    assert [row[3] for row in section.tables[0].rows] == ["+0.250", "-0.250"]


def test_held_out_episodes_are_not_credited_beside_those_that_were_learnt_from() -> None:
    section = credits([read_log(*READS), read_log(*READS, held_out=True)])
    assert section.tables[0].rows[0][1] == "6"


def test_without_values_the_section_says_what_to_give() -> None:
    assert "--critic" in credits([]).missing
