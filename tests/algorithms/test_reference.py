from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.checkpoint import load
from agents.model import ActorCritic
from algorithms import dqo, dro, kto, oreo, sft
from algorithms import learner as learner_module
from algorithms.batch import Row, collate
from algorithms.method import Method
from algorithms.reference import ReferenceCache, _machine
from algorithms.selection import mismatched
from algorithms.training import Training
from tests.algorithms.test_learner import learner


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens the reference was asked for, call by call."""
    counts: list[int] = []
    ask = ActorCritic.reference_states

    def counted(self: ActorCritic, *args: Any) -> Tensor:
        found = ask(self, *args)
        counts.append(len(found))
        return found

    monkeypatch.setattr(ActorCritic, "reference_states", counted)
    return counts


@pytest.mark.parametrize("method", [dro.METHOD, oreo.METHOD], ids=lambda method: method.name)
def test_three_passes_ask_the_reference_once_and_train_as_if_they_always_did(
    small_lm: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
    method: Method,
) -> None:
    """Log-probabilities, and states for an exact KL."""
    found = learner(method, small_lm, tokenizer, tmp_path / "known", epochs=3, micro_tokens=100)
    found.run()
    assert sum(asked) == agent_tokens(found.rows)
    assert list(tmp_path.glob("known/reference/*/states-*")) == []
    assert bool(list(tmp_path.glob("known/reference/*/logp-no-float32/*.npy"))) is (method is dro.METHOD)
    other = learner(method, small_lm, tokenizer, tmp_path / "asked", epochs=3, micro_tokens=100)
    monkeypatch.setattr(learner_module, "repeated", lambda *_: False)
    asked.clear()
    other.run()
    assert sum(asked) == 3 * agent_tokens(other.rows)
    (one, _), (two, _) = (load(tmp_path / name / "model") for name in ("known", "asked"))
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("method", "config", "epochs"),
    [(dqo.METHOD, dqo.Config(), 1), (oreo.METHOD, oreo.Config(), 1), (sft.METHOD, sft.Config(), 3)],
    ids=["one pass", "one pass, exact KL", "no reference"],
)
def test_nothing_is_asked_before_training_where_it_saves_nothing(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, method: Method, config: Any, epochs: int
) -> None:
    found = learner(method, small_lm, tokenizer, tmp_path, config, epochs=epochs)
    found.run()
    assert found.accumulator.known is None


def test_what_another_run_asked_is_not_asked_again(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, asked: list[int]
) -> None:
    """Of the same reference, in the same folder; a row that is new is asked for."""
    for method, expected in ((dro.METHOD, True), (dqo.METHOD, False)):
        asked.clear()
        learner(method, small_lm, tokenizer, tmp_path, epochs=2).prepare()
        assert bool(asked) is expected
    model, known = ActorCritic(small_lm, reference=True), Row((5, 6, 7), (-1, 0, 0), (1.0,))
    for batch_rows, tokens in (([known], 2), ([known, Row((5, 6, 8), (-1, 0, 0), (1.0,))], 2), ([known], 0)):
        asked.clear()
        ReferenceCache(tmp_path / "folder", "logp", model, batch_rows, Training(), 0, True, Accelerator(cpu=True))
        assert sum(asked) == tokens


def test_a_reference_of_another_type_is_asked(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, asked: list[int]
) -> None:
    """Adapters on a base in bfloat16, and then all of its weights in float32, whose fingerprint is the same."""
    small_lm.bfloat16()
    for rank in (4, 0):
        asked.clear()
        learner(dro.METHOD, small_lm, tokenizer, tmp_path, epochs=2, rank=rank).prepare()
        assert asked


def test_another_reference_is_asked(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, asked: list[int]
) -> None:
    learner(dro.METHOD, small_lm, tokenizer, tmp_path, epochs=2).prepare()
    asked.clear()
    small_lm.lm_head.weight.data += 0.1
    learner(dro.METHOD, small_lm, tokenizer, tmp_path, epochs=2).prepare()
    assert asked


def test_a_file_that_was_not_finished_is_not_read(small_lm: LlamaForCausalLM, tmp_path: Path, asked: list[int]) -> None:
    """A run that is killed leaves a file without keys, or one that has not its name yet."""
    model, rows = ActorCritic(small_lm, reference=True), [Row((5, 6, 7), (-1, 0, 0), (1.0,))]
    for _ in range(2):
        asked.clear()
        known = ReferenceCache(tmp_path, "logp", model, rows, Training(), 0, True, Accelerator(cpu=True))
        assert sum(asked) == 2
        (keys,) = tmp_path.glob("*.keys.npy")
        keys.unlink()
    batch = collate(rows, "token")
    torch.testing.assert_close(known.filled(batch, rows).ref_logp, model.reference_logp(batch.tokens, batch.decision >= 0))


def test_what_a_killed_process_was_writing_is_removed(small_lm: LlamaForCausalLM, tmp_path: Path) -> None:
    """By the next one that writes there; what living processes or those of another machine write stays."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"a.{_machine()}.{ended.pid}.part", f"b.{_machine()}.{os.getpid()}.part", f"c.not-{_machine()}.{ended.pid}.part"]
    for name in names:
        (tmp_path / name).touch()
    rows = [Row((5, 6, 7), (-1, 0, 0), (1.0,))]
    ReferenceCache(tmp_path, "logp", ActorCritic(small_lm, reference=True), rows, Training(), 0, True, Accelerator(cpu=True))
    assert sorted(file.name for file in tmp_path.glob("*.part")) == names[1:]


def test_a_process_that_is_killed_leaves_what_the_next_one_removes(
    small_lm: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names that are written are those that are looked for."""
    model, rows = ActorCritic(small_lm, reference=True), [Row((5, 6, 7), (-1, 0, 0), (1.0,)), Row((5, 6), (-1, 0), (1.0,))]
    asked = [torch.zeros(1)]
    with monkeypatch.context() as killed, pytest.raises(IndexError):
        killed.setattr(ReferenceCache, "_ask", lambda *_: asked.pop())
        ReferenceCache(tmp_path, "logp", model, rows, Training(micro_tokens=1), 0, True, Accelerator(cpu=True))
    assert len(list(tmp_path.glob("*.part"))) == 1
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid != os.getpid())
    ReferenceCache(tmp_path, "logp", model, rows[:1], Training(), 0, True, Accelerator(cpu=True))
    assert list(tmp_path.glob("*.part")) == []


def test_states_in_bfloat16_stay_so(small_lm: LlamaForCausalLM, tmp_path: Path) -> None:
    model, rows = ActorCritic(small_lm.bfloat16(), reference=True), [Row((5, 6, 7), (-1, 0, 0), (1.0,))]
    batch = collate(rows, "token")
    found = ReferenceCache(tmp_path, "states", model, rows, Training(), 0, True, Accelerator(cpu=True)).filled(batch, rows)
    assert found.ref_states is not None and found.ref_states.dtype is torch.bfloat16
    torch.testing.assert_close(found.ref_states, model.reference_states(batch.tokens, batch.decision >= 0))


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
