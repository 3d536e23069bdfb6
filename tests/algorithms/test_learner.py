from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.checkpoint import Base, Loaded, load
from agents.model import ActorCritic
from algorithms import oreo, sft
from algorithms.batch import Row, collate
from algorithms.learner import Learner, Training, TrainingFault, compute_outputs, cut, step_rows
from algorithms.method import Method


def rows(count: int, seed: int = 0) -> list[Row]:
    """Rows of unequal lengths: a prompt, then an action of one or two steps; half of them solved."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        prompt, first, second = rng.integers(2, 8), rng.integers(1, 12), rng.integers(1, 5)
        step = (-1,) * prompt + (0,) * first + (1,) * second
        found.append(Row(tuple(rng.integers(4, 250, len(step)).tolist()), step, (0.0, float(index % 2)), solved=index % 2 == 1))
    return found


def learner(
    method: Method, lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path, config: object = None, **training: object
) -> Learner:
    settings = Training(**{"batch": 8, "lr": 1e-3, "critic_lr": 1e-3, "tracker": "none", **training})  # type: ignore[arg-type]
    return Learner(
        method, config or method.config(), settings, rows(24), Loaded(copy.deepcopy(lm), tokenizer, Base("b", "f")), out / "model"
    )


def gradients(learner: Learner) -> list[torch.Tensor]:
    """The gradients of one step, before clipping can hide a difference of scale (the norm limit is out of reach)."""
    seen: list[torch.Tensor] = []
    model = learner.accelerator.unwrap_model(learner.model)
    learner.optimizer.step = lambda *a, **k: seen.extend(p.grad.clone() for p in model.parameters() if p.grad is not None)
    learner.train_step()
    return seen


@pytest.mark.parametrize("config", [sft.Config(), *(oreo.Config(level=level) for level in ("token", "step", "response"))])
def test_accumulation_is_exact_for_unequal_lengths(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, config: object
) -> None:
    """One pass over 8 rows, and as many passes as rows: the same gradient."""
    method = sft.METHOD if isinstance(config, sft.Config) else oreo.METHOD
    whole, parts = (
        gradients(learner(method, small_lm, tokenizer, tmp_path, config, micro_tokens=budget, clip=1e9)) for budget in (10_000, 1)
    )
    assert whole
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_every_step_draws_a_fixed_number_of_rows_and_every_epoch_all() -> None:
    epoch = [step_rows(20, 6, step, seed=1) for step in range(3)]
    assert [len(chosen) for chosen in epoch] == [6, 6, 6]
    assert len(set(np.concatenate(epoch))) == 18
    assert not np.array_equal(np.concatenate(epoch), np.concatenate([step_rows(20, 6, step, seed=1) for step in range(3, 6)]))
    assert len(step_rows(4, 6, 0, seed=0)) == 4


def test_cut_keeps_to_the_budget_and_sorts() -> None:
    parts = cut(rows(20), 60)
    assert all(len(part) * max(map(len, part)) <= 60 or len(part) == 1 for part in parts)
    lengths = [len(row) for part in parts for row in part]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("level", ["token", "step", "response"])
def test_environment_tokens_have_no_gradient(small_lm: LlamaForCausalLM, level: str) -> None:
    """The policy's states whose next token is the environment's get exactly none, the agent's all get some."""
    config = oreo.Config(level=level)  # type: ignore[arg-type]
    model = ActorCritic(small_lm, "separate", reference=True)
    torch.nn.init.normal_(model.value_head.weight)  # type: ignore[union-attr]
    two_turns = Row((5, 6, 7, 8, 9, 10, 11, 12), (-1, -1, 0, 0, -1, -1, 1, 1), (0.0, 1.0), solved=True)
    batch = collate([two_turns, *rows(3)], oreo.METHOD.level(config))
    kept: list[torch.Tensor] = []
    original = model.hidden

    def hidden(role: str, tokens: torch.Tensor) -> torch.Tensor:
        found = original(role, tokens)  # type: ignore[arg-type]
        if role == "policy":
            found.retain_grad()
            kept.append(found)
        return found

    model.hidden = hidden  # type: ignore[method-assign]
    loss, _ = oreo.loss(compute_outputs(model, batch, oreo.METHOD, config), batch, config)
    loss.backward()
    moved = kept[0].grad.abs().sum(-1)[:, :-1] > 0  # type: ignore[union-attr]
    assert torch.equal(moved, batch.decision[:, 1:] >= 0)


