from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.checkpoint import load
from agents.model import ActorCritic
from algorithms import dqo, dro, kto, oreo
from algorithms import learner as learner_module
from algorithms.batch import Row
from algorithms.method import Method
from algorithms.selection import mismatched
from tests.algorithms.test_learner import learner


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens the reference was asked for, call by call."""
    counts: list[int] = []
    ask = ActorCritic.reference_logp

    def counted(self: ActorCritic, *args: Any) -> Tensor:
        found = ask(self, *args)
        counts.append(len(found))
        return found

    monkeypatch.setattr(ActorCritic, "reference_logp", counted)
    return counts


def test_three_passes_ask_the_reference_once_and_train_as_if_they_always_did(
    small_lm: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = learner(dro.METHOD, small_lm, tokenizer, tmp_path / "known", epochs=3, micro_tokens=100)
    found.run()
    assert sum(asked) == agent_tokens(found.rows)
    other = learner(dro.METHOD, small_lm, tokenizer, tmp_path / "asked", epochs=3, micro_tokens=100)
    monkeypatch.setattr(learner_module, "worth_it", lambda *_: False)
    asked.clear()
    other.run()
    assert sum(asked) == 3 * agent_tokens(other.rows)
    (one, _), (two, _) = (load(tmp_path / name / "model") for name in ("known", "asked"))
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("method", "config", "epochs"),
    [(dqo.METHOD, dqo.Config(), 1), (oreo.METHOD, oreo.Config(), 3), (oreo.METHOD, oreo.Config(kl=0.0), 1)],
    ids=["one pass", "exact KL", "one pass without KL"],
)
def test_nothing_is_asked_before_training_where_it_saves_nothing(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, method: Method, config: Any, epochs: int
) -> None:
    found = learner(method, small_lm, tokenizer, tmp_path, config, epochs=epochs)
    found.run()
    assert found.accumulator.known is None


def test_rows_that_are_made_on_the_way_are_asked_for_then(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, asked: list[int]
) -> None:
    """KTO's mismatched rows are others at every step."""
    made: list[Row] = []

    def kept(rows: Sequence[Row]) -> list[Row]:
        made.extend(mismatched(rows))
        return made[-len(rows) :]

    found = learner(replace(kto.METHOD, mismatched=kept), small_lm, tokenizer, tmp_path, epochs=2)
    found.run()
    assert len(made) == 2 * len(found.rows)
    assert sum(asked) == agent_tokens(found.rows) + agent_tokens(made)


def agent_tokens(rows: Sequence[Row]) -> int:
    """How many of all tokens are the agent's."""
    return sum(step >= 0 for row in rows for step in row.step)
