"""The command line and the pipeline, end to end on a model of a few thousand parameters."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from algorithms import kto, oreo, sft
from algorithms.evaluation import evaluation_rows
from algorithms.job import parse
from algorithms.presets import TRAINING, WORK
from rollouts.trajectory import read

ROOT = Path(__file__).parents[2]
SMALL = [
    "--demos",
    "24",
    "--tasks",
    "12",
    "--samples",
    "2",
    "--eval-tasks",
    "8",
    "--sft.epochs",
    "2",
    "--epochs",
    "1",
    "--tracker",
    "none",
]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *args], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A whole run on maths, and what it printed."""
    out = tmp_path_factory.mktemp("run") / "math"
    done = run("algorithms.oreo", "--env", "math", "--out", str(out), *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def test_every_stage_leaves_its_result(finished: tuple[Path, str]) -> None:
    out, printed = finished
    for stage in ("demonstrations", "sft", "rollouts", "oreo", "evaluation"):
        assert f"{stage}: " in printed
    assert len(read(out / "demos.jsonl").trajectories) == 24
    rollouts = read(out / "rollouts.jsonl")
    assert len(rollouts.trajectories) == 24
    assert len({t.task for t in rollouts.trajectories}) == 12
    assert all(t.agent == "sft" for t in rollouts.trajectories)
    assert json.loads((out / "config.json").read_text())["checkpoint"] == "oreo"
    results = json.loads((out / "results.json").read_text())
    trained = {(model, split) for model in ("sft", "oreo") for split in ("train", "held out", "held out, sampled")}
    assert {(row["model"], row["split"]) for row in results["rows"]} == trained | {
        ("init", "held out"),
        ("oreo", "held out, beam of 3"),
    }
    assert all(row["episodes"] == 8 for row in results["rows"])


def test_held_out_tasks_are_not_training_tasks(finished: tuple[Path, str]) -> None:
    out, _ = finished
    trained = {t.steps[0].observation for t in read(out / "demos.jsonl").trajectories}
    held_out = {t.steps[0].observation for t in read(out / "evaluation" / "oreo-held-out.jsonl").trajectories}
    assert not trained & held_out


def test_the_same_command_again_does_nothing_twice(finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = {path: path.read_bytes() for path in out.rglob("*.jsonl")}
    done = run("algorithms.oreo", "--env", "math", "--out", str(out), *SMALL)
    assert done.returncode == 0, done.stdout
    assert "done before" in done.stdout
    assert {path: path.read_bytes() for path in out.rglob("*.jsonl")} == before


def test_other_settings_in_the_same_folder_are_refused(finished: tuple[Path, str]) -> None:
    out, _ = finished
    done = run("algorithms.oreo", "--env", "math", "--out", str(out), *SMALL, "--beta", "0.5")
    assert done.returncode == 2
    assert "other settings (settings.beta 0.03 there, 0.5 asked for)" in done.stdout


def test_a_value_at_a_cut_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    done = run("algorithms.dpo", "--env", "math", "--out", str(tmp_path / "run"), *SMALL, "--truncated", "bootstrap")
    assert done.returncode == 2
    assert "dpo has no critic, and --truncated bootstrap reads V wherever a limit cuts" in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_run_is_evaluated_by_its_folder(finished: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = finished
    result = tmp_path / "result.json"
    done = run("rollouts.evaluate", str(out), "--env", "math", "--split", "test", "--episodes", "6", "--json", str(result))
    assert done.returncode == 0, done.stdout
    found = json.loads(result.read_text())
    assert found["episodes"] == 6
    assert 0 <= found["low"] <= found["success"] <= found["high"] <= 1


def test_a_given_log_and_model_train_the_learner_alone(finished: tuple[Path, str], tmp_path: Path) -> None:
    """From the demonstrations, as all of them are solved; every level, the shared critic, and LoRA with its own critic."""
    out, _ = finished
    given = ["--env", "math", "--data", str(out / "demos.jsonl"), "--model", str(out / "sft"), "--tracker", "none"]
    for index, extra in enumerate(
        (["--level", "step", "--critic", "shared", "--rank", "0"], ["--level", "response", "--critic", "lora", "--rank", "2"])
    ):
        done = run("algorithms.oreo", *given, *extra, "--out", str(tmp_path / str(index)))
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / str(index) / "oreo" / "value_head.safetensors").is_file()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "none.jsonl"], "no log at none.jsonl"),
        (["--model", "no/such/model", "--data", "{demos}"], "no model at 'no/such/model'"),
        (["--preset", "huge"], "unknown preset 'huge'"),
        (["--env-args", "difficulty=0"], "difficulty"),
        (["--env", "alfworld", "--data", "{demos}"], "was played in MathReason-v0, not in alfworld: give --env math"),
    ],
)
def test_bad_input(finished: tuple[Path, str], tmp_path: Path, args: list[str], message: str) -> None:
    given = [arg.format(demos=finished[0] / "demos.jsonl") for arg in args]
    done = run("algorithms.oreo", "--env", "math", "--out", str(tmp_path / "x"), *given)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_presets_choose_the_defaults_and_flags_override_them() -> None:
    tiny, lora, paper = (
        parse(oreo.METHOD, args) for args in ([], ["--model", "x"], ["--preset", "paper", "--batch", "4", "--beta", "0.1"])
    )
    assert (tiny.training.critic, lora.training.critic) == ("separate", "lora")
    assert (paper.training.lr, paper.training.batch, paper.settings.beta) == (5e-6, 4, 0.1)
    assert parse(sft.METHOD, ["--preset", "paper"]).training.lr == 2e-5
    twice = parse(oreo.METHOD, ["--env", "math", "--env=alfworld"])
    assert (twice.env, twice.training.batch, twice.demos) == ("alfworld", 32, 2500)


