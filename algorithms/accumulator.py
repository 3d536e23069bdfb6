"""The gradient of one optimiser step, gathered over micro-batches and processes.

Rows are sorted by length and cut to a token budget only here, inside the step; each micro-batch weighs by its share of the whole
step, so that accumulation is exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
from accelerate import Accelerator
from torch import Tensor

from algorithms.batch import Batch, Row, collate
from algorithms.method import Method
from algorithms.minibatch import compute_outputs
from algorithms.reference import ReferenceCache
from algorithms.sharding import passes
from algorithms.training import Training
from rollouts.encode import cut_by_length

T = TypeVar("T")


class Accumulated(NamedTuple):
    """What a step's rows had to say, besides their gradient."""

    metrics: dict[str, float]
    """means over the whole step, the same in every process"""
    losses: list[Tensor]
    """of this process's micro-batches"""
    parts: list[list[Row]]
    """their rows"""


class Accumulator:
    """Leaves the gradient of a step in a prepared model's parameters.

    Args:
        method, config, training: the learner and its settings.
        model: as the accelerator prepared it.
        accelerator: of this process; a step's rows are shared among all of them.
        pad: id of a padding token.
        packed: whether the model takes packed rows.
    """

    def __init__(
        self, method: Method, config: Any, training: Training, model: Any, accelerator: Accelerator, pad: int, packed: bool
    ) -> None:
        self.method, self.config, self.training = method, config, training
        self.model, self.accelerator, self.pad, self.packed = model, accelerator, pad, packed
        self.known: ReferenceCache | None = None
        """what the reference says of rows, where it has been asked"""

    def accumulate(self, groups: Sequence[Sequence[Row]]) -> Accumulated:
        """Forward and backward of the loss of some examples, which stay together."""
        parts = cut_by_length(self._share(groups), self.training.micro_tokens, len)
        micros = self.batches(parts)
        point = self.reference_point([row for group in groups for row in group])
        weights = torch.stack([self.method.weight(micro, self.config) for micro in micros]).float()
        shares = weights / self._sum(weights.sum())
        totals: dict[str, Any] = {}
        losses: list[Tensor] = []
        mine = list(zip(micros, parts, shares, strict=True))
        spare = (micros[-1], parts[-1], shares.new_zeros(()))
        for index, ((micro, rows, share), counts) in enumerate(passes(self.model, self.accelerator, mine, spare)):
            last = index + 1 == len(micros)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                with self.accelerator.autocast():
                    # Only now: the reference's states of a whole step are as large as a model's.
                    known = self.known.filled(micro, rows) if self.known else micro
                    outputs = compute_outputs(self.model, known, self.method, self.config)
                    outputs.reference_point = point
                loss, metrics = self.method.loss(outputs, micro, self.config)
                # DDP and FSDP average over processes what is meant as a sum of shares.
                self.accelerator.backward(loss * share * self.accelerator.num_processes)
            if not counts:
                continue
            losses.append(loss.detach())
            for name, metric in {"loss": loss.detach(), **metrics}.items():
                totals[name] = totals.get(name, 0.0) + (metric if metric.ndim else metric * share)
        means = {name: mean for name, total in totals.items() if (mean := _mean(self._sum(total))) is not None}
        return Accumulated(means, losses, parts)

    def batches(self, parts: Sequence[Sequence[Row]]) -> list[Batch]:
        """The micro-batches of rows that were cut."""
        level, device = self.method.level(self.config), self.accelerator.device
        return [collate(rows, level, self.pad, self.packed).to(device) for rows in parts]

    def reference_point(self, rows: Sequence[Row]) -> Tensor | None:
        """The mean log-ratio of the mismatched rows of the whole optimiser step, at least 0, where the learner asks for it."""
        if self.method.mismatched is None:
            return None
        parts = cut_by_length([[row] for row in self._share(self.method.mismatched(rows))], self.training.micro_tokens, len)
        model = self.accelerator.unwrap_model(self.model)  # a process may have no such row, where the others would wait for it
        total = torch.zeros(2, device=self.accelerator.device)  # the sum, and over how many
        with torch.no_grad(), self.accelerator.autocast():
            for part, counts in passes(model, self.accelerator, parts, list(rows[:1])):
                (micro,) = self.batches([part])
                outputs = compute_outputs(model, micro, self.method, self.config)
                if not counts:
                    continue
                assert outputs.ref_logp is not None
                ratio = ((outputs.logp - outputs.ref_logp) * micro.mask).sum()
                total += torch.stack([ratio.float(), micro.mask.any(1).sum().float()])
        found = self._sum(total)
        return (found[0] / found[1].clamp(min=1)).clamp(min=0)

    def _share(self, items: Sequence[T]) -> list[T]:
        """The part of a process."""
        return list(items[self.accelerator.process_index :: self.accelerator.num_processes])

    def _sum(self, x: Tensor) -> Tensor:
        """Over all processes."""
        return cast(Tensor, self.accelerator.reduce(x, "sum"))


def _mean(total: Tensor) -> float | None:
    """A metric of the whole step; None where it is over none of its rows."""
    if total.ndim:
        return (total[0] / total[1]).item() if total[1] else None
    return total.item()
