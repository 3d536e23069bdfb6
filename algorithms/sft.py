"""SFT: supervised fine-tuning on the solved episodes of a log.

    python -m algorithms.sft --env math                       # expert demonstrations, then SFT
    python -m algorithms.sft --env math --data LOG --model DIR

On expert demonstrations this is behaviour cloning, on a model's own samples it is rejection sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from algorithms.batch import Batch, Outputs
from algorithms.job import main
from algorithms.method import Method, action_tokens
from algorithms.selection import solved_rows


@dataclass(frozen=True)
class Config:
    """SFT has no settings of its own."""


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative log-likelihood of the agent's tokens: the sum over all of them divided by their number."""
    total = -(outputs.logp * batch.mask).sum() / action_tokens(batch)
    return total, {"nll": total.detach()}


METHOD = Method(name="sft", config=Config, loss=loss, level=lambda _: "response", rows=solved_rows, weight=action_tokens)

if __name__ == "__main__":
    main(METHOD)
