from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic
from benchmarks.play import Study, play
from rollouts.trajectory import read


@pytest.fixture
def run(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("tiny", ""))
    return tmp_path


def study(run: Path, *models: str) -> Study:
    return Study(run, models, "math", ("test", "valid"), tasks=3, max_new_tokens=4, parallel=4, seed=0)


def test_every_model_plays_every_split_greedily_and_sampled(run: Path) -> None:
    play(study(run, "sft=sft", "again=sft"))
    for split in ("test", "valid"):
        for temperature in (0, 1):
            logs = [read(run / "compare" / f"{split}-{temperature}" / f"{label}.jsonl") for label in ("sft", "again")]
            assert [header.sampling["temperature"] for log in logs for header in log.headers] == [temperature] * 2
            assert [len(log.trajectories) for log in logs] == [3, 3]
            assert len({t.task for log in logs for t in log.trajectories}) == 3  # both play the same


@pytest.mark.parametrize(
    ("models", "says"), [(("sft",), "wanted different ones"), (("a=sft", "a=sft"), "different"), (("a=none",), "none")]
)
def test_what_cannot_be_played_is_said_before_anything_is(run: Path, models: tuple[str, ...], says: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        play(study(run, "sft=sft", *models) if says == "none" else study(run, *models))
    assert not (run / "compare").exists()
