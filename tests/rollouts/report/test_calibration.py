"""Calibration and agreement, by hand."""

from __future__ import annotations

import math

import pytest

from rollouts.reading import StepReading
from rollouts.report.calibration import agreement, calibration, correlation, pairs, quality
from rollouts.report.readings import Read
from tests.rollouts.reported import episode, read, read_log

READS = [read("a", [0.5, 0.9], True), read("a", [0.5, 0.2]), read("b", [0.5, 0.7], True), read("b", [0.5, 0.8])]


def test_the_quality_of_v_before_the_last_step() -> None:
    """Errors 0.1, 0.2, 0.3, 0.8; V orders three of four pairs of a solved and another episode right, one of two within tasks."""
    found = quality(READS, -1)
    assert (found.episodes, found.success) == (4, 0.5)
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.09 + 0.64) / 4)
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.3 + 0.8) / 4)
    assert (found.auc, found.within, found.constant) == (0.75, 0.5, 0.25)


def test_the_first_step_is_judged_apart() -> None:
    assert quality(READS, 0).mean == 0.5
    assert quality(READS, 0).ece == 0


def test_the_picture_has_the_bins() -> None:
    first, last = calibration([read_log(*READS)]).charts[0].panels[0].marks
    assert (list(first.x), list(first.y)) == ([0.5], [0.5])
    assert list(last.y) == [0, 1, 0, 1]


def implied(*steps: tuple[float, float]) -> Read:
    readings = [StepReading(value=0.5, advantage=a, log_ratios=(r,)) for a, r in steps]
    return Read(episode("t", *["x"] * len(steps)), readings)


def test_the_last_step_is_no_part_of_the_agreement() -> None:
    assert list(pairs([implied((0.1, 2.0), (0.3, 4.0), (9.0, 9.0))], 0.5)) == [(0.1, 1.0), (0.3, 2.0)]


def test_correlation_by_hand() -> None:
    assert correlation([(0, 0), (1, 2), (2, 4)]) == pytest.approx(1)
    assert math.isnan(correlation([(0, 1), (1, 1)]))
    assert math.isnan(correlation([(0, 1)]))


def test_without_a_reference_the_section_says_what_to_give() -> None:
    assert "--reference" in agreement([read_log(*READS, beta=0.03)]).missing


def test_the_table_says_how_far_the_two_agree() -> None:
    section = agreement([read_log(implied((0.1, 2.0), (-0.3, 4.0), (0.0, 0.0)), beta=0.5)])
    assert section.tables[0].rows == [["rollouts", "2", "0.500", "-1.000", "0.500"]]