def test_other_environment_text_trains_the_same_tokens(small_lm: LlamaForCausalLM) -> None:
    one = Row((5, 6, 7, 8, 9, 10, 11, 12), (-1, -1, 0, 0, -1, -1, 1, 1), (0.0, 1.0))
    other = Row((6, 5, 7, 8, 10, 9, 11, 12), one.step, one.reward)
    a, b = (collate([row], "token") for row in (one, other))
    assert torch.equal(a.decision, b.decision)
    assert torch.equal(a.start, b.start)


class Killed(Exception):
    """Stands for the end of the process."""


def test_resuming_after_a_kill_equals_an_uninterrupted_run(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Nine steps; killed after the seventh, with a state saved at the sixth: weights, values and metrics are the same."""

    def make(folder: str) -> Learner:
        return learner(oreo.METHOD, small_lm, tokenizer, tmp_path / folder, epochs=3, save_every=3)

    whole = make("whole")
    whole.run()
    killed = make("killed")
    step = killed.train_step

    def train_step() -> dict[str, float]:
        if killed.step == 7:
            raise Killed
        return step()

    killed.train_step = train_step  # type: ignore[method-assign]
    with pytest.raises(Killed):
        killed.run()
    make("killed").run()
    (one, _), (two, _) = (load(tmp_path / name / "model") for name in ("whole", "killed"))
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    logs = [(tmp_path / name / "model-metrics.jsonl").read_text().splitlines() for name in ("whole", "killed")]
    strip = [[line.split('"tokens_per_second"')[0] for line in log] for log in logs]
    assert strip[0] == strip[1]
    assert not list((tmp_path / "killed").glob("*state*"))


def test_a_state_of_other_settings_is_refused(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    left = learner(oreo.METHOD, small_lm, tokenizer, tmp_path, epochs=3)
    left.train_step()
    left._save_state()
    with pytest.raises(ValueError, match="left by a run with other settings"):
        learner(oreo.METHOD, small_lm, tokenizer, tmp_path, epochs=3, lr=0.5).run()


def test_sft_learns_its_rows_by_heart(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    ours = learner(sft.METHOD, small_lm, tokenizer, tmp_path, epochs=100, lr=1e-2)
    first = ours.train_step()["nll"]
    ours.run()
    last = float((tmp_path / "model-metrics.jsonl").read_text().splitlines()[-1].split('"nll": ')[1].split(",")[0])
    assert last < first / 2


def test_gradient_norms_are_clipped_apart(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    ours = learner(oreo.METHOD, small_lm, tokenizer, tmp_path, clip=1e-3)
    model = ours.accelerator.unwrap_model(ours.model)
    norms = {}

    def measure(*_: object, **__: object) -> None:
        for name, members in model.groups().items():
            norms[name] = torch.stack([p.grad.norm() for p in members if p.grad is not None]).norm().item()

    ours.optimizer.step = measure
    ours.train_step()
    assert norms["critic"] == pytest.approx(1e-3, rel=1e-3)
    assert 0 < norms["policy"] <= 1.001e-3


def test_a_loss_that_is_no_number_stops_the_run(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with torch.no_grad():
        small_lm.model.norm.weight.fill_(float("nan"))
    with pytest.raises((TrainingFault, ValueError), match=r"loss is nan at step 0 on rows|changes its logits"):
        learner(sft.METHOD, small_lm, tokenizer, tmp_path).run()


def test_no_solved_row_is_refused_before_anything_is_written(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no solved episode"):
        Learner(
            oreo.METHOD,
            oreo.Config(),
            Training(),
            [r for r in rows(8) if not r.solved],
            Loaded(small_lm, tokenizer, Base("b", "f")),
            tmp_path / "m",
        )
    assert list(tmp_path.iterdir()) == []
