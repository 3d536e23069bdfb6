from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import OffloadPolicy
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import tiny
from agents.checkpoint import Base, save
from agents.model import ActorCritic
from algorithms.sharding import Sharding, asked, unseen, whole
from tests.algorithms import several

ROOT = Path(__file__).parents[2]


class Trained(NamedTuple):
    """Where the same trainings lie that were done by one process and by two."""

    start: Path
    one: Path
    two: Path


@pytest.fixture(scope="module")
def trained(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("sharding")
    lm = tiny.build(tokenizer, tiny.TinyConfig(width=32, layers=2, heads=2, context=512), seed=3)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.mul_(3.0 if parameter.ndim > 1 else 1.0)
    save(folder / "start", ActorCritic(lm), tokenizer, Base("b", "f"))
    found = Trained(folder / "start", folder / "one", folder / "two")
    with pytest.MonkeyPatch.context() as patch:
        several.in_float64(patch)
        several.train(found.start, found.one)
        several.make_killed(found.start, found.one, "whole").run()
    AcceleratorState._reset_state()  # of its precision
    several.train_rounded(found.start, found.one)
    AcceleratorState._reset_state()
    found.two.mkdir()
    shutil.copy(found.one / "killed-state", found.two / "continued-state")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = ["-m", "tests.algorithms.several", str(found.start), str(found.two)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
    }
    run = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 600}  # or it hangs
    done = subprocess.run(command + arguments, **run)
    assert done.returncode == 0, done.stderr
    yield found
    shutil.rmtree(folder)


def assert_same(one: Path, two: Path) -> None:
    files = [path.relative_to(one) for path in sorted(one.rglob("*.safetensors"))]
    assert files == [path.relative_to(two) for path in sorted(two.rglob("*.safetensors"))] != []
    for file in files:
        torch.testing.assert_close(load_file(one / file), load_file(two / file), atol=1e-9, rtol=1e-7)


def metrics(folder: Path, name: str) -> list[dict[str, float]]:
    """All but how fast it was."""
    lines = [json.loads(line) for line in (folder / f"{name}-metrics.jsonl").read_text().splitlines()]
    return [line | {"tokens_per_second": 0} for line in lines]


def assert_same_metrics(one: list[dict[str, float]], two: list[dict[str, float]]) -> None:
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("name", [*several.TRAINED, "alone", "played"])
def test_two_processes_end_with_the_checkpoint_of_one(trained: Trained, name: str) -> None:
    assert_same(trained.one / name, trained.two / name)


@pytest.mark.parametrize("name", [*several.TRAINED, "alone", "played"])
def test_two_processes_see_the_metrics_of_one(trained: Trained, name: str) -> None:
    assert_same_metrics(metrics(trained.one, name), metrics(trained.two, name))


@pytest.mark.parametrize("name", several.TRAINED)
def test_each_process_holds_half_of_the_numbers(trained: Trained, name: str) -> None:
    """But for a bias of one number, and matrices of an odd height."""
    held = [[int(n) for n in (trained.two / f"{name}-held-{rank}").read_text().split()] for rank in (0, 1)]
    (first, count), (second, _) = held
    assert first + second == count
    assert abs(first - second) < 0.01 * count


def test_what_is_played_is_the_whole_model(trained: Trained) -> None:
    """The success that is played after each step, of a policy that moves, and by which one checkpoint was chosen."""
    found = [line["held_out"] for line in metrics(trained.two, "played") if "held_out" in line]
    assert len(set(found)) == 3
    chosen = [json.loads((folder / "played" / "config.json").read_text()) for folder in (trained.one, trained.two)]
    assert chosen[0]["step"] == chosen[1]["step"]


def test_layers_that_stay_gathered_change_nothing(trained: Trained) -> None:
    assert_same_metrics(metrics(trained.one, "played"), metrics(trained.two, "kept"))


def test_adapters_want_layers_that_do_not_stay_gathered(small_lm: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="with --rank, give fsdp_reshard_after_forward: true"):
        Sharding(False, OffloadPolicy()).shard(ActorCritic(small_lm, rank=2), Accelerator())


def test_two_processes_go_on_with_the_state_of_one(trained: Trained) -> None:
    """Of six steps, the last three."""
    assert [line["step"] for line in metrics(trained.two, "continued")] == [4, 5, 6]
    assert_same(trained.one / "whole", trained.two / "continued")


def test_one_process_goes_on_with_the_state_of_two(trained: Trained) -> None:
    shutil.copy(trained.two / "killed-state", trained.one / "continued-state")
    with pytest.MonkeyPatch.context() as patch:
        several.in_float64(patch)
        several.make_killed(trained.start, trained.one, "continued").run()
    assert [line["step"] for line in metrics(trained.one, "continued")] == [4, 5, 6]
    assert_same(trained.one / "whole", trained.one / "continued")


def test_a_fault_keeps_the_last_good_model(trained: Trained) -> None:
    assert_same(trained.one / "spoilt-last-good", trained.two / "spoilt-last-good")
    for fault in ("one/fault-0", "two/fault-0", "two/fault-1"):
        assert "the model of step 1 is kept" in (trained.one.parent / fault).read_text()


@pytest.mark.parametrize("name", several.ROUNDED)
def test_mixed_precision(trained: Trained, name: str) -> None:
    one, two = (metrics(folder, name) for folder in (trained.one, trained.two))
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=0.03)
    assert (trained.two / name / "config.json").exists()


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a process with a configuration of FSDP."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("FSDP_VERSION", "1", "FSDP of version 1: give fsdp_version: 2"),
        ("FSDP_CPU_RAM_EFFICIENT_LOADING", "true", "give fsdp_cpu_ram_efficient_loading: false"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "by --gradient-checkpointing"),
    ],
)
def test_what_is_done_otherwise_here_is_refused(launched: pytest.MonkeyPatch, name: str, given: str, says: str) -> None:
    launched.setenv(name, given)
    with pytest.raises(ValueError, match=says):
        asked(cpu=True)


def test_a_single_process_shards_nothing(launched: pytest.MonkeyPatch) -> None:
    assert asked(cpu=True) is None


def test_accelerate_sees_nothing_of_it_for_a_while(launched: pytest.MonkeyPatch) -> None:
    with unseen():
        assert "ACCELERATE_USE_FSDP" not in os.environ
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"


def test_what_is_not_sharded_stays_as_it_is() -> None:
    tree = {"a": [torch.ones(2), 3], "b": nn.Parameter(torch.zeros(1))}
    found = whole(tree, kept=False)
    assert found["a"][0] is tree["a"][0] and found["b"] is tree["b"]
