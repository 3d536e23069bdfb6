"""Learning curves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.report.chart import Line
from rollouts.report.inputs import Stage
from rollouts.report.learning import learning, panels, smooth


def stage(run: str = "run", name: str = "oreo", steps: int = 3, **values: float) -> Stage:
    return Stage(run, name, [{"step": float(i + 1)} | values for i in range(steps)])


def lines(stages: list[Stage]) -> list[list[str]]:
    return [[mark.label for mark in panel.marks if isinstance(mark, Line) and mark.label] for panel in panels(stages)]


def test_metrics_of_one_unit_lie_in_one_picture() -> None:
    assert lines([stage(loss=1.0, policy_loss=0.5, value_loss=0.5, kl=0.1, log_ratio=0.2)]) == [
        ["policy_loss", "value_loss"],
        ["kl", "log_ratio"],
    ]


def test_a_loss_that_is_nothing_but_itself_is_drawn() -> None:
    assert lines([stage(loss=1.0)]) == [["loss"]]


def test_of_several_runs_each_metric_has_a_picture_and_each_run_a_line() -> None:
    assert lines([stage("a", kl=0.1, log_ratio=0.1), stage("b", kl=0.2, log_ratio=0.1)]) == [["a", "b"], ["a", "b"]]


def test_smoothing_by_hand() -> None:
    """Fifty values have one neighbour on each side, the first and the last none."""
    values = [0.0] * 25 + [3.0] + [0.0] * 24
    assert smooth(values)[23:28] == pytest.approx([0, 1, 1, 1, 0])
    assert smooth([1.0, 2.0]) == [1, 2]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=200))
def test_smoothing_keeps_the_range_and_the_ends(values: list[float]) -> None:
    found = smooth(values)
    assert len(found) == len(values)
    assert found[0] == pytest.approx(values[0], abs=1e-9) and found[-1] == pytest.approx(values[-1], abs=1e-9)
    assert min(values) - 1e-9 <= min(found) and max(found) <= max(values) + 1e-9


def test_the_table_says_where_training_ended() -> None:
    section = learning([stage(steps=2, kl=0.5, tokens=10.0, held_out=0.25)])
    assert section.tables[0].rows == [["run", "oreo", "2", "20", "–", "–", "–", "–", "0.5000", "25.0%"]]


def test_without_runs_the_section_says_what_to_give() -> None:
    assert "run's folder" in learning([]).missing
