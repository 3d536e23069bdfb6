"""Rounds, warm starts, trees and validation, on a model that knows its few training tasks almost by heart."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agents.mcts import Search
from agents.tiny import TinyConfig
from algorithms import dqo, dvo, oreo, sft
from algorithms.method import Method
from algorithms.pipeline import Pipeline, claim
from algorithms.presets import WORK
from algorithms.train import Start, held_out_tasks, train_on_log
from algorithms.training import Training
from algorithms.validation import Validation
from rollouts.trajectory import read

SMALL = replace(
    WORK["math"],
    demos=12,
    tasks=12,
    samples=2,
    eval_tasks=4,
    tree_tasks=6,
    action_tokens=64,
    env_args={"difficulty": 1},
    search=Search(iterations=3, breadth=4),
    tiny=TinyConfig(width=64, layers=2, heads=4, init=0.07),
)


def pipeline(method: Method, out: Path, **settings: Any) -> Pipeline:
    """All stages in seconds."""
    trainings = {
        "sft": Training(lr=1e-2, epochs=40, batch=6, tracker="none"),
        method.name: Training(lr=1e-4, critic_lr=1e-3, batch=12, tracker="none"),
    }
    return Pipeline(method, method.config(), trainings, "math", SMALL, "tiny", out, **settings)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round."""
    out = tmp_path_factory.mktemp("run") / "math"
    pipeline(oreo.METHOD, out).run()
    return out


