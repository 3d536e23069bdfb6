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
from algorithms.method import FINITE, Method, action_tokens, check_ranges
from algorithms.selection import solved_rows


@dataclass(frozen=True)
class Config:
    """What beside the agent's own tokens is learnt."""

    observations: float = 0.0
    """weight of a token that the environment said, against 1 of the agent's: a model from scratch learns on them to read, and to
    copy names (0.1 in docs/results/alfworld.md); a pretrained one can"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        check_ranges(self, observations=(0, FINITE))


def loss(outputs: Outputs, batch: Batch, config: Config = Config()) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative log-likelihood of the agent's tokens, and by its weight of the environment's, over the number of the agent's."""
    tokens = agent_tokens(batch, config)
    if not config.observations:
        nll = -(outputs.logp * batch.mask).sum() / tokens
        return nll, {"nll": nll.detach()}
    agents, told = -(outputs.logp * batch.mask).sum(0)
    metrics = {"nll": agents / tokens, "nll_observations": told / (batch.decision == 1).sum()}
    return (agents + config.observations * told) / tokens, {name: metric.detach() for name, metric in metrics.items()}


def agent_tokens(batch: Batch, config: Config = Config()) -> Tensor:
    """How many tokens are the agent's: in a dialogue, those of its first decision."""
    return (batch.decision == 0).sum() if config.observations else action_tokens(batch)


METHOD = Method(
    name="sft",
    config=Config,
    loss=loss,
    level=lambda config: "dialogue" if config.observations else "response",
    rows=solved_rows,
    weight=agent_tokens,
)

if __name__ == "__main__":
    main(METHOD)
