from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic
from benchmarks.training import WAYS, measure, sequences


@pytest.mark.parametrize("way", WAYS)
def test_every_way_takes_its_steps(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, way: str
) -> None:
    if way == "trl":
        pytest.importorskip("trl", reason="TRL is in the dev extra: pip install -e '.[dev]'")
    checkpoint.save(tmp_path / "model", ActorCritic(small_lm), tokenizer, Base("tiny", "f"))
    sizes = {"length": 16, "samples": 2, "batch": 4, "steps": 2, "rank": 0, "checkpointing": "none"}
    found = measure(Namespace(model=str(tmp_path / "model"), way=way, **sizes))
    assert len(found["seconds"]) == 2
    assert min(found["seconds"]) > 0 < found["memory"]


def test_responses_of_a_prompt_begin_alike() -> None:
    rows = sequences(Namespace(length=8, samples=2, batch=4, steps=1), vocabulary=50)
    assert len(rows) == 8
    assert rows[0].tokens[:4] == rows[1].tokens[:4] != rows[2].tokens[:4]
    assert [row.solved for row in rows[:2]] == [True, False]
    assert rows[0].step == (-1,) * 4 + (0,) * 4
