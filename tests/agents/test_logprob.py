"""How many positions meet the vocabulary at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from agents.logprob import token_log_probs


@pytest.mark.parametrize(("vocabulary", "chunks"), [(10, [1024, 476]), (2**16, [256] * 5 + [220]), (2**20, [64] * 23 + [28])])
def test_of_a_large_vocabulary_few_positions_are_taken_at_once(vocabulary: int, chunks: list[int]) -> None:
    """1,500 positions: 1,024 of them, or 2^24 logits, or 64."""
    seen: list[int] = []

    def project(hidden: Tensor) -> Tensor:
        if len(hidden):
            seen.append(len(hidden))
        return hidden[:, :1].expand(-1, vocabulary)

    logp = token_log_probs(torch.zeros(1500, 1), torch.zeros(1500, dtype=torch.long), project)
    assert seen == chunks
    torch.testing.assert_close(logp, torch.full((1500,), float(vocabulary)).log().neg())
