from __future__ import annotations

import pytest

from benchmarks.compare import against, success_row


def test_gains_are_paired_by_task_and_by_run() -> None:
    """Tasks' means over runs 1, 1/3: mean 2/3, sd 0.4714, half 1.96 * 0.4714 / sqrt 2 = 0.653.

    Gains of the runs 0, 1/2, 1: mean 1/2, half 4.303 * 0.5 / sqrt 3 = 1.242. Gains of the tasks 2/3 and 1/3: sd 0.2357, half 0.327.
    """
    start = [{"a": True, "b": False}, {"a": False, "b": False}, {"a": False, "b": False}]
    found = [{"a": True, "b": False}, {"a": True, "b": False}, {"a": True, "b": True}]
    cells = [cell.strip() for cell in success_row("oreo", found, start).split("|")[1:-1]]
    assert cells == ["oreo", "66.7%", "[1.3%, 132.0%]", "+50.0% [+17.3%, +82.7%]", "[-74.2%, +174.2%]"]


def test_what_true_outcomes_are_worth_against_dealt_ones() -> None:
    """Tasks' gains 1 and 0: mean 1/2, sd 0.7071, half 1.96 * 0.7071 / sqrt 2 = 0.98."""
    said = against("oreo", "dealt", [{"a": True, "b": False}], [{"a": False, "b": False}])
    assert said == "True against dealt outcomes, oreo minus dealt: +50.0% [-48.0%, +148.0%]."


def test_another_set_of_tasks_is_an_unfinished_study() -> None:
    with pytest.raises(SystemExit, match="not finished"):
        success_row("oreo", [{"a": True}], [{"b": True}])
