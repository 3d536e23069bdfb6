from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.checkpoint import Base, Loaded, load, save
from agents.model import ActorCritic
from algorithms import oreo, sft, value
from algorithms.batch import Batch, Outputs, Row, collate
from algorithms.faults import TrainingFault
from algorithms.learner import Learner, Models
from algorithms.method import Method
from algorithms.minibatch import Draws, compute_outputs, families, join, k3
from algorithms.training import Training
from algorithms.validation import HeldOut, Validation
from rollouts.encode import cut_by_length


def rows(count: int, seed: int = 0) -> list[Row]:
    """Rows of unequal lengths: a prompt, then an action of one or two steps; half of them solved."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        prompt, first, second = rng.integers(2, 8), rng.integers(1, 12), rng.integers(1, 5)
        step = (-1,) * prompt + (0,) * first + (1,) * second
        found.append(Row(tuple(rng.integers(4, 250, len(step)).tolist()), step, (0.0, float(index % 2)), solved=index % 2 == 1))
    return found


def learner(
    method: Method,
    lm: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    config: object = None,
    reference: Loaded | None = None,
    critic_of: ActorCritic | None = None,
    held_out: HeldOut | None = None,
    **training: object,
) -> Learner:
    """A learner on 24 rows; the arguments that are not named here are of `Training`."""
    settings = Training(**{"batch": 8, "lr": 1e-3, "critic_lr": 1e-3, "tracker": "none", **training})  # type: ignore[arg-type]
    start = Models(Loaded(copy.deepcopy(lm), tokenizer, Base("b", "f")), reference, critic_of)
    return Learner(method, config or method.config(), settings, rows(24), start, out / "model", held_out=held_out)


def gradients(learner: Learner) -> list[torch.Tensor]:
    """The gradients of one step, before clipping can hide a difference of scale (the norm limit is out of reach)."""
    seen: list[torch.Tensor] = []
    model = learner.accelerator.unwrap_model(learner.model)
    learner.optimizer.step = lambda *a, **k: seen.extend(p.grad.clone() for p in model.parameters() if p.grad is not None)
    learner.train_step()
    return seen


def shaken(learner: Learner) -> Learner:
    """Policy and critic off their start, where V is 0 and the KL has no gradient yet."""
    generator = torch.Generator().manual_seed(0)
    model = learner.accelerator.unwrap_model(learner.model)
    with torch.no_grad():
        for members in model.groups().values():
            for parameter in members:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return learner


@pytest.mark.parametrize("which", ["policy", "reference"])
def test_a_model_that_cannot_be_packed_is_padded(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, which: str
) -> None:
    plain, other = (learner(oreo.METHOD, small_lm, tokenizer, tmp_path), copy.deepcopy(small_lm))
    (small_lm if which == "policy" else other).config.sliding_window = 8
    made = learner(oreo.METHOD, small_lm, tokenizer, tmp_path, reference=Loaded(other, tokenizer, Base("b", "f")))
    (packed,), (padded,) = (one.accumulator.batches([rows(3)]) for one in (plain, made))
    assert packed.packing is not None
    assert padded.packing is None


def test_the_k3_estimate_of_the_kl(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """By hand: exp(-0.5) + 0.5 - 1 and exp(1) - 1 - 1; 0 where policy and reference are one; a row's mean over its tokens."""
    expected = torch.tensor([math.exp(-0.5) - 0.5, math.e - 2, 0.0])
    torch.testing.assert_close(k3(torch.tensor([0.5, -1.0, 0.0])), expected)
    config = oreo.Config(level="step", kl_estimate="k3")
    moved = shaken(learner(oreo.METHOD, small_lm, tokenizer, tmp_path, config))
    batch = collate(rows(3), "token")
    token = compute_outputs(moved.model, batch, oreo.METHOD, config)
    assert token.ref_logp is not None and token.kl is not None
    by_token = k3(token.logp - token.ref_logp) * batch.mask
    torch.testing.assert_close(token.kl, by_token.sum(1) / batch.mask.sum(1), atol=1e-6, rtol=1e-5)
    assert compute_outputs(moved.model, batch, oreo.METHOD, oreo.Config(kl=0.0)).kl is None


