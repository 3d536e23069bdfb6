"""Two logs of the same tasks, compared by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rollouts.compare import Args, Divergence, compare, main
from rollouts.estimates import mcnemar
from rollouts.stats import task_group
from rollouts.trajectory import End, Header, LogWriter, Step, Trajectory


def episode(task: str, *actions: str, solved: bool = False, seed: int = 0) -> Trajectory:
    steps = tuple(Step("o", action, float(solved and i + 1 == len(actions))) for i, action in enumerate(actions))
    return Trajectory("MathReason-v0", task, seed, steps, End.TERMINATED, "a")


def log(path: Path, *episodes: Trajectory) -> Path:
    with LogWriter(path, Header("MathReason-v0", "a")) as writer:
        writer.append(*episodes)
    return path


def test_gained_and_lost_tasks_with_their_first_difference(tmp_path: Path) -> None:
    """Of x/1 to x/4 and y/1 the second agent gains x/2 and x/3 and loses y/1; z is in one log only."""
    before = [
        episode("x/1", "a", "b", solved=True),
        episode("x/2", "a", "b"),
        episode("x/3", "a"),
        episode("x/4", "a"),
        episode("y/1", "a", solved=True),
    ]
    after = [
        episode("y/1", "a", "c"),
        episode("x/2", "a", "c", solved=True),
        episode("x/3", "a", "b", solved=True),
        episode("x/1", "a", solved=True),
        episode("x/4", "q"),
        episode("z/1", "a", solved=True),
    ]
    found = compare(log(tmp_path / "a.jsonl", *before), log(tmp_path / "b.jsonl", *after))
    assert (found.before, found.after, found.episodes, found.tasks) == (0.4, 0.6, 5, 5)
    assert found.gained == [Divergence("x/2", 0, 2, "b", "c"), Divergence("x/3", 0, 2, None, "b")]
    assert found.lost == [Divergence("y/1", 0, 2, None, "c")]
    assert found.groups == {"x": (4, 2, 0), "y": (1, 0, 1)}
    assert found.p == mcnemar(2, 1)
    assert found.low < found.difference < found.high


def test_samples_of_a_task_are_no_independent_pairs(tmp_path: Path) -> None:
    """Two tasks, in one of which all four samples are gained: the interval goes over tasks, from 0 to 1."""
    before = [episode(task, "a", seed=seed) for task in ("x", "y") for seed in range(4)]
    after = [episode(task, "b", seed=seed, solved=task == "x") for task in ("x", "y") for seed in range(4)]
    found = compare(log(tmp_path / "a.jsonl", *before), log(tmp_path / "b.jsonl", *after))
    assert found.p is None
    assert (found.difference, found.low, found.high) == (0.5, 0.0, 1.0)


def test_nothing_in_common(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="share no"):
        compare(log(tmp_path / "a.jsonl", episode("x", "a")), log(tmp_path / "b.jsonl", episode("y", "a")))


def test_the_command_says_and_writes_it(tmp_path: Path) -> None:
    one, two = log(tmp_path / "a.jsonl", episode("x", "first")), log(tmp_path / "b.jsonl", episode("x", "second", solved=True))
    done = subprocess.run([sys.executable, "-m", "rollouts.compare", one, two], capture_output=True, text=True)
    assert done.returncode == 0
    assert "gained: 1 of 1" in done.stdout and "second" in done.stdout
    main(Args(one, two, json=tmp_path / "found.json"))
    assert json.loads((tmp_path / "found.json").read_text())["difference"] == 1


def test_the_kind_of_a_task() -> None:
    assert task_group("AlfWorld-v0", "look_at_obj_in_light-Mug-None-DeskLamp-308/trial_T2019") == "look_at_obj_in_light"
    assert task_group("MathReason-v0", "arithmetic-d2/train/000012") == "arithmetic-d2/train"
    assert task_group("MathReason-v0", "seed-3") == ""