@pytest.mark.parametrize("preset", ["tiny", "tiny-alfworld", "paper", "lora"])
def test_every_learner_has_its_own_settings_in_every_preset(preset: str) -> None:
    assert set(TRAINING[preset]) == {"sft", "rejection", "oreo", "dqo", "dro", "dpo", "step_dpo", "kto", "dvo"}


def test_what_was_trained_from_scratch_goes_on_with_the_preset_for_it(finished: tuple[Path, str]) -> None:
    for model in (finished[0], finished[0] / "sft", finished[0] / "init"):
        assert parse(kto.METHOD, ["--model", str(model)]).training == TRAINING["tiny"]["kto"]
    assert parse(kto.METHOD, ["--model", "some/hub-id"]).training == TRAINING["lora"]["kto"]


@pytest.mark.parametrize("env", ["alfworld", "AlfWorld-v0"])
def test_a_preset_may_have_settings_of_an_environment(env: str) -> None:
    args = parse(oreo.METHOD, ["--env", env])
    assert (args.training, args.sft) == (TRAINING["tiny-alfworld"]["oreo"], TRAINING["tiny-alfworld"]["sft"])
    assert parse(oreo.METHOD, ["--env", env, "--preset", "paper"]).training == TRAINING["paper"]["oreo"]


def test_the_search_of_trees_has_the_environments_defaults_and_flags_of_its_own() -> None:
    found = parse(oreo.METHOD, ["--env", "alfworld", "--search.iterations", "3"]).search
    assert found == replace(WORK["alfworld"].search, iterations=3)


def test_a_search_is_not_the_business_of_a_learner_with_a_log(finished: tuple[Path, str], tmp_path: Path) -> None:
    given = ["--env", "math", "--data", str(finished[0] / "demos.jsonl"), "--search.iterations", "3", "--out", str(tmp_path)]
    done = run("algorithms.dvo", *given)
    assert done.returncode == 2
    assert "--search: the whole pipeline's" in done.stdout


def test_every_split_that_is_held_out_has_rows_of_its_own() -> None:
    work = replace(WORK["alfworld"], env_args={"games": "generated"})
    rows = {name: (args["split"], temperature) for name, (args, temperature) in evaluation_rows("alfworld", work).items()}
    assert rows == {
        "valid_seen": ("valid_seen", 0.0),
        "valid_unseen": ("valid_unseen", 0.0),
        "valid_seen, sampled": ("valid_seen", 1.0),
        "valid_unseen, sampled": ("valid_unseen", 1.0),
    }
