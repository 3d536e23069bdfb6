"""Success, differences, and means over runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollouts.report.chart import Dots
from rollouts.report.facts import Facts, facts_of
from rollouts.report.inputs import Inputs, gather
from rollouts.report.results import over_runs, pairs_of, results
from tests.rollouts.reported import episode, log


def evaluation(path: Path, model: str, solved: int, temperature: float = 0.0) -> None:
    """Of four tasks the first `solved` are."""
    ending = "-sampled" if temperature else ""
    played = [episode(f"x/{i}", model, solved=i < solved) for i in range(4)]
    log(path / "evaluation" / f"{model}-test{ending}.jsonl", *played, agent=model, sampling={"temperature": temperature})


def run(path: Path, sft: int, oreo: int) -> Path:
    evaluation(path, "init", 0)
    evaluation(path, "oreo", oreo)
    evaluation(path, "sft", sft)
    (path / "sft-metrics.jsonl").write_text('{"step": 1}\n')
    (path / "oreo-metrics.jsonl").write_text('{"step": 1}\n')
    (path / "oreo").mkdir()
    meta = '{"format": "reasoning-checkpoint", "version": 1, "critic": "separate", "started_from": "/gone/sft"}'
    (path / "oreo" / "config.json").write_text(meta)
    return path


def read(*paths: Path) -> tuple[Inputs, list[Facts]]:
    given = gather(paths)
    return given, [facts_of(each, 10) for each in given.logs]


def test_a_run_is_compared_with_the_model_that_training_started_from(tmp_path: Path) -> None:
    """Not with the untrained one; oreo solves one of four tasks more."""
    (pair,) = pairs_of(*read(run(tmp_path / "run", sft=2, oreo=3)))
    assert (pair.before.name, pair.after.name, pair.found.difference) == ("sft-test", "oreo-test", 0.25)
    assert pair.label == "oreo − sft, test"


def test_greedy_and_sampled_episodes_are_not_compared(tmp_path: Path) -> None:
    path = run(tmp_path / "run", sft=2, oreo=3)
    evaluation(path, "oreo", 1, temperature=1.0)
    assert [pair.label for pair in pairs_of(*read(path))] == ["oreo − sft, test"]


def test_logs_by_themselves_are_compared_with_the_first_that_shares_their_tasks(tmp_path: Path) -> None:
    one = log(tmp_path / "one.jsonl", episode("x", "a"))
    other = log(tmp_path / "other.jsonl", episode("y", "a"))
    two = log(tmp_path / "two.jsonl", episode("x", "a", solved=True))
    (pair,) = pairs_of(*read(one, other, two))
    assert (pair.before.name, pair.after.name) == ("one", "two")


def test_logs_of_other_seeds_are_not_compared(tmp_path: Path) -> None:
    one, two = log(tmp_path / "one.jsonl", episode("x", "a")), log(tmp_path / "two.jsonl", episode("x", "a", seed=1))
    assert pairs_of(*read(one, two)) == []


def test_the_mean_over_runs_by_hand(tmp_path: Path) -> None:
    """Success of oreo 3/4 and 1/4: mean 1/2, error 1/4, t with one degree of freedom 12.706. Its gains are 1/4 and -1/4."""
    given = read(run(tmp_path / "a", sft=2, oreo=3), run(tmp_path / "b", sft=2, oreo=1))
    found = {each.name: each for each in over_runs(*given, pairs_of(*given))}
    assert found["oreo-test"].mean == 0.5
    assert found["oreo-test"].high == pytest.approx(0.5 + 12.706 / 4)
    assert (found["oreo − sft, test"].mean, found["oreo − sft, test"].difference) == (0, True)


def test_the_picture_of_success_has_each_logs_interval(tmp_path: Path) -> None:
    given, facts = read(run(tmp_path / "run", sft=2, oreo=3))
    panel = results(given, facts, []).charts[0].panels[0]
    (dots,) = panel.marks
    assert isinstance(dots, Dots)
    assert dict(zip(panel.categories, dots.x, strict=True)) == {"init-test": 0, "oreo-test": 0.75, "sft-test": 0.5}
    assert all(low <= x <= high for low, x, high in zip(dots.low, dots.x, dots.high, strict=True))


def test_kinds_of_tasks_are_drawn_where_there_are_several(tmp_path: Path) -> None:
    path = log(tmp_path / "one.jsonl", episode("x/1", "a", solved=True), episode("y/1", "a"), episode("y/2", "a", solved=True))
    panel = results(*read(path), []).charts[1].panels[0]
    (dots,) = panel.marks
    assert list(panel.categories) == ["x (1)", "y (2)"]
    assert list(dots.x) == [1, 0.5]


def test_without_logs_the_section_says_what_to_give() -> None:
    assert "Give a log" in results(Inputs([], [], []), [], []).missing