def meta(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return json.loads((folder / "config.json").read_text())


def test_more_rounds_go_on_with_a_finished_run(first: Path) -> None:
    """The second round plays the first one's model, and starts, reference and all, from it."""
    before = (first / "oreo" / "policy" / "model.safetensors").read_bytes()
    results = pipeline(oreo.METHOD, first, rounds=2).run()
    assert (first / "oreo" / "policy" / "model.safetensors").read_bytes() == before
    played = read(first / "rollouts-2.jsonl").trajectories
    assert len(played) == 24
    assert not {t.seed for t in played} & {t.seed for t in read(first / "rollouts.jsonl").trajectories}  # drawn anew
    assert {episode.agent for episode in played} == {"oreo"}
    assert all(step.logps is not None for episode in played for step in episode.steps)
    assert Path(meta(first / "oreo-2")["started_from"]) == first / "oreo"
    assert Path(meta(first / "oreo-2")["reference"]) == first / "oreo"
    assert {row["model"] for row in results["rows"]} == {"init", "sft", "oreo", "oreo-2"}
    assert meta(first)["checkpoint"] == "oreo-2"


def test_a_model_with_a_critic_also_searches(first: Path) -> None:
    """In the last row, on the tasks of the sampled one; what was tried is in the log."""
    rows = json.loads((first / "results.json").read_text())["rows"]
    (searched,) = [row["model"] for row in rows if row["split"] == "held out, beam of 3"]
    assert searched == rows[-1]["model"] == meta(first)["checkpoint"]
    logs = [read(first / "evaluation" / f"oreo-held-out-{name}.jsonl") for name in ("sampled", "beam-of-3")]
    assert {t.task for t in logs[0].trajectories} == {t.task for t in logs[1].trajectories}
    assert all(t.steps[0].info["search"]["candidates"] for t in logs[1].trajectories)


def test_a_run_of_a_version_with_fewer_settings_goes_on(tmp_path: Path) -> None:
    """What it did not have yet, it had at the default; and no other value is taken for it."""
    asked = {"training": {"sft": {"lr": 1.0, "pack": 0}}}
    claim(tmp_path, {"training": {"sft": {"lr": 1.0}}}, {})
    claim(tmp_path, asked, {}, defaults=asked)
    for differs in ({"lr": 1.0, "pack": 64}, {"lr": 2.0, "pack": 0}):
        claim(tmp_path / str(differs), {"training": {"sft": {"lr": 1.0}}}, {})
        with pytest.raises(ValueError, match=r"training.sft.(pack 0|lr 1.0) there, (64|2.0) asked for"):
            claim(tmp_path / str(differs), {"training": {"sft": differs}}, {}, defaults=asked)


def test_the_first_round_s_reference_can_be_kept(tmp_path: Path) -> None:
    """The KL to the SFT model is above 0 at the second round's first step, where the critic goes on from the first round's."""
    out = tmp_path / "run"
    pipeline(oreo.METHOD, out, rounds=2, keep_reference=True).run()
    assert Path(meta(out / "oreo-2")["reference"]) == out / "sft"
    start = [json.loads((out / f"{name}-metrics.jsonl").read_text().splitlines()[0]) for name in ("oreo", "oreo-2")]
    assert start[0]["kl"] == pytest.approx(0, abs=1e-7)  # the reference was asked in other batches
    assert start[0]["value"] == 0.0
    assert start[1]["kl"] > 0.0
    assert start[1]["value"] != 0.0


def test_a_learner_of_credits_is_given_trees(tmp_path: Path) -> None:
    pipeline(dvo.METHOD, tmp_path / "run", rounds=2).run()
    seeds = []
    for name in ("tree", "tree-2"):
        paths = read(tmp_path / "run" / f"{name}.jsonl")
        search = paths.headers[0].search
        assert search is not None and search["iterations"] == 3
        assert paths.trajectories and all(step.target is not None for path in paths.trajectories for step in path.steps)
        seeds.append(search["seed"])
    assert seeds == [0, 1000]
    assert meta(tmp_path / "run")["checkpoint"] == "dvo-2"


def test_rounds_need_something_to_collect_with(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 for sft on demonstrations: got 2"):
        pipeline(sft.METHOD, tmp_path / "run", rounds=2).run()
    assert not (tmp_path / "run").exists()


def test_a_critic_and_a_reference_of_other_runs(first: Path, tmp_path: Path) -> None:
    """DQO and the like start from OREO's critic: V is not 0 at the first step."""
    start = Start(str(first / "sft"), reference=str(first / "init"), critic=str(first / "oreo"))
    training = Training(tracker="none")
    train_on_log(oreo.METHOD, oreo.Config(), training, first / "rollouts.jsonl", start, tmp_path / "warm", 0)
    metrics = json.loads((tmp_path / "warm-metrics.jsonl").read_text().splitlines()[0])
    assert metrics["value"] != 0.0
    assert metrics["log_ratio"] > 0.0  # what SFT has learnt since init
    assert Path(meta(tmp_path / "warm")["reference"]) == first / "init"


def test_weights_are_exactly_one_where_the_start_played_the_log(first: Path, tmp_path: Path) -> None:
    """And not where another model did: there mu is what was logged."""
    training = Training(tracker="none")
    for model in ("sft", "init"):
        start, out = Start(str(first / model)), tmp_path / model
        train_on_log(dqo.METHOD, dqo.Config(), training, first / "rollouts.jsonl", start, out, 0)
    weights = [json.loads((tmp_path / f"{model}-metrics.jsonl").read_text())["weight"] for model in ("sft", "init")]
    assert weights[0] == 1.0
    assert weights[1] < 0.5


def test_a_critic_with_another_tokenizer_is_refused(first: Path, tmp_path: Path) -> None:
    start = Start("tiny", critic=str(first / "oreo"))
    with pytest.raises(ValueError, match="another tokenizer"):
        train_on_log(oreo.METHOD, oreo.Config(), Training(), first / "demos.jsonl", start, tmp_path / "x", 0, TinyConfig(vocab=300))
    assert not (tmp_path / "x").exists()


def test_a_run_with_validation_says_how_well_its_model_did(first: Path, tmp_path: Path) -> None:
    start = Start(str(first / "sft"))
    training = Training(lr=1e-4, critic_lr=1e-3, batch=6, tracker="none")
    held_out = partial(held_out_tasks, Validation(every=2, tasks=6), "math", SMALL, 0)
    train_on_log(oreo.METHOD, oreo.Config(), training, first / "rollouts.jsonl", start, tmp_path / "oreo", 0, held_out=held_out)
    logged = [json.loads(line).get("held_out") for line in (tmp_path / "oreo-metrics.jsonl").read_text().splitlines()]
    assert [number for number, score in enumerate(logged, 1) if score is not None] == [2, 4]
    assert meta(tmp_path / "oreo")["held_out_success"] >= max(score for score in logged if score is not None)