def test_every_step_draws_a_fixed_number_of_rows_and_every_epoch_all() -> None:
    """20 rows, 6 a step: ten steps are three epochs; a step may lie in two of them."""
    draws = Draws([[i] for i in range(20)], 6, seed=1)
    drawn = [[i for family in draws.step(step) for i in family] for step in range(10)]
    assert [len(chosen) for chosen in drawn] == [6] * 10
    epochs = np.concatenate(drawn).reshape(3, 20)
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert sorted(Draws([[0], [1], [2], [3]], 6, seed=0).step(0)) == [[0], [1], [2], [3]]


def test_families_are_drawn_together() -> None:
    """Three a task: of 7 rows of a and 2 of b two families of three, one of one and one of two; a step's end may part one."""
    groups = [[Row((1,), (0,), (0.0,), task=task)] for task in "aabaaabaa"]
    found = families(groups, 3)
    assert found == [[0, 1, 3], [4, 5, 7], [8], [2, 6]]
    draws = Draws(found, 3, seed=0)
    order = [family for step in range(3) for family in draws.step(step)]
    flat = [i for family in order for i in family]
    assert sorted(flat) == list(range(9))
    assert all([flat.index(i) - flat.index(family[0]) for i in family] == list(range(len(family))) for family in found)
    assert all(any(set(part) <= set(family) for family in found) for part in order)


def test_a_step_that_was_stopped_is_drawn_again() -> None:
    """By a process that went on there, without the steps before it."""
    one, other = (Draws([[i] for i in range(20)], 6, seed=1) for _ in range(2))
    drawn = [one.step(step) for step in range(8)]
    assert other.step(7) == drawn[7]
    assert one.step(2) == drawn[2]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 30))
def test_groups_are_joined_up_to_the_budget(lengths: list[int], budget: int) -> None:
    groups = [[Row((1,) * length, (0,) * length, (0.0,), seed=i)] for i, length in enumerate(lengths)]
    joined = join(groups, budget)
    assert [row for rows in joined for row in rows] == [row for group in groups for row in group]
    assert all(len(rows) == 1 or len(rows) * max(map(len, rows)) <= budget for rows in joined)


def test_cut_keeps_to_the_budget_and_sorts() -> None:
    parts = cut_by_length([[row] for row in rows(20)], 60, len)
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

    def hidden(role: str, *where: Any) -> torch.Tensor:
        found = original(role, *where)  # type: ignore[arg-type]
        if role == "policy":
            found.retain_grad()
            kept.append(found)
        return found

    model.hidden = hidden  # type: ignore[method-assign]
    loss, _ = oreo.loss(compute_outputs(model, batch, oreo.METHOD, config), batch, config)
    loss.backward()
    moved = kept[0].grad.abs().sum(-1)[:, :-1] > 0  # type: ignore[union-attr]
    assert torch.equal(moved, batch.decision[:, 1:] >= 0)


class Killed(Exception):
    """Stands for the end of the process."""


def run_until_killed(learner: Learner, at: int) -> None:
    """The process ends at the beginning of a step."""
    step = learner.train_step

    def train_step() -> dict[str, float]:
        if learner.step == at:
            raise Killed
        return step()

    learner.train_step = train_step  # type: ignore[method-assign]
    with pytest.raises(Killed):
        learner.run()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_resuming_after_a_kill_equals_an_uninterrupted_run(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, optimizer: str
) -> None:
    """Nine steps; killed after the seventh, with a state saved at the sixth: weights, values and metrics are the same."""

    def make(folder: str) -> Learner:
        return learner(oreo.METHOD, small_lm, tokenizer, tmp_path / folder, epochs=3, save_every=3, optimizer=optimizer)

    whole = make("whole")
    whole.run()
    killed = make("killed")
    run_until_killed(killed, 7)
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
    ours = learner(replace(sft.METHOD, loss=lambda o, b, c: (o.logp.sum() * float("nan"), {})), small_lm, tokenizer, tmp_path)
    with pytest.raises(TrainingFault, match="sft, step 0: loss is nan on a batch of 8 rows"):
        ours.run()
    assert not (tmp_path / "model").exists()


def failing_at(step: int, value: float) -> Method:
    """SFT whose loss takes a value at one step."""
    calls = iter(range(1000))

    def loss(outputs: Outputs, batch: Batch, config: object) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        found, metrics = sft.loss(outputs, batch, sft.Config())
        return (found * 0 + value if next(calls) == step else found), metrics

    return replace(sft.METHOD, loss=loss)


