"""DPO and KTO against TRL's own trainers, in loss and in gradient, on the same models and tokens. (TRL has no DRO.)

TRL takes any mask of completion tokens, so that episodes of several turns are compared too: what the environment says between two
actions is masked there, and `decision == -1` here. TRL reduces its log-probabilities in float32.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.model import ActorCritic
from algorithms import dpo, kto
from algorithms.batch import Batch, Row, collate
from algorithms.minibatch import compute_outputs
from algorithms.selection import mismatched

trl = pytest.importorskip("trl", reason="TRL is in the dev extra: pip install -e '.[dev]'")

PROMPT, FIRST, SECOND = (5, 6, 7), (20, 21), (30, 31, 32)
ROWS = [
    # Two turns: the environment answers 40, 41 to the first; then pairs of other shapes.
    Row((*PROMPT, *FIRST, 40, 41, *SECOND), (-1,) * 3 + (0, 0, -1, -1, 1, 1, 1), (0.0, 1.0), solved=True, task="a", sign=1),
    Row((*PROMPT, 22, 42, 33), (-1, -1, -1, 0, -1, 1), (0.0, 0.0), task="a", sign=-1),
    Row((8, 9, 50), (-1, -1, 0), (1.0,), solved=True, task="b", sign=1),
    Row((8, 9, 51, 52, 53, 43, 54), (-1, -1, 0, 0, 0, -1, 1), (0.0, 0.0), task="b", sign=-1),
]


@pytest.fixture
def pair(small_lm: LlamaForCausalLM) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    """A policy that has moved from its reference."""
    policy = copy.deepcopy(small_lm)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return policy, small_lm


def arguments(kind: Any, out: Path, **settings: Any) -> Any:
    return kind(output_dir=str(out), report_to=[], use_cpu=True, bf16=False, disable_dropout=True, **settings)


def examples(columns: dict[str, Any]) -> Any:
    """Something that the trainers can be made of; they never see it again."""
    from datasets import Dataset

    return Dataset.from_list([{"prompt": "1", **columns}] * 2)


def as_theirs(batch: Batch, rows: list[int], prefix: str = "") -> dict[str, Tensor]:
    """Our tokens, padding and masks under TRL's names, in its order of rows."""
    mask = (batch.decision >= 0).long()[rows]
    # Whatever follows a row's last own token is padding: nothing of it is scored, and no earlier token sees it.
    return {
        f"{prefix}input_ids": batch.tokens[rows],
        f"{prefix}attention_mask": torch.ones_like(mask),
        f"{prefix}completion_mask": mask,
    }


def gradients(loss: Tensor, lm: LlamaForCausalLM) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(lm.parameters())))


def of_ours(model: ActorCritic, method: Any, batch: Batch, config: Any, point: Tensor | None = None) -> tuple[Tensor, Any]:
    outputs = compute_outputs(model, batch, method, config)
    outputs.reference_point = point
    return method.loss(outputs, batch, config)


def with_reference(policy: LlamaForCausalLM, reference: LlamaForCausalLM) -> ActorCritic:
    model = ActorCritic(policy, reference=True)
    model.reference = copy.deepcopy(reference).requires_grad_(False)
    return model


def agree(ours: Tensor, theirs: Tensor, lm: LlamaForCausalLM) -> None:
    """The same loss, and the same gradient of every weight."""
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    for one, other in zip(gradients(ours, lm), gradients(theirs, lm), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_dpo_is_trls(pair: tuple[LlamaForCausalLM, LlamaForCausalLM], tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    policy, reference = pair
    model = with_reference(policy, reference)
    trainer = trl.DPOTrainer(
        model=policy,
        ref_model=copy.deepcopy(reference),
        args=arguments(trl.DPOConfig, tmp_path, beta=0.3),
        train_dataset=examples({"chosen": " 2", "rejected": " 3"}),
        processing_class=tokenizer,
    )
    batch = collate(ROWS, "response")
    ours, metrics = of_ours(model, dpo.METHOD, batch, dpo.Config(beta=0.3))
    inputs = as_theirs(batch, [0, 2, 1, 3])  # preferred ones first, then the others
    theirs = trainer.compute_loss(trainer.model, inputs)
    agree(ours, theirs, policy)
    logged = {name: values[-1] for name, values in trainer._metrics["train" if policy.training else "eval"].items()}
    assert metrics["margin"].item() == pytest.approx(logged["rewards/margins"], abs=1e-5)
    assert metrics["accuracy"].item() == logged["rewards/accuracies"]
    # Were the environment's words learnt, it would be another loss.
    spoken = (torch.arange(batch.tokens.shape[1]) > 2) & (batch.tokens != 0)
    unmasked = trainer.compute_loss(trainer.model, inputs | {"completion_mask": spoken.long()[[0, 2, 1, 3]]})
    assert abs(unmasked.item() - ours.item()) > 1e-3


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["z as it is", "z of the swapped models"])
def test_kto_is_trls(
    pair: tuple[LlamaForCausalLM, LlamaForCausalLM], tokenizer: PreTrainedTokenizerFast, tmp_path: Path, sign: float
) -> None:
    """Its reference point too: over the same mismatched rows, above 0 with one order of the models and cut to 0 with the other."""
    policy, reference = pair if sign > 0 else pair[::-1]
    model = with_reference(policy, reference)
    trainer = trl.KTOTrainer(
        model=policy,
        ref_model=copy.deepcopy(reference),
        args=arguments(
            trl.KTOConfig, tmp_path, beta=0.3, desirable_weight=1.5, undesirable_weight=0.5, per_device_train_batch_size=2
        ),
        train_dataset=examples({"completion": " 2", "label": True}),
        processing_class=tokenizer,
    )
    config = kto.Config(beta=0.3, solved_weight=1.5, failed_weight=0.5)
    batch, others = collate(ROWS, "response"), collate(mismatched(ROWS), "response")
    with torch.no_grad():
        outputs = compute_outputs(model, others, kto.METHOD, config)
    assert outputs.ref_logp is not None
    point = (outputs.logp - outputs.ref_logp).sum(1).mean().clamp(min=0)
    ours, metrics = of_ours(model, kto.METHOD, batch, config, point)
    order = list(range(len(ROWS)))
    inputs = as_theirs(batch, order) | as_theirs(others, order, "KL_") | {"label": torch.tensor([r.solved for r in ROWS])}
    theirs = trainer.compute_loss(trainer.model, inputs)
    agree(ours, theirs, policy)
    logged = {name: values[-1] for name, values in trainer._metrics["train" if policy.training else "eval"].items()}
    assert metrics["z"].item() == pytest.approx(logged["kl"], abs=1e-5)
    total, count = metrics["log_ratio/failed"].tolist()
    assert total / count == pytest.approx(logged["rewards/rejected"] / 0.3, abs=1e-4)
