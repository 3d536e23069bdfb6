"""Means along episodes, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.estimates import mean_interval
from rollouts.report.along import by_part, by_place, by_steps_left, values_along
from rollouts.report.chart import Line
from tests.rollouts.reported import read, read_log


def same(values: Sequence[float], count: int = 5) -> list[tuple[str, Sequence[float]]]:
    return [(f"t{i}", values) for i in range(count)]


def test_places_are_the_nearest_states() -> None:
    """Three states: 0 to 0.2 of the way is the first, to 0.7 the second, then the third (halves go to the even one)."""
    (line,) = by_place(same([1.0, 2.0, 3.0]), "solved", 0)
    assert list(line.y) == [1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3]
    assert list(line.x) == pytest.approx([k / 10 for k in range(11)])


def test_the_band_is_the_interval_over_tasks() -> None:
    (line,) = by_place([(f"t{i}", [float(i)]) for i in range(6)], "solved", 0)
    assert line.low is not None and line.high is not None
    assert (line.y[0], line.low[0], line.high[0]) == mean_interval(range(6))


def test_few_episodes_make_no_line() -> None:
    assert by_place(same([1.0], 4), "solved", 0) == []


def test_parts_are_means_of_tenths() -> None:
    (line,) = by_part(same([float(i // 2) for i in range(20)]), "solved", 0)
    assert list(line.y) == list(range(10))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_parts_lie_among_the_values(values: list[float]) -> None:
    (line,) = by_part(same(values), "solved", 0)
    assert all(min(values) - 1e-9 <= y <= max(values) + 1e-9 for y in line.y)


def test_steps_to_the_end_are_counted_from_it() -> None:
    """Five episodes of two steps, five of one: one step before the end are ten, two steps before it five."""
    reads = [read(f"a{i}", [0.2, 0.4]) for i in range(5)] + [read(f"b{i}", [0.6]) for i in range(5)]
    (line,) = by_steps_left(reads, "not solved", 1)
    assert list(line.x) == [1, 2]
    assert list(line.y) == pytest.approx([0.5, 0.2])


def test_solved_and_other_episodes_are_two_lines() -> None:
    log = read_log(*(read(f"t{i}", [0.5, 0.9 if i % 2 else 0.1], solved=i % 2 == 1) for i in range(10)))
    panel = values_along([log]).charts[0].panels[0]
    lines = [mark for mark in panel.marks if isinstance(mark, Line)]
    assert [(line.label, line.y[-1]) for line in lines] == [("solved", pytest.approx(0.9)), ("not solved", pytest.approx(0.1))]


def test_the_section_says_how_many_episodes_were_read() -> None:
    log = read_log(*(read(f"t{i}", [0.5]) for i in range(5)))
    assert "5 of 5 episodes of rollouts: the critic oreo" in values_along([log]).lead
