"""What is found at the paths that a report is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollouts.budgets import Point
from rollouts.json_file import write_json
from rollouts.report.inputs import CurvePoint, Curves, distinct, gather, read_curves, read_metrics
from rollouts.scores import Estimate
from rollouts.trajectory import LogError
from tests.rollouts.reported import episode, log

POINT = {"search": "beam", "budget": 4, "success": 0.5, "low": 0.4, "high": 0.6, "tokens": 100.5}


def run_directory(path: Path) -> Path:
    log(path / "demos.jsonl", episode("a", "x"))
    log(path / "rollouts.jsonl", episode("a", "x"))
    log(path / "evaluation" / "sft-test.jsonl", episode("b", "x"))
    (path / "sft-metrics.jsonl").write_text('{"step": 1, "nll": 2.0}\n')
    return path


def test_a_run_directory_has_its_logs_and_its_trainings(tmp_path: Path) -> None:
    found = gather([run_directory(tmp_path / "run")])
    (run,) = found.runs
    assert [(each.name, each.evaluation) for each in found.logs] == [("demos", False), ("rollouts", False), ("sft-test", True)]
    assert [(stage.name, stage.column("nll")) for stage in run.stages] == [("sft", ([1.0], [2.0]))]
    assert run.main_log() is found.logs[1]


def test_logs_of_several_runs_are_named_after_them(tmp_path: Path) -> None:
    found = gather([run_directory(tmp_path / "a" / "run"), run_directory(tmp_path / "b" / "run")])
    assert [each.name for each in found.logs if each.evaluation] == ["a/run/sft-test", "b/run/sft-test"]


def test_names_are_as_short_as_tells_them_apart() -> None:
    paths = [Path("/x/a/log.jsonl"), Path("/x/b/log.jsonl"), Path("/x/b/other.jsonl.zst")]
    assert distinct(paths) == ["a/log", "b/log", "other"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing at .*missing"):
        gather([tmp_path / "missing"])


def test_a_folder_of_other_things_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="no run directory"):
        gather([tmp_path])


def test_a_checkpoint_is_no_run_and_says_where_one_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": "reasoning-checkpoint", "version": 1}')
    with pytest.raises(ValueError, match="is a checkpoint: give the folder that it lies in"):
        gather([tmp_path])


def test_metrics_keep_finite_numbers(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1, "loss": 2, "name": "x", "flag": true, "bad": NaN}\n')
    assert read_metrics(path) == [{"step": 1.0, "loss": 2.0}]


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    assert len(read_metrics(path)) == 1


@pytest.mark.parametrize("line", ["{", "[1]", '{"loss": 1}', "null"])
def test_a_broken_line_of_metrics_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(LogError, match=r"m\.jsonl:2"):
        read_metrics(path)


def test_curves_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"curves": [POINT, POINT | {"tokens": None}]}))
    found = read_curves(path, "c")
    assert found is not None
    assert found.points == [CurvePoint("beam", 4, 0.5, 0.4, 0.6, 100.5), CurvePoint("beam", 4, 0.5, 0.4, 0.6, None)]


@pytest.mark.parametrize(
    "entry", [{k: v for k, v in POINT.items() if k != "low"}, POINT | {"success": "x"}, 3, POINT | {"high": None}]
)
def test_a_curve_that_lacks_a_number_is_refused(tmp_path: Path, entry: Any) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"curves": [entry]}))
    with pytest.raises(ValueError, match="every entry of curves"):
        read_curves(path, "c")


def test_a_json_file_without_curves_is_refused_where_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"success": 1}')
    with pytest.raises(ValueError, match='has no "curves"'):
        gather([path])


def test_a_runs_evaluations_without_curves_are_passed_over(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "run")
    (run / "evaluation" / "plain.json").write_text('{"success": 1}')
    (run / "evaluation" / "budgets.json").write_text(json.dumps({"curves": [POINT]}))
    assert [curves.name for curves in gather([run]).curves] == ["run/budgets"]


def test_what_was_asked_for_stands_beside_the_curves(tmp_path: Path) -> None:
    """As python -m rollouts.evaluate --curve writes it."""
    path = tmp_path / "c.json"
    point = Point("best-action", 2, Estimate(0.2, 0.1, 0.3), Estimate(0.1, 0.0, 0.2), 143.5)
    asked = {"agent": "out/run/sft", "env": "alfworld", "env_args": {"split": "valid_unseen"}, "sampling": {"width": 2}, "seed": 0}
    write_json(path, {"curves": [point.to_json()]} | asked)
    found = read_curves(path, "c")
    assert found == Curves(
        "c",
        [CurvePoint("best-action", 2, 0.2, 0.1, 0.3, 143.5)],
        "alfworld",
        "sft",
        {"split": "valid_unseen"},
        {"width": 2},
    )


def test_a_file_that_is_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = log(tmp_path / "log.jsonl", episode("t", "x"))
    with pytest.raises(ValueError, match=r"log\.jsonl is given twice"):
        gather([path, Path("log.jsonl")])