@pytest.mark.parametrize(
    ("loss", "says"), [(float("nan"), "loss is nan on"), (1e5, "loss is 1e[+]05, over 100 times the largest of the first 10 steps")]
)
@pytest.mark.parametrize(("epochs", "fails", "kept"), [(20.0, 14, 12), (20.0, 12, 9), (10.0, 12, 11)])
def test_a_fault_keeps_the_last_model_whose_own_loss_was_sound(
    small_lm: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    loss: float,
    says: str,
    epochs: float,
    fails: int,
    kept: int,
) -> None:
    """The loss of the weights after so many steps is a fault. Of 30 steps every third may be kept, of 15 every one."""
    given: dict[str, object] = {"epochs": epochs, "micro_tokens": 10_000}
    ours = learner(failing_at(fails, loss), small_lm, tokenizer, tmp_path / "failed", **given)
    assert ours._save_every == ours.steps // 10
    with pytest.raises(TrainingFault, match=f"step {fails}: {says}") as raised:
        ours.run()
    folder = tmp_path / "failed" / "model-last-good"
    assert f"the model of step {kept} is kept in {folder}" in str(raised.value)
    found, _ = load(folder)
    (tmp_path / "same").mkdir()
    same = learner(sft.METHOD, small_lm, tokenizer, tmp_path / "same", **given)
    for same.step in range(kept):
        same.train_step()
    for one, other in zip(found.lm.parameters(), same.start.lm.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert not (tmp_path / "failed" / "model-state").exists()
    assert not (tmp_path / "failed" / "model").exists()


def test_a_fault_names_the_tasks_of_the_worst_micro_batch(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Two rows, one of a task whose loss is not a number."""
    named = [replace(row, task=name, solved=True) for row, name in zip(rows(2), ("good", "bad"), strict=True)]
    bad = named[1].tokens[0]
    spoil = lambda o, b, c: (o.logp.sum() * torch.where((b.tokens[:, 0] == bad).any(), torch.nan, 1.0), {})  # noqa: E731
    start = Models(Loaded(copy.deepcopy(small_lm), tokenizer, Base("b", "f")))
    settings = Training(batch=2, micro_tokens=1, tracker="none")
    with pytest.raises(TrainingFault, match=rf"worst loss on those of bad \({len(named[1])} to {len(named[1])} tokens\)"):
        Learner(replace(sft.METHOD, loss=spoil), sft.Config(), settings, named, start, tmp_path / "model").run()


class Scripted(HeldOut):
    """Held-out tasks whose success is written down; what was seen of the model is the sum of its weights."""

    def __init__(self, settings: Validation, scores: Sequence[float]) -> None:
        self.settings, self.env_args, self.scores, self.keys, self.seen = settings, {}, iter(scores), [], []

    def success(self, model: ActorCritic, tokenizer: object) -> float:
        self.seen.append(sum(p.double().sum().item() for p in model.lm.parameters()))
        return next(self.scores)


def test_the_best_checkpoint_is_kept_and_training_stops_when_none_is_better(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Of 30 steps, evaluated before the first and after every second: the best is that of step 4, and two later ones end it."""
    held_out = Scripted(Validation(every=2, patience=2), [0.2, 0.1, 0.4, 0.4, 0.3])
    ours = learner(sft.METHOD, small_lm, tokenizer, tmp_path, held_out=held_out, epochs=20)
    assert ours.steps == 30
    ours.run()
    assert ours.step == 8
    found, _ = load(tmp_path / "model")
    assert sum(p.double().sum().item() for p in found.lm.parameters()) == held_out.seen[2]
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["step"], config["held_out_success"]) == (4, 0.4)
    logged = [json.loads(line).get("held_out") for line in (tmp_path / "model-metrics.jsonl").read_text().splitlines()]
    assert logged == [None, 0.1, None, 0.4, None, 0.4, None, 0.3]
    assert not (tmp_path / "model-best").exists()


def test_patience_does_not_run_out_while_the_critic_learns_alone(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Of 30 steps the policy has the last 20: two evaluations without a new best are those after steps 12 and 14."""
    held_out = Scripted(Validation(every=2, patience=2), [0.2, 0.1, 0.1])
    ours = learner(oreo.METHOD, small_lm, tokenizer, tmp_path, held_out=held_out, epochs=10, critic_start=1 / 3)
    assert (ours.steps, ours.alone) == (30, 10)
    ours.run()
    assert ours.step == 14
    assert held_out.seen[0] != held_out.seen[1]


def test_a_killed_run_knows_its_best_checkpoint(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Killed after step 8, whose evaluation was the best, with a state of step 6; the same evaluation again says less."""
    first = learner(
        sft.METHOD, small_lm, tokenizer, tmp_path, held_out=Scripted(Validation(every=4), [0.1, 0.2, 0.6]), epochs=20, save_every=3
    )
    run_until_killed(first, 8)
    again = learner(
        sft.METHOD,
        small_lm,
        tokenizer,
        tmp_path,
        held_out=Scripted(Validation(every=4), [0.5, 0.4, 0.3, 0.2]),
        epochs=20,
        save_every=3,
    )
    again.run()
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["step"], config["held_out_success"], str(again.stopping)) == (8, 0.6, "step 8, held-out success 60.0%")


def test_a_state_of_another_adapter_is_refused(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Two models with the same base under them, whose merged adapters differ."""
    left = learner(oreo.METHOD, small_lm, tokenizer, tmp_path, critic="shared", rank=2)
    left._save_state()
    with torch.no_grad():
        small_lm.model.layers[0].mlp.up_proj.weight += 0.1
    with pytest.raises(ValueError, match="left by a run with other settings"):
        learner(oreo.METHOD, small_lm, tokenizer, tmp_path, critic="shared", rank=2).run()


@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_a_learner_of_values_leaves_the_policy_as_it_was(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, critic: str
) -> None:
    ours = learner(value.METHOD, small_lm, tokenizer, tmp_path, critic=critic)
    ours.run()
    found, _ = load(tmp_path / "model")
    assert found.value_head is not None and found.value_head.weight.abs().max() > 0
    for one, other in zip(found.lm.parameters(), small_lm.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("batch", 0, "--batch must be a finite number of at least 1, got 0"),
        ("save_every", 0, "--save-every must be"),
        ("epochs", -1.0, "--epochs must be"),
        ("lr", math.nan, "--lr must be"),
        ("critic_start", 2.0, "--critic-start must be a finite number from 0 to 1, got 2.0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(name: str, number: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Training(**{name: number})  # type: ignore[arg-type]


def test_a_start_that_no_step_betters_is_what_is_kept(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    held_out = Scripted(Validation(every=3, patience=0), [0.5, 0.4, 0.4])
    learner(sft.METHOD, small_lm, tokenizer, tmp_path, held_out=held_out, epochs=2).run()
    found, _ = load(tmp_path / "model")
    for one, other in zip(found.lm.parameters(), small_lm.parameters(), strict=True):
        assert torch.equal(one, other)


def test_another_reference_and_critic_than_those_of_the_start(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A second round that is held to the first one's start: at its first step the log-ratio is what the first round reached."""
    first = shaken(learner(oreo.METHOD, small_lm, tokenizer, tmp_path))
    trained = first.accelerator.unwrap_model(first.model)
    batch = collate(rows(4), "token")
    with torch.no_grad():
        reached = compute_outputs(trained, batch, oreo.METHOD, oreo.Config())
    sft_model = Loaded(copy.deepcopy(small_lm), tokenizer, Base("sft", "f"))
    second = learner(oreo.METHOD, trained.lm, tokenizer, tmp_path / "second", reference=sft_model, critic_of=trained)  # type: ignore[arg-type]
    with torch.no_grad():
        found = compute_outputs(second.model, batch, oreo.METHOD, oreo.Config())
    for name in ("logp", "ref_logp", "value", "kl"):
        one, other = getattr(found, name), getattr(reached, name)
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, msg=name)


@pytest.mark.parametrize("kind", ["shared", "none"])
def test_a_critic_of_another_kind_is_refused(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, kind: str
) -> None:
    other = ActorCritic(copy.deepcopy(small_lm), None if kind == "none" else "shared")
    with pytest.raises(ValueError, match="give one of the same kind and size"):
        learner(oreo.METHOD, small_lm, tokenizer, tmp_path, critic_of=other)


def test_rows_can_be_balanced_before_a_learner_chooses(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """24 rows of one task, 12 of them solved: two of each."""
    ours = learner(oreo.METHOD, small_lm, tokenizer, tmp_path, balance=2)
    assert sorted(row.solved for row in ours.rows) == [False, False, True, True]


def test_a_gradient_that_is_no_number_never_reaches_the_weights(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """The square root's slope at 0 is infinite: the loss is finite, its gradient is not."""
    root = replace(sft.METHOD, loss=lambda o, b, c: ((o.logp.sum() * 0).sqrt(), {}))
    ours = learner(root, small_lm, tokenizer, tmp_path)
    before = [parameter.clone() for parameter in ours.model.parameters()]
    with pytest.raises(TrainingFault, match="grad_norm/policy is nan on"):
        ours.train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, ours.model.parameters(), strict=True))


def test_the_schedule(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Ten steps of which the critic has the first two alone: its rate rises over 2 and falls as cos over 8; the policy's, 8 steps.

    Warm-up 0.2: critic 0.2 * 10 = 2 steps (1/2, 1), then (1 + cos(pi k / 8)) / 2 for k = 0..7; policy round(0.2 * 8) = 2 steps,
    then k / 6.
    """
    ours = learner(
        oreo.METHOD, small_lm, tokenizer, tmp_path, batch=24, epochs=1, min_steps=10, warmup=0.2, critic_start=0.2, lr=1.0
    )
    found = [ours.train_step() for _ in range(ours.steps)]
    cosine = lambda k, n: 0.5 * (1 + math.cos(math.pi * k / n))  # noqa: E731
    assert [m["lr/policy"] for m in found] == pytest.approx([0, 0, 0.5, 1, *(cosine(k, 6) for k in range(6))])
    assert [m["lr/critic"] for m in found] == pytest.approx([0.0005, 0.001, *(0.001 * cosine(k, 8) for k in range(8))])


def test_what_an_untrained_critic_asked_of_the_policy_is_forgotten(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Two steps of the critic alone; then Adam's first moment is a tenth of that step's gradient, the second knows all three."""
    ours = learner(oreo.METHOD, small_lm, tokenizer, tmp_path, epochs=1, min_steps=10, warmup=0.0, critic_start=0.2, clip=0.0)
    policy, optimizer = ours.model.groups()["policy"], ours.optimizer.optimizer
    before, norms = [p.detach().clone() for p in policy], []

    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(before, policy, strict=True))
        norms.append(ours.train_step()["grad_norm/policy"])
        ours.step += 1
    assert not any(torch.equal(a, b) for a, b in zip(before, policy, strict=True))
    first = sum(float(optimizer.state[p]["exp_avg"].double().square().sum()) for p in policy)
    assert math.sqrt(first) == pytest.approx(0.1 * norms[2], rel=1e-4)
    squares = sum(float(optimizer.state[p]["exp_avg_sq"].double().sum()) for p in policy)
    assert squares == pytest.approx(0.05 * (0.95**2 * norms[0] ** 2 + 0.95 * norms[1] ** 2 + norms[2] ** 2), rel=1e-4)


def test_weights_in_bfloat16_are_trained_in_float32(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A step of 1e-6 is lost in a bfloat16 weight of 1."""
    ours = learner(sft.METHOD, small_lm.bfloat16(), tokenizer, tmp_path, lr=1e-6)
    before = [parameter.clone() for parameter in ours.model.parameters()]
    ours.train_step()
    moved = [(a != b).float().mean() for a, b in zip(before, ours.model.parameters(), strict=True)]
    assert min(moved) > 0.4  # float32 rounds some of the steps on the largest weights away


def test_a_separate_critic_beside_adapters_on_bfloat16_is_float32(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    ours = learner(oreo.METHOD, small_lm.bfloat16(), tokenizer, tmp_path, rank=2)
    assert {p.dtype for p in ours.model.groups()["critic"]} == {torch.float32}
    assert {p.dtype for p in ours.model.lm.base_model.parameters() if not p.requires_grad} == {torch.bfloat16}
    ours.train_step()


def test_without_a_clip_gradients_are_as_they_are(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    one, other = (learner(sft.METHOD, small_lm, tokenizer, tmp_path / name, clip=clip) for name, clip in (("0", 0.0), ("far", 1e9)))
    for made in (one, other):
        made.train_step()
    for a, b, start in zip(one.model.parameters(), other.model.parameters(), small_lm.parameters(), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, start)


def test_a_state_of_other_data_is_refused(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    start = Models(Loaded(small_lm, tokenizer, Base("b", "f")))
    training = Training(batch=8, tracker="none")
    Learner(sft.METHOD, sft.Config(), training, rows(24), start, tmp_path / "model")._save_state()
    with pytest.raises(ValueError, match="other settings, data or model"):
        Learner(sft.METHOD, sft.Config(), training, rows(24, seed=1), start, tmp_path / "model").run()


TWO_PROCESSES = """
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
import torch
# Adam makes a step of a gradient that is rounding alone, so that in float32 a weight may part from its like.
torch.nn.Module.float, torch.Tensor.float = torch.nn.Module.double, torch.Tensor.double
from agents import checkpoint, tiny
from algorithms import kto, oreo, value
from algorithms.batch import Row
from algorithms.faults import TrainingFault
from algorithms.job import leave
from algorithms.learner import Learner, Models
from algorithms.minibatch import Draws
from algorithms.store import RowStore
from algorithms.training import Training
sys.path.insert(0, sys.argv[3])
from test_learner import rows
training = Training(batch=8, lr=1e-3, critic_lr=1e-3, epochs=2, tracker="none", micro_tokens=60)
def train(method, rows, name):
    start = Models(checkpoint.load_policy(sys.argv[1]))
    Learner(method, method.config(), training, rows, start, Path(sys.argv[2], name)).run()

for method in (oreo.METHOD, kto.METHOD, value.METHOD):  # a process trains more than once
    train(method, rows(24), method.name)

# Nothing fits behind the first row's beginning: the second process has no mismatched row.
long = Row((7,) * 5 + (8,), (-1,) * 5 + (0,), (1.0,), task="a", solved=True)
alone = [long, Row((8,) + (9,) * 6, (-1,) + (0,) * 6, (0.0,), task="b")]
train(kto.METHOD, alone, "alone")

# Rewards that no loss bears, of the one row of an eighth that the second process has.
chosen = [i for (i,) in Draws([[i] for i in range(24)], 8, 0).step(0)]
spoilt = [replace(row, task=f"task {i}") for i, row in enumerate(rows(24))]
spoilt[chosen[1]] = replace(spoilt[chosen[1]], task="spoilt", reward=(0.0, float("nan")))
store = RowStore(Path(sys.argv[2]))  # as a log's rows are
for row in spoilt:
    store.append(row)
try:
    train(value.METHOD, store.rows(), "spoilt")
except TrainingFault as fault:
    Path(sys.argv[2], f"fault-{os.environ['RANK']}").write_text(str(fault))
leave()
"""


def test_two_processes_train_as_one(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    save(tmp_path / "start", ActorCritic(small_lm), tokenizer, Base("b", "f"))
    (tmp_path / "train.py").write_text(TWO_PROCESSES)
    for count in ("1", "2"):
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            count,
            str(tmp_path / "train.py"),
        ]
        arguments = [str(tmp_path / "start"), str(tmp_path / count), str(Path(__file__).parent)]
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        done = subprocess.run(command + arguments, env=environment, capture_output=True, text=True, timeout=600)  # or it hangs
        assert done.returncode == 0, done.stderr
    for method in ("oreo", "kto", "value", "alone"):
        (one, _), (two, _) = (load(tmp_path / count / method) for count in ("1", "2"))
        for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5, msg=f"{method} {name}")
    for fault in ("1/fault-0", "2/fault-0", "2/fault-1"):  # whichever process has the row
        assert "on a batch of 8 rows, the worst loss on those of" in (said := (tmp_path / fault).read_text())
        assert "spoilt" in said


def test_no_solved_row_is_refused_before_anything_is_written(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no solved episode"):
        Learner(
            oreo.METHOD,
            oreo.Config(),
            Training(),
            [r for r in rows(8) if not r.solved],
            Models(Loaded(small_lm, tokenizer, Base("b", "f"))),
            tmp_path / "m",
        )
    assert list(tmp_path.iterdir()) == []
