from __future__ import annotations

import pytest
import torch

from algorithms.batch import Batch, Outputs, Row, collate
from algorithms.sft import METHOD, Config, loss


def test_loss_is_the_mean_over_all_action_tokens() -> None:
    """Responses of 2 and 1 tokens with log-probabilities -3 and -0.5: (3 + 0.5) / 3."""
    batch = Batch(
        tokens=torch.zeros(2, 4, dtype=torch.long),
        decision=torch.tensor([[-1, 0, 0, -1], [-1, -1, 0, -1]]),
        start=torch.tensor([[0], [1]]),
        mask=torch.ones(2, 1, dtype=torch.bool),
        reward=torch.ones(2, 1),
    )
    total, _ = loss(Outputs(torch.tensor([[-3.0], [-0.5]], dtype=torch.float64)), batch)
    assert total.item() == pytest.approx(3.5 / 3, abs=1e-12)


def test_what_the_environment_said_counts_by_its_weight() -> None:
    """The agent's 3 tokens have -3 and -0.5, the environment's 4 have -6 and -2: (3.5 + 0.25 * 8) / 3."""
    rows = [Row((1, 2, 3, 4), (-1, -1, 0, 0), (1.0,)), Row((5, 6, 7, 8), (-1, -1, 1, -1), (0.0, 1.0))]
    config = Config(observations=0.25)
    batch = collate(rows, METHOD.level(config))
    assert batch.decision.tolist() == [[-1, 1, 0, 0], [-1, 1, 0, 1]]
    logp = torch.tensor([[-3.0, -6.0], [-0.5, -2.0]], dtype=torch.float64)
    total, metrics = loss(Outputs(logp), batch, config)
    assert total.item() == pytest.approx(5.5 / 3, abs=1e-12)
    assert metrics["nll"].item() == pytest.approx(3.5 / 3, abs=1e-12)
    assert metrics["nll_observations"].item() == pytest.approx(8 / 3, abs=1e-12)
    assert METHOD.weight(batch, config).item() == 3  # micro-batches count by the tokens that the loss is a mean over


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="observations"):
        Config(observations=-1)
