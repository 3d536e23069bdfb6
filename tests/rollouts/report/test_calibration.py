"""Calibration and agreement, by hand."""

from __future__ import annotations

import pytest

from rollouts.reading import StepReading
from rollouts.report.calibration import agreement, calibration, quality_at, reliable
from rollouts.report.readings import Read
from rollouts.stats import wilson
from tests.rollouts.reported import episode, read, read_log

READS = [read("a", [0.5, 0.9], True), read("a", [0.5, 0.2]), read("b", [0.5, 0.7], True), read("b", [0.5, 0.8])]


def test_the_quality_of_v_before_the_last_step() -> None:
    """Errors 0.1, 0.2, 0.3, 0.8; V orders three of four pairs of a solved and another episode right, one of two within tasks."""
    found = quality_at(READS, -1)
    assert (found.steps, found.success) == (4, 0.5)
    assert found.brier.value == pytest.approx((0.01 + 0.04 + 0.09 + 0.64) / 4)
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.3 + 0.8) / 4)
    assert (found.auc.value, found.within.value, found.constant) == (0.75, 0.5, 0.25)


def test_the_first_step_is_judged_apart() -> None:
    assert quality_at(READS, 0).mean == 0.5
    assert quality_at(READS, 0).ece == 0


def test_the_picture_has_the_bins() -> None:
    first, last = calibration([read_log(*READS)]).charts[0].panels[0].marks
    assert (list(first.x), list(first.y)) == ([0.5], [0.5])
    assert list(last.y) == [0, 1, 0, 1]


def test_samples_of_one_task_in_a_bin_are_not_so_many_episodes() -> None:
    """Eight samples of one task are all solved, eight of another none: 0.25 * 16^2 / ((4^2 + 4^2) * 2 / 1) = 1 effective one."""
    reads = [read(task, [0.5], solved) for task, solved in (("a", True), ("b", False)) for _ in range(8)]
    found = reliable("V", reads, 0, 0)
    assert (found.low[0], found.high[0]) == pytest.approx(wilson(0.5, 1))


def test_an_episode_whose_first_states_have_no_value_is_judged_by_the_next() -> None:
    late = Read(episode("c", "x", "y", "z"), [StepReading(), StepReading(value=0.3), StepReading(value=0.6)])
    assert quality_at([*READS, late], 0).mean == pytest.approx((4 * 0.5 + 0.3) / 5)


def implied(task: str, solved: bool, *steps: tuple[float, float]) -> Read:
    readings = [StepReading(value=0.5, advantage=a, log_ratios=(r,)) for a, r in steps]
    return Read(episode(task, *["x"] * len(steps), solved=solved), readings)


def test_the_last_step_is_no_part_of_the_agreement() -> None:
    log = read_log(implied("t", False, (0.1, 2.0), (0.3, 4.0), (9.0, 9.0)), beta=0.5)
    cloud = agreement([log]).charts[0].panels[0].marks[0]
    assert (list(cloud.x), list(cloud.y), cloud.label) == ([0.1, 0.3], [1.0, 2.0], "not solved")


def test_without_a_reference_the_section_says_what_to_give() -> None:
    assert "--reference" in agreement([read_log(*READS, beta=0.03)]).missing


def test_episodes_of_one_step_have_nothing_to_agree_on() -> None:
    assert agreement([read_log(implied("t", True, (0.1, 2.0)), beta=0.5)]).missing


def test_the_table_says_how_far_the_two_agree() -> None:
    """Of (explicit, implicit) (0.1, 1) and (-0.3, 2) the correlation is -1, and half have one sign. Within the task the implicit
    one is higher in the unsolved episode, the explicit one lower."""
    section = agreement(
        [read_log(implied("t", True, (0.1, 2.0), (0.0, 0.0)), implied("t", False, (-0.3, 4.0), (0.0, 0.0)), beta=0.5)]
    )
    name, steps, beta, *measured = section.tables[0].rows[0]
    assert (name, steps, beta) == ("rollouts", "2", "0.500")
    assert [float(each.partition(" ")[0]) for each in measured] == [-1, -1, 0.5, 1, 0]
