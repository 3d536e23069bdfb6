from __future__ import annotations

import pytest
import torch

from algorithms.batch import Batch, Outputs
from algorithms.sft import loss


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
