"""When a run cannot go on: the loss, or its gradient, is not a finite number any more, or the loss has exploded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from accelerate.utils import gather_object
from torch import Tensor

from algorithms.batch import Row

EARLY = 10
"""steps whose largest loss is the measure of an exploding one"""
SMALL = 0.01
"""the least measure: the first steps of a log with few solved episodes may see none, and have hardly any loss"""


class TrainingFault(FloatingPointError):
    """The run cannot go on."""


@dataclass
class Faults:
    """Looks at every step's metrics before the weights take the step: one that is not finite would spoil all of them.

    Args:
        explode: a loss so many times the largest of the first steps is a fault.
        early: the losses of the first steps so far.
    """

    explode: float
    early: list[float] = field(default_factory=list)

    def check(self, metrics: dict[str, float], losses: Sequence[Tensor], micros: Sequence[Sequence[Row]]) -> None:
        """Pass a step: its metrics, which all processes have in common, and the losses and rows of this one's micro-batches.

        Raises:
            TrainingFault: in every process, with what is wrong, and the tasks of the micro-batch with the worst loss of all.
        """
        if wrong := self._wrong(metrics):
            said = [[(row.task, len(row)) for row in rows] for rows in micros]
            found = [(_badness(loss.item()), rows) for loss, rows in zip(losses, said, strict=True)]
            found = gather_object(found)  # every process comes here, or none
            _, rows = max(found, key=lambda pair: pair[0])
            tasks, lengths = sorted({task for task, _ in rows}), [length for _, length in rows]
            raise TrainingFault(
                f"{wrong} on a batch of {sum(len(rows) for _, rows in found)} rows, the worst loss on those of "
                f"{', '.join(tasks[:4])}{', ...' if len(tasks) > 4 else ''} ({min(lengths)} to {max(lengths)} tokens): "
                "lower --lr or --critic-lr, or look at these rows"
            )
        if len(self.early) < EARLY:
            self.early.append(metrics["loss"])

    def _wrong(self, metrics: dict[str, float]) -> str:
        for name, value in metrics.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        if len(self.early) == EARLY and metrics["loss"] > self.explode * max([*self.early, SMALL]):
            return f"loss is {metrics['loss']:.4g}, over {self.explode:g} times the largest of the first {EARLY} steps,"
        return ""


def _badness(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss
