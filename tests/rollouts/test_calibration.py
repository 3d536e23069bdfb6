from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.model import ActorCritic
from rollouts.calibration import Args, drawn, main
from rollouts.estimates import Bin
from rollouts.reading import load_reader
from rollouts.trajectory import End, Header, LogError, Step, Trajectory
from rollouts.value_quality import Measured, ReliabilityBin
from tests.rollouts.logs import write


def episode(task: str, seed: int, won: bool, values: tuple[float, ...] = ()) -> Trajectory:
    """Steps with the values that are given, and with the credits of them."""
    ends = [*values[1:], float(won)]
    steps = [Step("", f"line {i}.\n", 0.0, value=v, target=ends[i] - v) for i, v in enumerate(values)] or [
        Step("2 + 3?", "x is 5.\n", 0.0),
        Step("", "#### 5\n", float(won)),
    ]
    steps[-1] = Step(steps[-1].observation, steps[-1].action, float(won), value=steps[-1].value, target=steps[-1].target)
    return Trajectory("MathReason-v0", task, seed, tuple(steps), End.TERMINATED, "lm")


@pytest.fixture
def critic(tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    base = checkpoint.Base("tiny", checkpoint.fingerprint(small_lm))
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, base)
    model = ActorCritic(small_lm, "separate")
    assert model.value_head is not None
    torch.nn.init.normal_(model.value_head.weight, generator=torch.Generator().manual_seed(0))
    meta = {"method": "oreo", "settings": {"level": "token", "beta": 0.1}}
    checkpoint.save(tmp_path / "oreo", model, tokenizer, base, meta)
    return tmp_path / "oreo"


def test_the_values_in_a_log_by_hand(tmp_path: Path) -> None:
    """Won with V 0.4, 0.8; lost with 0.4, 0.3: nothing to tell at first, and all before the second step."""
    log = write(tmp_path / "log.jsonl", [Header("E", "lm"), episode("x", 0, True, (0.4, 0.8)), episode("x", 1, False, (0.4, 0.3))])
    found = main(Args(log))["the log"]
    assert found.places["step 1"].within.value == 0.5
    assert found.places["step 2"].within.value == 1
    assert found.places["all steps"].brier.value == pytest.approx((0.36 + 0.04 + 0.16 + 0.09) / 4)
    assert list(found.places) == ["all steps", "step 1", "step 2", "0-20%", "40-60%"]
    assert found.agreement is None


def test_a_critic_is_read_along_the_log(tmp_path: Path, critic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    played = [episode("x", 0, True), episode("x", 1, False), episode("y", 0, False)]
    log = write(tmp_path / "log.jsonl", [Header("E", "lm"), *played])
    out = tmp_path / "found.json"
    found = main(Args(log, (str(critic),), str(tmp_path / "sft"), json=out))["oreo"]
    read = load_reader(critic, reference=tmp_path / "sft").read(played)
    assert found.places["all steps"].mean == pytest.approx(sum(s.value or 0 for steps in read for s in steps) / 6, abs=1e-5)
    assert found.beta == 0.1
    assert found.agreement is not None
    assert "reliability of oreo" in capsys.readouterr().out
    assert json.loads(out.read_text())["critics"]["oreo"]["places"]["step 1"]["steps"] == 3


def test_a_line_of_the_diagram() -> None:
    """0.2 to 0.8 around 0.5 of 11 characters, V at 0.9; and where they meet."""
    assert drawn(ReliabilityBin(Bin(0.9, 1, 5, 0.9, 0.5), Measured(0.5, 0.2, 0.8)), 11) == "  ───●───│ "
    assert drawn(ReliabilityBin(Bin(0.5, 0.6, 5, 0.5, 0.5), Measured(0.5, 0.5, 0.5)), 11) == "     ◉     "


def test_a_model_without_a_critic_is_refused(tmp_path: Path, critic: Path) -> None:
    log = write(tmp_path / "log.jsonl", [Header("E", "lm"), episode("x", 0, True)])
    with pytest.raises(ValueError, match="no value head"):
        main(Args(log, (str(tmp_path / "sft"),)))


def test_a_log_without_values(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [Header("E", "lm"), episode("x", 0, True)])
    with pytest.raises(ValueError, match="give --critic"):
        main(Args(log))


def test_a_log_without_episodes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no episode"):
        main(Args(write(tmp_path / "log.jsonl", [Header("E", "lm")])))


def test_the_command_says_a_fault_in_a_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "rollouts.calibration", tmp_path / "none.jsonl"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no log at" in done.stdout
    with pytest.raises(LogError):
        main(Args(tmp_path / "none.jsonl"))


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="--bins 1"):
        Args(Path("log.jsonl"), bins=1)
    with pytest.raises(ValueError, match="give --critic"):
        Args(Path("log.jsonl"), reference="RUN/sft")
