"""KTO: Kahneman-Tversky Optimization (Ethayarajh et al. 2024, arXiv 2402.01306) on solved and failed episodes, without pairs.

    python -m algorithms.kto --env math --data rollouts.jsonl --model RUN/sft

docs/algorithms/kto.md explains each metric.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms import sft
from algorithms.batch import Batch, Outputs, Row
from algorithms.job import main
from algorithms.method import FINITE, Method, check_ranges
from algorithms.returns import part
from algorithms.selection import mismatched, signed, solved_rows


@dataclass(frozen=True)
class Config:
    """KTO's own settings."""

    beta: float = 0.1
    """how far the policy may go from the reference: larger stays closer"""
    solved_weight: float = 1.0
    """weight of solved episodes (lambda_D); DVO's paper has 1.33 times that of failed ones"""
    failed_weight: float = 1.0
    """weight of failed ones (lambda_U)"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, beta=(0, FINITE), solved_weight=(0, FINITE), failed_weight=(0, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """lambda_D (1 - sigmoid(beta (S - z))) of solved rows, lambda_U (1 - sigmoid(beta (z - S))) of failed ones; a mean over rows.

    S is the log-ratio of a response, z >= 0 the mean log-ratio of mismatched rows in the whole optimiser step, an estimate of
    KL(pi || ref) that takes no gradient.

    Raises:
        ValueError: outputs lack the reference or the reference point, or the rows their signs.
    """
    if outputs.ref_logp is None or outputs.reference_point is None or batch.sign is None or not (batch.sign != 0).all():
        raise ValueError("KTO needs ref_logp and reference_point in its outputs and the signs +1 and -1 in its batch")
    ratio = ((outputs.logp - outputs.ref_logp) * batch.mask).sum(1)
    solved = batch.sign > 0
    z = outputs.reference_point.detach().to(ratio.dtype)
    weight = torch.where(solved, ratio.new_tensor(config.solved_weight), ratio.new_tensor(config.failed_weight))
    losses = weight * (1 - torch.sigmoid(config.beta * (ratio - z) * batch.sign))
    metrics = {
        "policy_loss": losses.mean(),
        "z": z,
        "log_ratio/solved": part(ratio, solved),
        "log_ratio/failed": part(ratio, ~solved),
        "solved": solved.to(ratio.dtype).mean(),
    }
    return metrics["policy_loss"], {name: metric.detach() for name, metric in metrics.items()}


def signed_rows(rows: Sequence[Row], config: Config, rng: random.Random) -> list[Row]:
    """All rows with their signs. Raises ValueError where none was solved."""
    solved_rows(rows)
    return signed(rows)


METHOD = Method(
    name="kto",
    config=Config,
    loss=loss,
    level=lambda _: "response",
    rows=signed_rows,
    mismatched=mismatched,
    reference=True,
    after=sft.METHOD,
)

if __name__ == "__main__":
    main(METHOD)
