"""What the frozen reference says of rows that training meets more than once, asked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.progress import Progress
from torch import Tensor

from agents.model import ActorCritic
from algorithms.batch import Row, collate
from algorithms.method import Method
from algorithms.minibatch import cut
from algorithms.training import Training
from rollouts.progress import bar_columns, console

Key = tuple[tuple[int, ...], tuple[int, ...]]


class ReferenceCache:
    """log pi_ref of the agent's tokens of every row; identical rows are asked for once, and each process asks for its share."""

    def __init__(self, model: ActorCritic, rows: Sequence[Row], training: Training, pad: int, accelerator: Accelerator) -> None:
        mine = _distinct(rows)[accelerator.process_index :: accelerator.num_processes]
        found: list[tuple[Key, Tensor]] = []
        bar = Progress(*bar_columns("reference", "batches"), console=console, disable=not accelerator.is_main_process)
        with bar, torch.no_grad(), accelerator.autocast():
            for part in bar.track(cut([[row] for row in mine], training.micro_tokens)):
                batch = collate(part, "token", pad, training.pack).to(accelerator.device)
                logp = model.reference_logp(batch.tokens, batch.decision >= 0, batch.packing).cpu()
                counts = [sum(step >= 0 for step in row.step) for row in part]
                found += zip(map(_key, part), logp.split(counts), strict=True)
        self.known: dict[Key, Tensor] = dict(gather_object(found))

    def of(self, rows: Sequence[Row], device: torch.device) -> Tensor | None:
        """The agent's tokens [N] of a batch of rows, in row-major order; None where a row is none of those that were asked for."""
        found = [self.known.get(_key(row)) for row in rows]
        return None if any(logp is None for logp in found) else torch.cat([x for x in found if x is not None]).to(device)


def worth_it(method: Method, config: Any, rows: Sequence[Row], met: int) -> bool:
    """Whether the loss asks for the same tokens again and again, with `met` rows in the whole training, and for no distribution."""
    return method.reference and method.kl(config) != "exact" and round(met / len(_distinct(rows))) > 1


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """One of each kind of rows that are equal to the reference."""
    return list({_key(row): row for row in rows}.values())


def _key(row: Row) -> Key:
    return row.tokens, row.step
