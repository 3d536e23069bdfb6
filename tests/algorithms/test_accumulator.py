from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from algorithms import dpo, dqo, dro, kto, oreo, sft
from algorithms.batch import collate
from algorithms.method import Method
from algorithms.minibatch import Draws, compute_outputs
from algorithms.selection import mismatched
from rollouts.encode import cut_by_length
from tests.algorithms.test_learner import gradients, learner, rows, shaken
from tests.examples import KINDS

LEARNERS = [
    (sft.METHOD, sft.Config()),
    *((oreo.METHOD, oreo.Config(level=level)) for level in ("token", "step", "response")),
    (oreo.METHOD, oreo.Config(kl_estimate="k3")),
    (dqo.METHOD, dqo.Config(lam=0.9)),
    (dro.METHOD, dro.Config()),
    (dpo.METHOD, dpo.Config()),
    (kto.METHOD, kto.Config()),
]


@pytest.mark.parametrize(("method", "config"), LEARNERS, ids=lambda x: getattr(x, "name", ""))
def test_accumulation_is_exact_for_unequal_lengths(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, method: Method, config: object
) -> None:
    """One pass over 8 examples, and micro-batches of different numbers of rows: the same gradient, KTO's z included."""
    budget = 40
    parts = cut_by_length([[rows(24)[i]] for (i,) in Draws([[i] for i in range(24)], 8, 0).step(0)], budget, len)
    assert len({len(part) for part in parts}) > 1
    whole, parts = (
        shaken(learner(method, small_lm, tokenizer, tmp_path, config, micro_tokens=b, clip=1e9)) for b in (10_000, budget)
    )
    whole, parts = gradients(whole), gradients(parts)
    assert whole
    assert all(gradient.abs().max() > 0 for gradient in whole)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("method", "config"), LEARNERS, ids=lambda x: getattr(x, "name", ""))
def test_a_step_on_packs_moves_the_weights_as_a_step_on_rows(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, method: Method, config: object
) -> None:
    """Through the whole loop, KTO's other pass included."""
    packed, padded = (shaken(learner(method, small_lm, tokenizer, tmp_path, config, micro_tokens=100, clip=1e9)) for _ in range(2))
    padded.accumulator.packed = False
    found, expected = gradients(packed), gradients(padded)
    assert max(gradient.abs().max() for gradient in expected) > 1e-4
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("way", ["selective", "full"])
@pytest.mark.parametrize(("critic", "rank"), KINDS)
def test_what_is_computed_again_has_the_same_gradient(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, critic: str, rank: int, way: str
) -> None:
    """Gradient checkpointing, by adapters too: each layer again in the role that it was first computed in."""
    settings = {"critic": critic, "rank": rank, "clip": 1e9}
    plain, again = (
        shaken(learner(oreo.METHOD, small_lm, tokenizer, tmp_path, gradient_checkpointing=how, **settings)) for how in ("none", way)
    )
    calls = []
    for made in (plain, again):
        layer = made.accelerator.unwrap_model(made.model).lm.base_model.layers[0]
        layer.mlp.register_forward_pre_hook(lambda *_, made=made: calls.append(made))
    expected, found = gradients(plain), gradients(again)
    assert calls.count(again) > calls.count(plain)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one)


@pytest.mark.parametrize(("method", "config"), LEARNERS, ids=lambda x: getattr(x, "name", ""))
def test_metrics_do_not_hang_on_how_a_step_is_cut(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, method: Method, config: object
) -> None:
    whole, parts = (
        shaken(learner(method, small_lm, tokenizer, tmp_path, config, micro_tokens=budget)).train_step() for budget in (10_000, 40)
    )
    assert whole.keys() == parts.keys()
    for name in whole.keys() - {"tokens_per_second"}:
        assert parts[name] == pytest.approx(whole[name], rel=1e-4, abs=1e-6), name


def test_pairs_stay_adjacent_in_every_micro_batch(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = learner(dpo.METHOD, small_lm, tokenizer, tmp_path, dpo.Config(pairs=12), batch=5, micro_tokens=60)
    assert all(len(group) == 2 and group[0].sign == 1 and group[1].sign == -1 for group in made.groups)
    assert made.steps == round(12 / 5)
    micros = made.accumulator.batches(cut_by_length(made.groups, 60, len))
    assert len(micros) > 1
    for micro in micros:
        assert micro.sign is not None and micro.sign.tolist() == [1, -1] * (len(micro.sign) // 2)


def test_the_reference_point_is_the_mean_log_ratio_of_mismatched_rows(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """0 at the start, where policy and reference are one; else the mean over single rows, but never below 0."""
    fresh = learner(kto.METHOD, small_lm, tokenizer, tmp_path)
    point = fresh.accumulator.reference_point(fresh.rows[:6])
    assert point is not None and point.item() == 0.0
    moved = shaken(learner(kto.METHOD, small_lm, tokenizer, tmp_path, micro_tokens=50))
    ratios = []
    for row in mismatched(moved.rows[:6]):
        batch = collate([row], "response")
        outputs = compute_outputs(moved.model, batch, kto.METHOD, kto.Config())
        assert outputs.ref_logp is not None
        ratios.append((outputs.logp - outputs.ref_logp).sum().item())
    found = moved.accumulator.reference_point(moved.rows[:6])
    assert found is not None and found.item() == pytest.approx(max(0.0, sum(ratios) / 6), abs=1e-4)
