"""Small inputs that several tests share."""

from __future__ import annotations

import torch

KINDS = [("separate", 0), ("shared", 0), ("lora", 4), ("shared", 4), ("separate", 4)]
"""Every critic with every way of training the policy: (critic, LoRA rank)."""


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two rows of nine tokens, the second padded; tokens [B, T], agent [B, T], starts [B, S]."""
    tokens = torch.randint(4, 250, (2, 9), generator=torch.Generator().manual_seed(0))
    agent = torch.zeros(2, 9, dtype=torch.bool)
    agent[0, [3, 4, 7, 8]] = True
    agent[1, [2, 3]] = True
    return tokens, agent, torch.tensor([[2, 6], [1, 0]])
