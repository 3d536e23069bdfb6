"""The scripts of `runs/`, with a `python` in their way that only writes down what it was asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import uneven
from benchmarks.ablations import GROUPS, SEARCHES
from benchmarks.compare import MODELS

ROOT = Path(__file__).parents[1]
STUB = """#!/bin/sh
echo "$@" >>"$ASKED"
echo "$OMP_NUM_THREADS $*" >>"$ASKED-threads"
case "$*" in *"$FAILS"*) echo "this one fails" && exit 3 ;; esac
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with the scripts alone."""
    shutil.copytree(ROOT / "runs", tmp_path / "runs")
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    for run in ("math-0", "math-1", "math-2", "alfworld-3"):
        (tmp_path / "out" / run).mkdir(parents=True)
        (tmp_path / "out" / run / "demos.jsonl").write_text("header\n" + "episode\n" * 3001)
    return tmp_path


def run(house: Path, script: str, *args: str, fails: str = "no such words") -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a script from another folder; what it was, and what it asked of python."""
    asked = house / "asked"
    environment = os.environ | {"PATH": f"{house / 'bin'}:{os.environ['PATH']}", "ASKED": str(asked), "FAILS": fails}
    environment["ALFWORLD_DATA"] = str(house)
    environment.pop("OMP_NUM_THREADS", None)
    command = ["bash", f"../runs/{script}", *args, "--out", str(house / "out")]
    done = subprocess.run(command, cwd=house / "docs", env=environment, capture_output=True, text=True)
    return done, asked.read_text().splitlines() if asked.exists() else []


def played_labels(line: str) -> dict[str, str]:
    """Label -> checkpoint of a call of benchmarks.play."""
    return dict(word.split("=") for word in line.split() if "=" in word)


def test_every_learner_is_trained_and_played_for_every_seed(house: Path) -> None:
    done, asked = run(house, "compare.sh", "--env", "math", "--seeds", "0 1")
    assert done.returncode == 0, done.stderr
    for seed in ("0", "1"):
        mine = [line for line in asked if f"/out/math-{seed}" in line]
        learners = {line.split()[1].removeprefix("algorithms.") for line in mine if "-m algorithms." in line}
        assert learners == {"oreo", "rejection", "dpo", "kto", "dro", "dqo", "dvo", "step_dpo"}
        (played,) = [played_labels(line) for line in mine if "-m benchmarks.play" in line]
        assert (house / "out" / f"math-{seed}" / "further.jsonl").read_text() == "header\n" + "episode\n" * 3000
        assert played == {place.partition("/")[0]: place for place in MODELS.values()}
    assert asked[-1] == f"-m benchmarks.compare {house}/out/math-0 {house}/out/math-1"
    assert (house / "docs" / "results" / "compare-math.md").exists()


def test_seeds_share_the_cores_and_one_left_over_has_them_all(house: Path) -> None:
    nproc = house / "bin" / "nproc"
    nproc.write_text("#!/bin/sh\necho 8\n")
    nproc.chmod(0o755)
    done, _ = run(house, "compare.sh", "--env", "math", "--seeds", "0 1 2")
    assert done.returncode == 0, done.stderr
    called = (house / "asked-threads").read_text().splitlines()
    threads = {seed: {line.split()[0] for line in called if f"--out {house}/out/math-{seed}" in line} for seed in range(3)}
    assert threads == {0: {"4"}, 1: {"4"}, 2: {"8"}}


@pytest.mark.parametrize("fails", ["algorithms.dqo", "rollouts.tree", "benchmarks.play"])
def test_what_fails_ends_its_seed_and_leaves_no_table(house: Path, fails: str) -> None:
    done, asked = run(house, "compare.sh", "--env", "alfworld", "--seeds", "3", "--jobs", "1", fails=fails)
    assert done.returncode != 0
    assert "this one fails" in done.stderr
    assert fails in asked[-1]
    assert not list((house / "docs" / "results").iterdir())


def test_a_table_that_fails_leaves_the_one_before(house: Path) -> None:
    table = house / "docs" / "results" / "compare-math.md"
    table.write_text("before")
    done, _ = run(house, "compare.sh", "--env", "math", "--seeds", "0", fails="benchmarks.compare")
    assert done.returncode != 0
    assert table.read_text() == "before"


def test_ablations_want_the_runs_of_the_comparison(house: Path) -> None:
    done, asked = run(house, "ablations.sh", "--env", "math", "--seeds", "0")
    assert done.returncode != 0
    assert "runs/compare.sh --env math makes it" in done.stderr
    assert asked == []


@pytest.mark.parametrize("env", ["math", "alfworld"])
def test_the_ablations_play_what_their_table_shows(house: Path, env: str) -> None:
    (house / "out" / f"{env}-0" / "sft").mkdir(parents=True, exist_ok=True)
    done, asked = run(house, "ablations.sh", "--env", env, "--seeds", "0")
    assert done.returncode == 0, done.stderr
    (played,) = [played_labels(line) for line in asked if "-m benchmarks.play" in line]
    shown = {label for group in (*GROUPS.values(), SEARCHES[env]) for label in group}
    assert shown == set(played) | {"oreo", "dqo", "dvo", "rejection"}  # the comparison played these


def test_uneven_logs_have_one_start_and_play_what_their_table_shows(house: Path) -> None:
    done, asked = run(house, "uneven.sh", "--seeds", "0 1")
    assert done.returncode == 0, done.stderr
    assert sum("-m algorithms.sft" in line for line in asked) == 1
    for seed in ("0", "1"):
        mine = [line for line in asked if f"/out/alfworld-{seed}" in line]
        (played,) = [played_labels(line) for line in mine if "-m benchmarks.play" in line]
        rounds = {label: f"round-{label[-1]}/{name}" for name, labels in uneven.ROUNDS.items() for label in labels[1:]}
        assert played == uneven.PLACES | rounds
        assert {line.split("--json ")[1] for line in mine if "--json" in line} == {
            f"{house}/out/alfworld-{seed}/compare/{split}-{label}.json" for split in uneven.PAPER for label in uneven.CURVES
        }
    assert asked[-1] == f"-m benchmarks.uneven {house}/out/alfworld-0 {house}/out/alfworld-1"


def test_uneven_logs_want_the_official_games(house: Path) -> None:
    done = subprocess.run(
        ["bash", "runs/uneven.sh"], cwd=house, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "ALFWORLD_DATA" in done.stderr


def test_the_published_agent_never_sees_the_tasks_it_is_chosen_on(house: Path) -> None:
    environment = os.environ | {"PATH": f"{house / 'bin'}:{os.environ['PATH']}", "ASKED": str(house / "asked"), "FAILS": "no such"}
    command = ["bash", "runs/alfworld_tiny.sh", "out/tiny"]
    done = subprocess.run(command, cwd=house, env=environment | {"ALFWORLD_DATA": str(house)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = (house / "asked").read_text().splitlines()
    official = [line for line in asked if "rollouts.collect" in line and "games=generated" not in line]
    assert len(official) == 4 and all("--env-args fold=1-19/20 " in line for line in official)
    trained = [line.split("--model ")[1].split()[0] for line in asked if "algorithms.sft" in line]
    assert trained == ["tiny", "out/tiny/sft", "out/tiny/round-1/sft", "out/tiny/round-2/sft"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--env", "chess"], "unknown environment 'chess'"),
        (["--env", "math", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--env", "math", "--seed", "1"], "unknown argument --seed"),
    ],
)
def test_bad_arguments(house: Path, args: list[str], says: str) -> None:
    done, asked = run(house, "compare.sh", *args)
    assert done.returncode == 2
    assert says in done.stderr
    assert asked == []
